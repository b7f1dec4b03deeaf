"""One training run's settings, parsed once at the edge.

What the paper states is the default (Table 3, Appendices A.3 and C). What it leaves open is a named
option whose default and reason stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.problem import Problem
from isogloss.prompts.format.template import Template, TextForm, TextStart, check_room
from isogloss.training.data.shots import ValidationSource
from isogloss.training.tuning.scale import embedding_spread

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """Settings that depend on the backbone. Rates are those of the peak of the schedule."""

    length: int
    bottleneck: int
    learning_rate: float
    unfrozen_learning_rate: float


# Table 3 and Appendix C, by architecture and hidden size, so a local copy of a model gets the same
# settings as its hub id. The paper gives bottlenecks for the two small models only: half the hidden
# size for BLOOM and a fifth for XGLM, which the others follow.
_PAPER = {
    ("bloom", 1024): ModelDefaults(5, 500, 0.1, 1e-6),  # BLOOM-560M
    ("bloom", 1536): ModelDefaults(10, 768, 0.1, 1e-6),  # BLOOM-1.1B
    ("xglm", 1024): ModelDefaults(10, 200, 0.1, 5e-6),  # XGLM-564M
    ("xglm", 2048): ModelDefaults(10, 409, 0.1, 5e-6),  # XGLM-1.7B
}
_SMALLEST_OF_PAPER = 1024
# Of other models: how far an optimizer's step moves a number of the prompt at the schedule's peak,
# in standard deviations of the numbers that the model reads.
_STEP_IN_SPREADS = 0.3


def defaults_for(architecture: str, hidden_size: int, spread: Callable[[], float]) -> ModelDefaults:
    """Settings for a backbone: the paper's for its four models and for larger ones of their kind.

    Below a hidden size of 1,024 (the pocket models) prompts are shorter vectors, and a rate of 0.03
    did best for English 8-shot prompts on the dev split among 0.01, 0.03 and 0.1.

    Other models' embeddings are of other sizes, and AdamW moves every number by the rate, however
    small it is: the rate is so many times `spread`, the size of the model's own, which is found for
    these models alone. Residual prompts start with LayerNorm's own gain in all models: one of
    `spread` did worse (training/results).
    """
    bottleneck = max(1, hidden_size // (2 if architecture == "bloom" else 5))
    unfrozen = 1e-6 if architecture == "bloom" else 5e-6
    small = hidden_size < _SMALLEST_OF_PAPER
    if architecture not in ("bloom", "xglm"):
        rate = float(f"{_STEP_IN_SPREADS * spread():.2g}")  # which names of files and tables tell
        return ModelDefaults(10, bottleneck, rate, 1e-4 if small else unfrozen)
    if small:
        return ModelDefaults(10, bottleneck, 0.03, 1e-4)
    return _PAPER.get((architecture, hidden_size), ModelDefaults(10, bottleneck, 0.1, unfrozen))


_STARTS = ("vocabulary", "label", "normal", "uniform")
START_PROMPT, START_WORDS = "prompt:", "words:"
"""How `init` begins where a prompt file or a text follows."""


def with_seed(init: str, seed: int) -> str:
    """What a run of this seed starts from: `prompt:...-seed{seed}.safetensors` is one for each."""
    return init.replace("{seed}", str(seed)) if init.startswith(START_PROMPT) else init


def _check_init(value: str) -> str:
    carried = value.removeprefix(START_PROMPT).removeprefix(START_WORDS)
    if value in _STARTS or (carried != value and carried.strip()):
        return value
    raise ValueError(f"give {', '.join(_STARTS)}, prompt:FILE or words:TEXT")


class TrainingConfig(BaseModel):
    """Everything that decides which prompt a run ends with, apart from the model and the data.

    A prompt learns from labelled texts, or from a teacher: then nothing is known of labelled data,
    and `shots` and `validation` are None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field("topic", pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")
    sources: tuple[Annotated[str, Field(min_length=1)], ...] = Field(("eng_Latn",), min_length=1)
    shots: Annotated[int, Field(ge=1)] | Literal["all"] | None = 8
    # Of all languages' examples, with shots "all"; None: every one.
    examples: int | None = Field(None, ge=1)
    # Dev sentences choose among prompts; were they to choose checkpoints, too, they would flatter.
    validation: ValidationSource | None = "train"
    words: dict[str, str] = Field(default_factory=dict)  # label -> word, where not the default
    # One label, any number of them, or one of `levels`, which stand lowest first.
    problem: Problem = "single_label"
    levels: tuple[str, ...] | None = Field(None, min_length=2)
    none_word: str | None = Field(None, min_length=1)  # of multi_label; None: "none"
    # Each label's own first word is the paper's text; `published` are the words of its code.
    verbalizer: Literal["labels", "published"] = "labels"
    seed: int = Field(0, ge=0, lt=2**63)

    teacher: str | None = None  # prompt file
    teacher_language: str | None = Field(None, min_length=1)  # None: as the teacher's card says
    parallel: tuple[str, ...] | None = Field(None, min_length=1)  # folders, all together
    pairs: int | None = Field(None, ge=2)  # sentences of the parallel text; None: all

    length: int = Field(ge=1)
    # `mlp` is the paper's code: as residual, without the connection past the network.
    reparameterization: Literal["none", "residual", "mlp"] = "none"
    bottleneck: int | None = Field(None, ge=1)  # not where there is no network
    unfrozen: bool = False

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    # Left open by the paper; AdamW without decay, a linear fall to zero and clipping at norm 1 are
    # what its library's Trainer does unless told otherwise.
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    schedule: Literal["linear", "constant"] = "linear"
    # Of all steps, on which the rate rises; the paper's text names none, its code a tenth.
    warmup: float = Field(0.0, ge=0, lt=1, allow_inf_nan=False)
    gradient_clip: float = Field(1.0, ge=0, allow_inf_nan=False)  # 0: any norm
    # Sampled from the 5,000 first (commonest) tokens: Lester et al. (2021), whom the paper follows.
    # Or from a trained prompt (`prompt:FILE`) or a text's tokens (`words:TEXT`). `uniform` in +-0.5
    # is the paper's code: a scale that no model's embeddings have a part in.
    init: Annotated[str, AfterValidator(_check_init)] = "vocabulary"
    # A prompt's numbers are what the model reads, so that one rate means one thing for all models.
    # `embedding` multiplies them as the model does its embeddings (XGLM: by sqrt(hidden size)).
    prompt_scale: Literal["none", "embedding"] = "none"
    # The softmax over the labels' tokens alone is also how predictions are read.
    loss: Literal["verbalizer", "vocabulary"] = "verbalizer"
    # Gain of the residual network's LayerNorm at the start; 1 is LayerNorm's own.
    norm_gain: float = Field(1.0, ge=0, allow_inf_nan=False)
    max_text_tokens: int | None = Field(None, ge=1)  # None: as many as the model reads when serving
    # What stands before a text. XGLM was trained with `</s>` there, and a server puts it there.
    text_start: TextStart = "model"
    # What stands around every text that the prompt reads, for good: its card keeps it.
    template: Template | None = None
    # What chooses the epoch. Accuracy is what is wanted of it; the paper's code takes the loss.
    checkpoint: Literal["accuracy", "loss"] = "accuracy"

    @model_validator(mode="after")
    def _bottleneck_belongs_to_a_network(self) -> Self:
        if (self.bottleneck is not None) != (self.reparameterization != "none"):
            raise ValueError(
                "a bottleneck goes with reparameterization 'residual' or 'mlp' and only there"
            )
        return self

    @model_validator(mode="after")
    def _examples_are_of_all(self) -> Self:
        if self.examples is not None and self.shots != "all":
            raise ValueError("examples are so many of all: they go with shots 'all'")
        return self

    @model_validator(mode="after")
    def _levels_are_ordered(self) -> Self:
        if (self.levels is not None) != (self.problem == "ordered"):
            raise ValueError("levels are those of problem 'ordered', which needs them: --levels")
        if self.levels and len(set(self.levels)) < len(self.levels):
            raise ValueError("levels: each may appear once")
        if self.none_word is not None and self.problem != "multi_label":
            raise ValueError("none_word is that of problem 'multi_label': --multi-label")
        if self.problem == "multi_label" and self.loss != "verbalizer":
            raise ValueError("with several labels the loss is over the labels: verbalizer")
        return self

    @model_validator(mode="after")
    def _labels_or_a_teacher(self) -> Self:
        if self.teacher is None:
            if self.parallel or self.pairs or self.teacher_language:
                raise ValueError("parallel text is read with a teacher; name one with --teacher")
            if self.shots is None or self.validation is None:
                raise ValueError("without a teacher, shots and validation must be given")
        else:
            if self.parallel is None:
                raise ValueError("a teacher needs parallel text; name its folder with --parallel")
            own_words = self.words or self.verbalizer != "labels"
            if (self.shots, self.validation) != (None, None) or own_words:
                raise ValueError(
                    "shots, validation and words go with labels; with a teacher none are used"
                )
            if self.problem != "single_label":
                raise ValueError(
                    f"problem {self.problem}: a task that is learnt from a teacher is of the "
                    "teacher's kind; leave --multi-label or --levels out"
                )
            if self.loss != "verbalizer":
                raise ValueError("a teacher's targets are over the labels: loss must be verbalizer")
        return self

    @property
    def starts_at(self) -> str:
        """`init`, the seed put in where it says `{seed}`: each run goes on from its own prompt."""
        return with_seed(self.init, self.seed)

    @property
    def text_form(self) -> TextForm:
        """All that decides which tokens a text becomes."""
        return TextForm(self.text_start, self.template)

    @property
    def kind(self) -> Literal["plain", "residual"]:
        """The prompt file's word: trained directly, or through a network.

        Released versions read these two. Which network is `reparameterization` among the training
        facts; to whoever runs the file the kinds are one.
        """
        return "plain" if self.reparameterization == "none" else "residual"


_DEFAULTS = TrainingConfig.model_construct().model_dump(mode="json", warnings=False)


def written_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file has them; what an older one is silent of was as it is by default."""
    return {**_DEFAULTS, **settings}


def configure(model: Backbone, choices: Mapping[str, Any]) -> TrainingConfig:
    """Fill what was not chosen (absent or None) with the defaults for this model.

    Raises:
        InvalidInput: a value outside its range, naming field, value and what would be accepted.
        InvalidPrompt: a template that leaves a text too little room.
    """
    chosen = {name: value for name, value in choices.items() if value is not None}
    defaults = defaults_for(model.architecture, model.hidden_size, partial(embedding_spread, model))
    rate = defaults.unfrozen_learning_rate if chosen.get("unfrozen") else defaults.learning_rate
    filled = {"length": defaults.length, "learning_rate": rate, **chosen}
    if "teacher" in chosen:
        filled = {"shots": None, "validation": None, **filled}
    if filled.get("reparameterization", "none") != "none":
        filled.setdefault("bottleneck", defaults.bottleneck)
    config = _parse(filled)
    if config.text_start == "none" and not model.tokenizer.start:
        config = config.model_copy(update={"text_start": "model"})  # which is none: BLOOM's
    if config.length > model.max_prompt_length:
        raise InvalidInput(
            f"length {config.length}: {model.model_id} takes prompts of at most "
            f"{model.max_prompt_length} tokens"
        )
    check_room(config.template, model)
    return config


def _parse(fields: Mapping[str, Any]) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{name} = {first['input']!r}: {said}" if name else said) from None
