"""What a publisher asks of a trial, in the query of `PUT /v1/prompts/{name}`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from isogloss.prompts.console.refusals import named, problems
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.routing.routes import Clade
from isogloss.prompts.routing.trials import TrialKind, TrialLimits
from isogloss.serving.http.parsing import explain

_LISTS = ("route",)
SHARE_PATTERN = r"^([0-9]{1,3}(\.[0-9]{1,9})?%|[01](\.[0-9]{1,9})?|\.[0-9]{1,9})$"

Share = Annotated[str, Field(pattern=SHARE_PATTERN)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class TrialQuery(BaseModel):
    """A canary or a shadow, of which routes, and when it ends by itself. Neither: no trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    canary: Share | None = Field(
        default=None,
        description="Share of texts that the prompt answers on trial, such as `5%` or `0.05`, "
        "instead of being published.",
    )
    shadow: bool = Field(
        default=False,
        description="`true` to have the prompt score texts on trial, but answer none, instead of "
        "being published.",
    )
    share: Share | None = Field(
        default=None, description="The share of texts that a shadow scores; left out: all."
    )
    route: tuple[Clade, ...] = Field(
        default=(),
        description="A route that the prompt is tried on, a clade or `universal`; may be given "
        "several times; left out: those that take its name.",
    )
    min_agreement: Annotated[Finite, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="The least share of texts to which both prompts give the same label; below it "
        "the trial ends by itself.",
    )
    max_score_drop: Annotated[Finite, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="The most that the candidate's best score may be lower, in the mean; beyond "
        "it the trial ends by itself.",
    )
    max_latency_ratio: Annotated[Finite, Field(gt=0)] | None = Field(
        default=None,
        description="The most that mean latency on trial may be over that of the route's other "
        "texts; beyond it the trial ends by itself.",
    )
    min_texts: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="The number of a route's texts, from 1, before a limit is judged; left out: "
        "200.",
    )

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if self.canary is not None and self.shadow:
            raise ValueError("canary and shadow exclude each other: choose one")
        if self.share is not None and not self.shadow:
            raise ValueError("share goes with shadow=true; a canary's is its own value: canary=5%")
        given = self.model_fields_set - {"shadow"}
        if self.kind is None and given:
            raise ValueError(f"{', '.join(sorted(given))}: only with canary=5% or shadow=true")
        if not 0 < self.part <= 1:
            given_share = self.canary or self.share
            raise ValueError(
                f"a share of {given_share}: a trial takes more than 0 and at most 1 (100%) of texts"
            )
        return self

    @property
    def kind(self) -> TrialKind | None:
        """None: no trial is asked for."""
        if self.canary is not None:
            return "canary"
        return "shadow" if self.shadow else None

    @property
    def part(self) -> float:
        """The share, 0 to 1."""
        given = self.canary or self.share or "1"
        return float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)

    @property
    def limits(self) -> TrialLimits | None:
        """None: the trial goes on until somebody ends it."""
        names = TrialLimits.model_fields
        given = {name: getattr(self, name) for name in names if name in self.model_fields_set}
        return TrialLimits.model_validate(given) if given else None


def parse_trial(query: Iterable[tuple[str, str]]) -> TrialQuery:
    """Read a query's parameters.

    Raises:
        InvalidInput: one is unknown, given twice, or has a wrong value.
    """
    given: dict[str, Any] = {}
    for name, value in query:
        if name in _LISTS:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise InvalidInput(f"{named([name], 'query')}: given more than once; give it once")
        else:
            given[name] = value
    try:
        return TrialQuery.model_validate(given)
    except ValidationError as invalid:
        raise _explained(invalid) from None


def _explained(invalid: ValidationError) -> InvalidInput:
    found = problems(invalid)
    if found[0]["type"] == "value_error":  # of the fields together: it says which
        return InvalidInput(found[0]["msg"].removeprefix("Value error, "))
    return explain(found, TrialQuery)


def query_parameters() -> list[dict[str, Any]]:
    """The parameters, as the OpenAPI document has them."""
    return [
        {
            "name": name,
            "in": "query",
            "description": about.pop("description"),
            "schema": about,
        }
        for name, about in _schemas()
    ]


def _schemas() -> Iterable[tuple[str, dict[str, Any]]]:
    """Each field's JSON Schema; a parameter that is left out has no null."""
    for name, own in TrialQuery.model_json_schema()["properties"].items():
        about = {key: value for key, value in own.items() if key not in ("title", "default")}
        for choice in about.pop("anyOf", ()):
            if choice.get("type") != "null":
                about |= choice
        yield name, about
