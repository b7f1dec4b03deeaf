"""Which texts are on trial, who answers them, and what is learnt from each.

A text is on trial where the route that answers it is, and its key belongs to the trial's share: a
request's `x-routing-key`, so that a user stays on one side, else the text itself. A text whose
language is so uncertain that several prompts answer it together is never on trial, and neither is
one whose request names a prompt: there is no one routed prompt to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from isogloss.prompts.routing.routes import UNIVERSAL
from isogloss.serving.pipeline.mixture import Share
from isogloss.serving.pipeline.scoring import Part, Probabilities, Reading, Scores, Unscorable
from isogloss.serving.registry.candidates import OnTrial, key_of
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.schemas import TrialAnswer
from isogloss.serving.telemetry.tally import TrialTallies

CANDIDATE_TEMPERATURE = 1.0
"""As after its promotion: what routes were measured at with other prompts is forgotten then."""


@dataclass(frozen=True, eq=False, slots=True)
class Placement:
    """A text whose route is on trial: whether it belongs to the trial's share."""

    on_trial: OnTrial
    clade: str
    taken: bool

    @property
    def part(self) -> Part | None:
        """What the text is read under beside the routed prompt."""
        return Part(self.on_trial.candidate, CANDIDATE_TEMPERATURE) if self.taken else None


class Answering(NamedTuple):
    """The prompt that answers a text, and what it says; `trial` is null off trial."""

    prompt: ServedPrompt
    probabilities: Probabilities
    trial: TrialAnswer | None = None


def place(snapshot: Snapshot, task: str, shares: Sequence[Share], key: str) -> Placement | None:
    """Find out whether a text's route is on trial, and whether the text is too."""
    if len(shares) > 1 or shares[0].route.reason == "override":
        return None
    clade = shares[0].route.clade or UNIVERSAL
    on_trial = snapshot.trials.get((task, clade))
    if on_trial is None:
        return None
    return Placement(on_trial, clade, on_trial.trial.takes(key))


def rehearsals(snapshot: Snapshot, ids: tuple[int, ...]) -> list[Reading]:
    """One text to be read under each candidate, beside a prompt that it can be read with."""
    candidates = {each.trial.candidate: each.candidate for each in snapshot.trials.values()}
    return [
        Reading(ids, (Part(next(filter(own.reads_along, snapshot.answering))),), Part(own))
        for own in candidates.values()
    ]


def answering(reading: Reading, placement: Placement | None, scores: Scores) -> Answering:
    """Choose who answers: of a canary the candidate, unless it failed.

    Raises:
        Unscorable: the model's numbers overflow under whoever should.
    """
    if placement is None or not placement.taken:
        return Answering(reading.prompt, _scored(scores))
    trial = placement.on_trial.trial
    if trial.kind == "canary" and scores.candidate is not None:
        side = TrialAnswer(name=trial.name, kind=trial.kind, side="candidate")
        return Answering(placement.on_trial.candidate, scores.candidate, side)
    side = TrialAnswer(name=trial.name, kind=trial.kind, side="routed")
    return Answering(reading.prompt, _scored(scores), side)


def count(
    tallies: TrialTallies, reading: Reading, placement: Placement, scores: Scores, seconds: float
) -> None:
    """Count a text that was answered, and that was so many seconds underway."""
    with tallies.counting(key_of(placement.on_trial.trial), placement.clade) as tally:
        if not placement.taken:
            tally.off_trial.observe(seconds)
            return
        tally.texts += 1
        tally.on_trial.observe(seconds)
        if scores.candidate is None:
            tally.failures += 1
        elif not isinstance(scores.routed, Unscorable):
            tally.compare(
                _by_label(reading.prompt, scores.routed),
                _by_label(placement.on_trial.candidate, scores.candidate),
            )


def _scored(scores: Scores) -> Probabilities:
    if isinstance(scores.routed, Unscorable):
        raise scores.routed
    return scores.routed


def _by_label(prompt: ServedPrompt, values: Probabilities) -> dict[str, float]:
    return dict(zip(prompt.loaded.labels, values, strict=True))
