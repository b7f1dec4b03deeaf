"""Trials: a candidate prompt beside the one that is routed, on part of some clades' texts.

A canary answers with the candidate; a shadow answers with the routed prompt and only scores the
candidate. Either way both are scored on the same text, so that what they say can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from isogloss.prompts.routing.routes import Clade, Reference, RouteTable

TrialKind = Literal["canary", "shadow"]

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_POSITIONS = 1 << 64


class TrialLimits(BaseModel):
    """When a server ends a trial by itself: any of these, on any clade, and the candidate goes."""

    model_config = _FROZEN

    min_agreement: float | None = Field(default=None, ge=0, le=1)
    """Least share of texts on which both prompts give the same label."""
    max_score_drop: float | None = Field(default=None, gt=0, le=1)
    """Most that the candidate's best score may lie below the routed prompt's, on average."""
    max_latency_ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most that mean latency in the trial may be, over that of the same clade outside it."""
    min_texts: int = Field(default=200, ge=1)
    """Texts of a clade to be compared before anything is decided on it."""


class Trial(BaseModel):
    """One candidate on trial, for the routes of one model and task."""

    model_config = _FROZEN

    name: str
    """The candidate's prompt name; it has one trial at a time, and the trial goes by it."""
    candidate: Reference
    """`name@version`."""
    fingerprint: str
    task: str
    kind: TrialKind
    share: Annotated[float, Field(gt=0, le=1)]
    """Of the clades' texts: those that a canary answers, or that a shadow scores as well."""
    clades: Annotated[tuple[Clade, ...], Field(min_length=1)]
    """Routes ("universal" is one) whose texts it concerns."""
    limits: TrialLimits | None = None
    started_at: AwareDatetime

    @property
    def key(self) -> tuple[str, str]:
        """Fingerprint and task: those of its route table."""
        return self.fingerprint, self.task

    def takes(self, key: str) -> bool:
        """Whether texts of this key belong to the share: the same on every replica, for ever.

        Keys spread evenly. Enlarging the share of a trial keeps whom it already had.
        """
        given = f"{self.candidate}\n{key}".encode(errors="surrogatepass")  # any str is a key
        digest = hashlib.sha256(given).digest()
        return int.from_bytes(digest[:8]) < self.share * _POSITIONS


def trial_of(trials: Iterable[Trial], fingerprint: str, task: str, clade: str) -> Trial | None:
    """The trial that concerns a route; there is at most one."""
    for trial in trials:
        if trial.key == (fingerprint, task) and clade in trial.clades:
            return trial
    return None


def still_on_trial(
    trials: Iterable[Trial], tables: Iterable[RouteTable], digest_of: Callable[[str], str]
) -> tuple[Trial, ...]:
    """Return what is left of trials once these are the routes; `digest_of` resolves a reference.

    A clade leaves a trial when it has no route any more, or the candidate is what answers it: there
    is nothing to compare then. A trial ends with its last clade.
    """
    routes = {table.key: table.by_clade for table in tables}
    left = []
    for trial in trials:
        by_clade, candidate = routes.get(trial.key, {}), digest_of(trial.candidate)
        clades = tuple(
            c for c in trial.clades if c in by_clade and digest_of(by_clade[c]) != candidate
        )
        if clades:
            left.append(trial.model_copy(update={"clades": clades}))
    return tuple(left)
