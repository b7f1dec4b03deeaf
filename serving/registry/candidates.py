"""Candidates on trial in one generation: beside which routes they run, and where not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.prompts.routing.trials import Trial
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.telemetry.tally import TrialKey

Trials = Mapping[tuple[str, str], "OnTrial"]
"""By task and clade, "universal" for texts that no clade's route takes."""
Problems = Mapping[str, str]
"""Why a trial, by its candidate, does not run here, or not on all of its clades."""


@dataclass(frozen=True, eq=False, slots=True)
class OnTrial:
    """A trial, and its candidate ready to run."""

    trial: Trial
    candidate: ServedPrompt


def key_of(trial: Trial) -> TrialKey:
    """What tells this trial from any other, also of the same candidate."""
    return TrialKey(trial.candidate, trial.kind, trial.started_at)


def candidates(
    trials: Iterable[Trial],
    routes: Mapping[str, RouteTable],
    served: Mapping[str, ServedPrompt],
    unread: Problems,
) -> tuple[Trials, Problems]:
    """Find the trials that can run here, and what keeps the others from it.

    Args:
        trials: of one model.
        routes: of the same, by task.
        served: prompts that are ready to run, by reference.
        unread: why candidates that are not among them are not.
    """
    running: dict[tuple[str, str], OnTrial] = {}
    problems: dict[str, list[str]] = {}
    for trial in trials:
        if trial.candidate not in served:
            problems[trial.candidate] = [unread.get(trial.candidate, "it is not loaded")]
            continue
        candidate = served[trial.candidate]
        for clade in trial.clades:
            problem = _problem(candidate, _routed(routes.get(trial.task), clade, served), clade)
            if problem is None:
                running[trial.task, clade] = OnTrial(trial, candidate)
            else:
                problems.setdefault(trial.candidate, []).append(problem)
    return running, {reference: "; ".join(reasons) for reference, reasons in problems.items()}


def _routed(
    table: RouteTable | None, clade: str, served: Mapping[str, ServedPrompt]
) -> ServedPrompt | None:
    if table is None:
        return None
    reference = table.universal if clade == UNIVERSAL else table.clades.get(clade)
    return None if reference is None else served[reference]


def _problem(candidate: ServedPrompt, routed: ServedPrompt | None, clade: str) -> str | None:
    """Why this candidate cannot be compared with the prompt of this route."""
    if routed is None:
        return f"{clade} has no route"
    if not candidate.answers_like(routed):
        return (
            f"{clade}'s {routed.name}@{routed.version} cannot be compared with it: both must have "
            "the same labels"
        )
    return None
