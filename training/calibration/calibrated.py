"""From evaluations to routes with priors and temperatures, what they improve, and a generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isogloss.prompts.errors import InvalidData, InvalidInput, NotFound, Unavailable
from isogloss.prompts.reliability import Bin
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.training.calibration.reliability import Measured, bins, measure
from isogloss.training.calibration.scaling import (
    PriorDecision,
    PriorRule,
    Scaling,
    cross_fitted,
    fitted,
    with_evidence,
)
from isogloss.training.calibration.temperatures import Answers, nodes
from isogloss.training.calibration.thresholds import (
    assigned,
    cross_fitted_assigned,
    fit_thresholds,
    with_thresholds,
)
from isogloss.training.data.clades import lineages_of
from isogloss.training.data.labelled import Split
from isogloss.training.evaluation.assigned import Assigned
from isogloss.training.evaluation.predictions import Group, Prediction, read_split

EVERYWHERE = "(all)"

_Scaled = dict[Split, tuple[Answers, Scaling]]  # what was answered, and how it is scaled


@dataclass(frozen=True, slots=True)
class CladeReport:
    """One temperature and prior, and what they do to the answers of their languages."""

    clade: str  # EVERYWHERE: all answers, each at its own temperature
    prompt: str
    languages: tuple[str, ...]
    temperature: float | None
    prior: bool  # whether one is taken off
    measured: Mapping[Split, Measured]  # where there are answers


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One model's and task's routes with priors and temperatures, and what these do.

    Dev sentences are judged by what was chosen and fitted without them, test ones by the table.
    """

    table: RouteTable
    digests: Mapping[str, str]  # of the prompts that were measured, by the routes' references
    unmeasured: tuple[str, ...]  # languages evaluated, but not under the prompt they are routed to
    clades: tuple[CladeReport, ...]  # EVERYWHERE first, then parents before children
    reliability: Mapping[tuple[Split, bool], Sequence[Bin]]  # by split, and whether scaled
    priors: tuple[PriorDecision, ...] = ()  # of the routes whose priors were learned
    # Where texts may have several labels: F1 at one half, and at the thresholds.
    assigned: Mapping[Split, tuple[Assigned, Assigned]] = field(default_factory=dict)

    @property
    def overall(self) -> CladeReport:
        """All answers together."""
        return self.clades[0]


def read_scores(
    paths: Sequence[Path], split: Split, model: str | None
) -> dict[Group, list[Prediction]]:
    """Predictions by backbone and task: see `read_split`."""
    why = "temperatures are fitted on dev (--evaluations) and may be judged on test (--report)"
    return read_split(paths, split, model, why)


def routes_of(key: Group, dev: Sequence[Prediction], state: StoreState) -> RouteTable:
    """The routes that a store has now for the backbone and task of these predictions.

    Raises:
        NotFound: there are none.
    """
    table = state.routes_for(*key)
    if table is None:
        raise NotFound(
            f"the store has no routes for {dev[0].model} and task {key[1]!r}; make them with "
            "`isogloss route` first"
        )
    return table


def calibrate(
    key: Group,
    dev: Sequence[Prediction],
    test: Sequence[Prediction],
    state: StoreState,
    rule: PriorRule | None = None,
) -> Calibrated:
    """Choose priors and fit temperatures for the routes that a store has now.

    Args:
        key: the backbone's fingerprint, and the task.
        dev: predictions to fit on; those of prompts that are not routed to are passed over.
        test: predictions to judge by; may be empty.
        state: of the store.
        rule: what to choose priors from; None: those that the routes have stay.

    Raises:
        NotFound: the store has no routes for this model and task.
        InvalidData: no dev predictions of the prompts that are routed to, or without scores.
        InvalidInput: priors for texts that may have several labels.
    """
    table = routes_of(key, dev, state)
    if rule is not None and any(row.problem == "multi_label" for row in dev):
        raise InvalidInput(
            f"--unlabelled: texts of task {key[1]!r} may have several labels, and what a prompt "
            "says anyway is taken off where one is right; leave it out"
        )
    digests = {reference: state.resolve(reference)[2] for reference in table.references}
    evidence = Answers.of(_answered(dev, table, digests))
    scaled: _Scaled = {"dev": (evidence, cross_fitted(evidence, table, rule))}
    chosen, decisions = fitted(evidence, table, rule)
    if rule is not None:
        chosen = with_evidence(chosen, decisions, rule)
    if test:
        judged = Answers.of(_answered(test, table, digests))
        scaled["test"] = (judged, Scaling.served(judged, chosen))
    if evidence.claims is not None:
        served = Scaling.served(evidence, chosen)
        chosen = with_thresholds(chosen, fit_thresholds(evidence, served, chosen))
    codes = tuple(sorted(set(evidence.languages.tolist())))
    return Calibrated(
        table=chosen,
        digests=digests,
        unmeasured=tuple(sorted({row.language for row in dev} - set(codes))),
        clades=tuple(_report(chosen, codes, scaled)),
        reliability=_reliability(scaled),
        priors=decisions,
        assigned=_assigned(chosen, scaled) if evidence.claims is not None else {},
    )


def _assigned(table: RouteTable, scaled: _Scaled) -> dict[Split, tuple[Assigned, Assigned]]:
    """F1 before and after: dev at what its other folds fitted, test as served."""
    halves = with_thresholds(table, {})
    return {
        split: (
            assigned(answers, scaling, halves),
            cross_fitted_assigned(answers, scaling, halves)
            if split == "dev"
            else assigned(answers, scaling, table),
        )
        for split, (answers, scaling) in scaled.items()
    }


def publish_temperatures(
    store: PromptStore, calibrated: Sequence[Calibrated], note: str
) -> StoreState:
    """Publish the tables with their priors and temperatures as one new generation.

    Raises:
        Unavailable: routes or prompts were changed since they were read.
        StoreError: the store cannot be written.
    """

    def tables(state: StoreState) -> list[RouteTable]:
        for each in calibrated:
            now = state.routes_for(*each.table.key)
            current = now and {name: state.resolve(name)[2] for name in now.references}
            if now is None or _choices(now) != _choices(each.table) or current != each.digests:
                raise Unavailable(
                    f"the routes of {each.table.model.id}, task {each.table.task!r}, changed while "
                    "they were calibrated; calibrate again"
                )
        return [each.table for each in calibrated]

    return store.publish({}, tables, note)


def _answered(
    rows: Sequence[Prediction], table: RouteTable, digests: Mapping[str, str]
) -> list[Prediction]:
    """Each language's answers by the prompt it is routed to, each sentence once."""
    lineages = lineages_of({row.language for row in rows})
    routed = {code: digests[table.route(lineage).reference] for code, lineage in lineages.items()}
    answered = {(r.language, r.index_id): r for r in rows if r.digest == routed[r.language]}
    if not answered:
        raise InvalidData(
            f"no predictions of the prompts that {table.model.id} routes to; evaluate "
            f"{', '.join(table.references)} from this store"
        )
    return list(answered.values())


def _choices(table: RouteTable) -> tuple[str, dict[str, str]]:
    return table.universal, table.clades


def _report(table: RouteTable, codes: tuple[str, ...], scaled: _Scaled) -> Iterator[CladeReport]:
    yield CladeReport(EVERYWHERE, "", codes, None, bool(table.priors), _measured(codes, scaled))
    prompts = {UNIVERSAL: table.universal, **table.clades}
    for node in nodes(table, codes):
        prompts.setdefault(node.name, prompts[node.parent or UNIVERSAL])
        yield CladeReport(
            clade=node.name,
            prompt=prompts[node.name],
            languages=node.languages,
            temperature=table.temperatures[node.name],
            prior=node.name in table.priors,
            measured=_measured(node.languages, scaled),
        )


def _measured(codes: Sequence[str], scaled: _Scaled) -> dict[Split, Measured]:
    measured: dict[Split, Measured] = {}
    for split, (answers, scaling) in scaled.items():
        chosen = np.isin(answers.languages, codes)
        if chosen.any():
            measured[split] = measure(answers.where(chosen), scaling.where(chosen))
    return measured


def _reliability(scaled: _Scaled) -> dict[tuple[Split, bool], list[Bin]]:
    return {
        (split, after): bins(answers, scaling if after else Scaling.none(answers))
        for split, (answers, scaling) in scaled.items()
        for after in (False, True)
    }
