"""What crosses the HTTP boundary, field for field as in the contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import MOST_MEMBERS, EnsembleCard
from isogloss.prompts.format.problem import join_labels
from isogloss.prompts.languages.languages import Language
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.routing.trials import TrialKind

_EXAMPLE_REQUESTS: list[JsonDict] = [
    {"inputs": "Le match s'est terminé sur un score nul.", "top_k": 3},
    {"inputs": ["Le match s'est terminé sur un score nul.", "Bo?"], "abstain": 0.5},
]


_GENERATION_DIGEST: Any = Field(
    description="Of the generation's manifest: a store that was restored from a backup counts the "
    "same numbers again."
)


_Name = Annotated[str, Field(max_length=64)]
_Weight = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
_SOME: Any = Field(min_length=1, max_length=50)
Languages = Annotated[list[_Name], _SOME] | Annotated[dict[_Name, _Weight], _SOME]
"""Names that bound detection, or the prior weight of each."""


class ClassifyRequest(BaseModel):
    """One or many texts, and how to answer them. Unknown fields are refused: typos must show."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [*_EXAMPLE_REQUESTS]}
    )

    inputs: str | Annotated[list[str], Field(fail_fast=True)] = Field(
        description="A text, or a list of 1 to 256 texts."
    )
    model: str | None = Field(
        default=None, max_length=4096, description="A served model; null is the default one."
    )
    task: str | None = Field(
        default=None, max_length=64, description="A label set by name; null is `topic`."
    )
    language: str | None = Field(
        default=None,
        max_length=64,
        description="Code such as `fra_Latn` or `fr-CA`, or English name: overrides detection for "
        "every input.",
    )
    languages: Languages | None = Field(
        default=None,
        description="What detection may choose among: a list of 1 to 50 codes or names, or an "
        "object of names and prior weights above 0. Not with `language`.",
    )
    prompt: str | None = Field(
        default=None,
        max_length=80,
        description="`name` or `name@version`: overrides routing for every input.",
    )
    top_k: Annotated[int, Field(ge=1, le=999_999_999, strict=True)] | None = Field(
        default=None, description="How many labels `scores` lists, best first; null is all."
    )

    abstain: Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)] | None = Field(
        default=None,
        description="A score from 0 to 1: results whose best label scores less are marked "
        "`abstained`; null marks none.",
    )

    @field_validator("languages")  # not called where the field is left out
    @classmethod
    def _without_language(cls, given: object, info: ValidationInfo) -> object:
        if given is not None and info.data.get("language") is not None:
            raise PydanticCustomError("excluded", "it and `language` exclude each other")
        return given

    @property
    def texts(self) -> list[str]:
        """The inputs as a list, in order."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its probability: among the task's, or its own where several may be right."""

    label: str
    score: float


class LanguageAnswer(BaseModel):
    """The language an input was routed by; `detected` is false where the request named it."""

    code: str
    name: str
    confidence: float
    detected: bool
    known: float | None = Field(
        description="How much the model read of the language before it was frozen, as a share of "
        "its best-fed language's text, from 0 to 1; null where that is not known. Near 0, the "
        "answer rests on what the language shares with others."
    )


class RouteAnswer(BaseModel):
    """Why an input got its prompt. `clade` is the language family that the route matched."""

    clade: str | None
    lineage: tuple[str, ...]
    reason: Literal["clade", "universal", "override"]


class MemberAnswer(BaseModel):
    """One of the prompts that answered together, by what it was called when it joined."""

    name: str
    version: int | None = Field(description="Null: it joined as a file.")
    digest: str


class PromptAnswer(BaseModel):
    """The very prompt that produced the scores."""

    name: str
    version: int
    digest: str
    members: list[MemberAnswer] | None = Field(
        default=None,
        exclude_if=lambda members: members is None,
        description="Of an ensemble: the prompts whose mean log-probabilities are the answer.",
    )


class MixturePart(BaseModel):
    """One of the prompts whose scores were mixed."""

    prompt: PromptAnswer
    clade: str | None = Field(
        description="The language family that its route matched; null: the universal prompt."
    )
    weight: float = Field(description="Its share of the scores; the shares sum to 1.")


class TrialAnswer(BaseModel):
    """The trial that an input was part of, and which of its two prompts answered."""

    name: str
    kind: TrialKind
    side: Literal["candidate", "routed"]


class Result(BaseModel):
    """The answer to one input."""

    label: str = Field(description="The best label, also where the answer is `abstained`.")
    score: float
    abstained: bool = Field(
        default=False, description="Whether `score` is less than the request's `abstain`."
    )
    labels: list[str] | None = Field(
        default=None,
        exclude_if=lambda labels: labels is None,
        description="Of a task whose texts may have several labels: those whose score reaches "
        "their threshold, the likeliest first; perhaps none.",
    )
    level: float | None = Field(
        default=None,
        exclude_if=lambda level: level is None,
        description="Of a task whose labels are levels: the mean of their places, the lowest at 0.",
    )
    scores: list[LabelScore]
    language: LanguageAnswer
    route: RouteAnswer
    prompt: PromptAnswer
    mixture: list[MixturePart] | None = Field(
        default=None,
        description="Where the language is uncertain: every prompt whose scores were mixed, the "
        "heaviest first. `language`, `route` and `prompt` are then those of the heaviest. Null: "
        "`prompt` answered alone.",
    )
    trial: TrialAnswer | None = Field(
        default=None,
        description="Where the input was part of a trial: both the routed prompt and a candidate "
        "scored it, and `side` says which of them is `prompt`. Null: only `prompt` did.",
    )
    tokens: int
    truncated: bool

    @property
    def cell(self) -> str:
        """The label in one cell of a table; where there may be several, all that are assigned."""
        return self.label if self.labels is None else join_labels(self.labels)


class ClassifyResponse(BaseModel):
    """Results in the order of the inputs, all of one generation of the prompt store."""

    model: str
    task: str
    generation: int
    results: list[Result]


class ErrorBody(BaseModel):
    """Every error's body: one sentence a person can act on, and a word a program can."""

    error: str
    error_type: Literal[
        "validation",
        "unauthorized",
        "not_found",
        "too_large",
        "overloaded",
        "unavailable",
        "internal",
    ]


class ModelAnswer(BaseModel):
    """One served model."""

    name: str
    architecture: str
    revision: str | None
    fingerprint: str
    hidden_size: int
    vocab_size: int
    max_text_tokens: int
    max_prompt_length: int
    device: str
    dtype: str
    description: str
    release_date: str = Field(description="The day on which it was loaded here, as YYYY-MM-DD.")

    @property
    def model_id(self) -> str:
        """The name, as `SoftPrompt.check_fits` asks for it."""
        return self.name


class ListedModel(BaseModel):
    """A model and a task of it, as OpenAI lists models: what requests of its kind may name."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When this replica started, in seconds since 1970.")
    owned_by: str
    model: str
    task: str
    labels: list[str] = Field(description="In the order of answers that name none.")


class ModelsAnswer(BaseModel):
    """The served models, and which of them answers requests that name none."""

    object: Literal["list"] = "list"
    default: str
    models: list[ModelAnswer]
    data: list[ListedModel] = Field(default=[], description="Every model with each of its tasks.")


class PromptRoute(BaseModel):
    """A route that chooses a prompt, and how its scores are scaled there."""

    model: str
    task: str
    clade: str = Field(description="A language family, or `universal`.")
    temperatures: dict[str, float] = Field(
        description="What label logits are divided by, by clade: a language takes its deepest "
        "clade's, and 1 where there is none."
    )
    priors: dict[str, dict[str, float]] = Field(
        description="What is taken off the labels' log-probabilities first, by language code or "
        "clade: what the prompt says of any text. The most particular counts."
    )


class PromptDetails(BaseModel):
    """One version of a prompt; `card` is null where its file cannot be read, `problem` says why."""

    name: str
    version: int
    digest: str
    published_at: datetime
    versions: list[int]
    length: int | None
    routes: list[PromptRoute]
    card: PromptCard | EnsembleCard | None
    problem: str | None = None


class PromptsAnswer(BaseModel):
    """The current prompts of the served models."""

    generation: int
    generation_digest: str = _GENERATION_DIGEST
    prompts: list[PromptDetails]


class LanguagesAnswer(BaseModel):
    """The languages a request may name."""

    languages: list[Language]


class ReplicaAnswer(BaseModel):
    """What one replica serves.

    `problem` is why it is not the store's newest generation, or what is wrong with the store else.
    """

    replica: str
    model: str
    generation: int
    generation_digest: str = _GENERATION_DIGEST
    problem: str | None


class ReadyAnswer(BaseModel):
    """Whether every served model has a live replica."""

    ready: bool
    generation: int
    generation_digest: str = _GENERATION_DIGEST
    replicas: list[ReplicaAnswer]


class RoutesAnswer(BaseModel):
    """The route tables of the served models."""

    generation: int
    generation_digest: str = _GENERATION_DIGEST
    routes: list[RouteTable]


class RoutesRequest(BaseModel):
    """Route tables to publish, in the shape that `GET /v1/routes` answers with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    routes: list[RouteTable] = Field(min_length=1, fail_fast=True)
    generation: int | None = Field(default=None, description="Ignored; as in the answer.")
    generation_digest: str | None = Field(default=None, description="Ignored; as in the answer.")


class RollbackRequest(BaseModel):
    """The generation whose content should come back, or the trial to end without its candidate.

    Neither: the generation before the current.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Annotated[int, Field(ge=1, le=999_999_999, strict=True)] | None = None
    trial: str | None = Field(
        default=None,
        max_length=80,
        description="A trial's prompt name; only the trial ends. Not with `to`.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.to is not None and self.trial is not None:
            raise ValueError("`to` and `trial` exclude each other; send one of them")
        return self


class EnsembleRequest(BaseModel):
    """Stored prompts that are to answer together, in place of a prompt's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[Annotated[str, Field(max_length=80)], ...] = Field(
        min_length=2,
        max_length=MOST_MEMBERS,
        description="`name` or `name@version` of each; they stay together as they are now.",
    )


class PromoteRequest(BaseModel):
    """The trial whose candidate should answer from now on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: str = Field(max_length=80, description="A trial's prompt name.")


class SwapAnswer(BaseModel):
    """A change that every replica serves by now, or did when it was made under this request id."""

    generation: int
    generation_digest: str | None = Field(
        description="Of the generation's manifest; null where that was collected since."
    )
    prompt: PromptAnswer | None = Field(
        default=None, description="What was published; null also where it was deleted since."
    )
