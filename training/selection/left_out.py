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
from isogloss.training.selection.gains import GainRow, compare
from isogloss.training.typology.distances import METRICS, distances

Distances = Callable[[str, Sequence[str]], Mapping[str, float]]
NEIGHBOURS = 5
_COMPARED = (("clade", "universal"), ("neighbours", "universal"), ("neighbours", "clade"))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Which prompt one language would get, by each way to choose, if nothing were known of it."""

    universal: str
    clade: str
    neighbours: str
    routed_clade: str | None  # whose route it was; None: universal


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


def left_out_rows(
    test: Evidence, chosen: Mapping[str, LeftOut], of: tuple[str, str]
) -> list[LeftOutRow]:
    """Compare the three ways on test: overall, and by language (the keys of `chosen`).

    Raises:
        InvalidData: test lacks a prompt or a language that dev has.
    """
    if unseen := sorted(set(chosen) - set(test.languages)):
        raise InvalidData(
            f"--left-out: {', '.join(unseen)} was evaluated on dev and not on test; evaluate both "
            "splits on the same languages"
        )
    test = test.only(tuple(chosen))
    ways = {
        way: {code: getattr(left_out, way) for code, left_out in chosen.items()}
        for way in ("clade", "neighbours", "universal")
    }
    return [
        _row(row, way, over, chosen[row.code].routed_clade if row.code else None)
        for way, over in _COMPARED
        for row in compare(test, ways[way], ways[over], of)
        if row.level != "clade"
    ]


def _row(row: GainRow, way: str, over: str, clade: str | None) -> LeftOutRow:
    return LeftOutRow(
        model=row.model,
        task=row.task,
        level="language" if row.code else "overall",
        name=row.name,
        code=row.code,
        way=way,
        over=over,
        languages=row.languages,
        moved=row.moved,
        prompts=row.prompts,
        clade=clade or "",
        over_percent=row.universal_percent,
        percent=row.routed_percent,
        gain_points=row.gain_points,
        low=row.low,
        high=row.high,
    )


def leave_out(
    evidence: Evidence,
    rule: Rule,
    distance: Distances | None = None,
) -> dict[str, LeftOut]:
    """Choose for every language from the others' evidence.

    A language that every prompt has seen, such as English where all began with it, is passed over.

    Raises:
        InvalidData: that is so of all languages, or there is only one.
    """
    chosen: dict[str, LeftOut] = {}
    for code in evidence.languages:
        rest = evidence.without(code)
        if rest.prompts and rest.languages:
            judge, lineage = Judge.of(rest, rule), evidence.lineages[code]
            chosen[code] = _choose(judge, code, lineage, distance or mean_distances)
    if not chosen:
        raise InvalidData(
            "--left-out: without any one language there is no other, or no prompt that has not "
            "seen it; evaluate more"
        )
    return chosen


def _choose(judge: Judge, code: str, lineage: Sequence[str], measure: Distances) -> LeftOut:
    routes = walk(judge).routes
    clade = deepest_clade(lineage, routes)
    far = measure(code, judge.evidence.languages)
    near = tuple(sorted(far, key=lambda other: (far[other], other))[:NEIGHBOURS])
    best = judge.expected_best(near, judge.universal)
    decision = judge.decide("neighbours", near, best, None, judge.universal)
    return LeftOut(
        universal=judge.universal,
        clade=judge.universal if clade is None else routes[clade],
        neighbours=best if decision.routed else judge.universal,
        routed_clade=clade,
    )


def mean_distances(code: str, others: Sequence[str]) -> dict[str, float]:
    """The mean of the six lang2vec distances, of those that are known; infinite where none is."""
    measured = distances(code, others)
    known = {
        other: [d for metric in METRICS if (d := measured[metric][other]) is not None]
        for other in others
    }
    return {
        other: float(np.mean(metrics)) if metrics else np.inf for other, metrics in known.items()
    }
