"""Which prompt answers for which clade, and why.

A request takes the deepest clade of its language's lineage that has a route, else the universal
prompt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import ModelRef
from isogloss.prompts.languages.languages import deepest_clade

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def check_name(name: str) -> str:
    """Return a prompt's name if it is one; a name can never leave the store as a path.

    Raises:
        InvalidInput: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"prompt name {shown(name, 80)}: a name is 1 to 64 of a-z, 0-9, '.', '_' and '-' and "
            "begins with a letter or a digit"
        )
    return name


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Split "name" or "name@version": ("name", None) is the name's current version.

    Raises:
        InvalidInput: neither.
    """
    name, at, version = reference.partition("@")
    check_name(name)
    if not at:
        return name, None
    if not _VERSION.fullmatch(version):
        raise InvalidInput(
            f"prompt {shown(reference, 80)}: the version after '@' must be a number from 1, as in "
            f"{name}@2"
        )
    return name, int(version)


def _reference(value: str) -> str:
    try:
        parse_reference(value)
    except InvalidInput as error:
        raise ValueError(str(error)) from error
    return value


Reference = Annotated[str, AfterValidator(_reference)]
"""A prompt's "name" or "name@version"."""

Clade = Annotated[str, Field(min_length=1, max_length=128)]
"""A node of the Glottolog tree, in lang2vec's names."""


Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""What label logits are divided by, so that scores are as often right as they say."""

LabelPrior = dict[str, Annotated[float, Field(allow_inf_nan=False)]]
"""Label -> mean log-probability that a route's prompt gives it on unlabelled text: what it would
say anyway. It is taken off before scores are scaled."""

Thresholds = dict[str, Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]]
"""Label -> the probability at which it is assigned, where a text may have several labels."""

UNIVERSAL = "universal"
"""In place of a clade: languages that no clade of the table holds."""


class RouteEvidence(BaseModel):
    """Why a clade got its prompt: dev-split results, kept as data and shown on request.

    Accuracies and gains are shares of 1. Further fields are kept as they are.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    clade: Clade | None  # None: the universal prompt
    prompt: Reference
    dev_accuracy: float | None = None
    sentences: int | None = None
    candidates: int | None = None  # prompts that were tried
    baseline: float | None = None  # dev accuracy of the prompt that would answer otherwise
    gain: float | None = (
        None  # over the baseline, as estimated: what choosing flatters is taken off
    )
    interval: tuple[float, float] | None = None  # 95 %, of the gain


@dataclass(frozen=True)
class Route:
    """The prompt a request takes, and the clade that decided it."""

    reference: str
    clade: str | None
    reason: Literal["clade", "universal"]
    temperature: float = 1.0  # of the scores
    prior: Mapping[str, float] | None = None  # taken off the labels' log-probabilities
    thresholds: Mapping[str, float] | None = None  # at which labels are assigned


class RouteTable(BaseModel):
    """The routes of one model and task: clade -> prompt, plus the universal prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: ModelRef
    task: str = Field(min_length=1, max_length=64)
    universal: Reference
    clades: dict[Clade, Reference] = Field(default_factory=dict)
    temperatures: dict[Clade, Temperature] = Field(default_factory=dict)
    priors: dict[Clade, LabelPrior] = Field(default_factory=dict)  # by language code, or clade
    thresholds: dict[Clade, Thresholds] = Field(
        default_factory=dict, exclude_if=lambda thresholds: not thresholds
    )
    evidence: tuple[RouteEvidence, ...] = Field(default=(), fail_fast=True)

    @property
    def key(self) -> tuple[str, str]:
        """Fingerprint and task: a store holds one table for each."""
        return self.model.fingerprint, self.task

    @property
    def by_clade(self) -> dict[str, str]:
        """Every route: the prompt of each clade, and of "universal"."""
        return {UNIVERSAL: self.universal, **self.clades}

    @property
    def references(self) -> tuple[str, ...]:
        """Every prompt this table may choose, each once."""
        return tuple(dict.fromkeys([self.universal, *self.clades.values()]))

    def route(self, lineage: Sequence[str], code: str | None = None) -> Route:
        """Choose the prompt for a language's lineage, which runs from the root of the tree.

        With the language's code, a prior of its very own is found, too.
        """
        clade = deepest_clade(lineage, self.clades)
        if clade is None:
            return self._scaled(self.universal, None, lineage, code)
        return self._scaled(self.clades[clade], clade, lineage[lineage.index(clade) :], code)

    def _scaled(
        self, reference: str, clade: str | None, answered: Sequence[str], code: str | None
    ) -> Route:
        """With the temperature and the prior of the deepest of the clades that the route answers.

        Each of them may have its own.
        """
        above = (clade or UNIVERSAL, *answered, *(() if code is None else (code,)))
        return Route(
            reference,
            clade,
            "universal" if clade is None else "clade",
            next((self.temperatures[c] for c in reversed(above) if c in self.temperatures), 1.0),
            next((self.priors[c] for c in reversed(above) if c in self.priors), None),
            self.thresholds.get(clade or UNIVERSAL),
        )

    def with_routes(self, reference: str, clades: Sequence[str]) -> RouteTable:
        """Return a table in which these clades ("universal" is one) take this prompt.

        What was measured with their old prompt goes: see `forgetting`.
        """
        chosen = {clade: reference for clade in clades if clade != UNIVERSAL}
        forgetful = self.forgetting(clades)
        return RouteTable(
            model=self.model,
            task=self.task,
            universal=reference if UNIVERSAL in clades else self.universal,
            clades={**self.clades, **chosen},
            temperatures=forgetful.temperatures,
            priors=forgetful.priors,
            thresholds=forgetful.thresholds,
            evidence=forgetful.evidence,
        )

    def forgetting(self, clades: Collection[str]) -> RouteTable:
        """Return the same routes without what was measured with these clades' prompts.

        That is their evidence, temperatures, priors and thresholds, and those of all clades and
        languages without a route, since a table does not know under which route's prompt they were
        fitted.
        """
        if not clades:
            return self
        routed = {UNIVERSAL, *self.clades} - set(clades)
        return self.model_copy(
            update={
                "temperatures": {c: t for c, t in self.temperatures.items() if c in routed},
                "priors": {c: prior for c, prior in self.priors.items() if c in routed},
                "thresholds": {c: own for c, own in self.thresholds.items() if c in routed},
                "evidence": tuple(e for e in self.evidence if (e.clade or UNIVERSAL) not in clades),
            }
        )

    def answered_by(self, references: Collection[str]) -> tuple[str, ...]:
        """Return the clades (and "universal") whose route names one of these references."""
        return tuple(clade for clade, reference in self.by_clade.items() if reference in references)
