"""The numbers that the rule asks for, from dev alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.routing.routes import RouteTable
from isogloss.training.recipes.ladder.pooling import Paired, intervals, pooled
from isogloss.training.recipes.ladder.rule import DevRung, Difference
from isogloss.training.recipes.ladder.rungs import Rung
from isogloss.training.recipes.ladder.ways import EVERYWHERE, choose_way
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Group, answers
from isogloss.training.selection.served import with_served

_FOLDS = 3
_BEST_FED = 10


def dev_rung(rungs: Sequence[Rung], even: Rung) -> DevRung:
    """One alpha's rungs (pretraining seeds, pooled) beside today's even model."""
    served_even = _served(even)
    over = pooled([_over(_served(rung), served_even) for rung in rungs])
    codes, known = over.evidence.languages, rungs[0].known
    fed = sorted(codes, key=lambda code: (-known.get(code, 0.0), code))
    ten = tuple(code for code in fed if code != "eng_Latn")[:_BEST_FED]
    english, best, own = (_difference(over, group) for group in (("eng_Latn",), ten, codes))
    gain = _difference(pooled([cross_fitted(rung) for rung in rungs]), codes)
    percents = 100 * over.ours.sum(axis=1) / over.evidence.answered.sum(axis=1)
    least = int(percents.argmin())
    weakest = (codes[least], float(percents[least]))
    return DevRung(rungs[0].alpha, english, best, own, gain, *weakest)


def _served(rung: Rung) -> Paired:
    """Right answers on dev as a server gives them; the other arm is nothing."""
    table = RouteTable.model_validate_json((rung.folder / "routes.json").read_bytes())
    rows, names = with_served(rung.dev(), table)
    evidence = rung.evidence(rows)
    nothing = np.zeros(evidence.answered.shape)
    return Paired(evidence, answers(evidence, names), nothing, np.zeros(len(nothing)))


def _over(ours: Paired, other: Paired) -> Paired:
    """The same languages' answers side by side; pooling refuses where sentences differ."""
    both = pooled([ours, other], [1.0, 0.0])
    return Paired(both.evidence, ours.ours, other.ours, both.moved)


def _difference(paired: Paired, codes: tuple[str, ...]) -> Difference:
    found = intervals(paired, [Group("overall", "", codes)])[0]
    return Difference(found.points, found.low, found.high)


def cross_fitted(rung: Rung) -> Paired:
    """Routes against the best single prompt, each article by a choice made without it."""
    dev = rung.evidence(rung.dev())
    sums = [np.zeros(dev.answered.shape) for _ in range(2)]
    for held in _folds(dev):
        chosen = choose_way(rung, _sentences(dev, ~held), EVERYWHERE)
        single: Mapping[str, str] = dict.fromkeys(dev.languages, chosen.single)
        for total, arm in zip(sums, (chosen.routed, single), strict=True):
            total += answers(dev, arm) * held
    return Paired(dev, sums[0], sums[1], np.zeros(len(dev.languages)))


def _folds(dev: Evidence) -> list[NDArray[np.bool_]]:
    """(sentence,) masks: articles in turn."""
    numbers = dev.membership.argmax(axis=1)
    return [numbers % _FOLDS == fold for fold in range(_FOLDS)]


def _sentences(evidence: Evidence, kept: NDArray[np.bool_]) -> Evidence:
    """The answers to some of the sentences."""
    return replace(
        evidence,
        correct=evidence.correct[:, :, kept],
        answered=evidence.answered[:, kept],
        leads=None if evidence.leads is None else evidence.leads[:, :, kept],
        articles=None if evidence.articles is None else evidence.articles[kept],
    )
