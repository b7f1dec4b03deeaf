"""Languages without evidence: each evaluated language in turn treated as one, then tested.

For each language the routes are chosen again without its dev answers and without any prompt that
was trained on it (also in the universal arm). It then takes its clade's route, as the table would
give it; or the prompt that its nearest neighbours by lang2vec distance do best with, by the same
rule, as if they were a clade; or the universal prompt. What each comes to is measured on test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages.languages import deepest_clade
from isogloss.training.selection.choice import Judge, Rule, walk
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import compare
from isogloss.training.typology.distances import METRICS, distances

Distances = Callable[[str, Sequence[str]], Mapping[str, float]]
NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Which prompt each language would get if nothing were known of it: code -> prompt."""

    universal: Mapping[str, str]
    by_clade: Mapping[str, str]
    by_neighbours: Mapping[str, str]
    clades: Mapping[str, str | None]  # whose route it was; None: universal


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """One row of left_out*.csv: what a way to choose comes to where nothing is known.

    Gains in points of accuracy, with 95 % intervals.
    """

    model: str
    task: str
    level: Literal["overall", "language"]
    name: str
    code: str
    way: str
    over: str
    languages: int
    moved: int  # of them, those that the two ways give different prompts
    prompts: str
    clade: str  # whose route decided
    over_percent: float
    percent: float
    gain_points: float
    low: float
    high: float


def check_same(dev: Mapping[str, str], test: Mapping[str, str]) -> None:
    """Require that a name stands for one prompt on both splits, by its digest.

    Raises:
        InvalidData: one does not.
    """
    for name in sorted(dev.keys() & test.keys()):
        if dev[name] != test[name]:
            raise InvalidData(
                f"--left-out: prompt {name!r} is {dev[name]} on dev and {test[name]} on test; "
                "evaluate the same prompts on both splits"
            )


def left_out_rows(test: Evidence, chosen: LeftOut, of: tuple[str, str]) -> list[LeftOutRow]:
    """Compare the three ways on test: overall, and by language.

    Raises:
        InvalidData: test lacks a prompt or a language that dev has.
    """
    if unseen := sorted(set(chosen.universal) - set(test.languages)):
        raise InvalidData(
            f"--left-out: {', '.join(unseen)} was evaluated on dev and not on test; evaluate both "
            "splits on the same languages"
        )
    test = test.only(tuple(chosen.universal))
    ways = {
        "clade": chosen.by_clade,
        "neighbours": chosen.by_neighbours,
        "universal": chosen.universal,
    }
    rows = []
    for way, over in (("clade", "universal"), ("neighbours", "universal"), ("neighbours", "clade")):
        for row in compare(test, ways[way], ways[over], of):
            if row.level == "clade":
                continue
            rows.append(
                LeftOutRow(
                    *of,
                    level=row.level,
                    name=row.name,
                    code=row.code,
                    way=way,
                    over=over,
                    languages=row.languages,
                    moved=row.moved,
                    prompts=row.prompts,
                    clade=chosen.clades.get(row.code) or "",
                    over_percent=row.universal_percent,
                    percent=row.routed_percent,
                    gain_points=row.gain_points,
                    low=row.low,
                    high=row.high,
                )
            )
    return rows


def leave_out(
    evidence: Evidence,
    rule: Rule,
    distance: Distances | None = None,
    done: Callable[[str], None] = lambda code: None,
) -> LeftOut:
    """Choose for every language from the others' evidence; `done` hears of each.

    A language that every prompt has seen, such as English where all began with it, is passed over.

    Raises:
        InvalidData: that is so of all languages, or there is only one.
    """
    measure = distance or mean_distances
    arms: dict[str, tuple[str, str, str, str | None]] = {}
    for code in evidence.languages:
        rest = evidence.without(code)
        if not rest.prompts or not rest.languages:
            continue
        judge = Judge.of(rest, rule)
        arms[code] = _arms(judge, code, evidence.lineages[code], measure)
        done(code)
    if not arms:
        raise InvalidData(
            "--left-out: without any one language there is no other, or no prompt that has not "
            "seen it; evaluate more"
        )
    universal, by_clade, by_neighbours, clades = zip(*arms.values(), strict=True)
    return LeftOut(
        universal=dict(zip(arms, universal, strict=True)),
        by_clade=dict(zip(arms, by_clade, strict=True)),
        by_neighbours=dict(zip(arms, by_neighbours, strict=True)),
        clades=dict(zip(arms, clades, strict=True)),
    )


def _arms(
    judge: Judge, code: str, lineage: Sequence[str], measure: Distances
) -> tuple[str, str, str, str | None]:
    routes = walk(judge).routes
    clade = deepest_clade(lineage, routes)
    far = measure(code, judge.evidence.languages)
    near = tuple(sorted(far, key=lambda other: (far[other], other))[:NEIGHBOURS])
    best = judge.expected_best(near, judge.universal)
    decision = judge.decide("neighbours", near, best, None, judge.universal)
    return (
        judge.universal,
        judge.universal if clade is None else routes[clade],
        best if decision.routed else judge.universal,
        clade,
    )


def mean_distances(code: str, others: Sequence[str]) -> dict[str, float]:
    """The mean of the six lang2vec distances, of those that are known; infinite where none is."""
    measured = distances(code, others)
    known = {
        other: [d for metric in METRICS if (d := measured[metric][other]) is not None]
        for other in others
    }
    return {
        other: float(np.mean(measured_distances)) if measured_distances else np.inf
        for other, measured_distances in known.items()
    }
