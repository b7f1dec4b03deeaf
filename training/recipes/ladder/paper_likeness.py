"""Is a rung like the real model? Its accuracies by language beside the paper's Table 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from isogloss.training.recipes.ladder.comparisons import Measured
from isogloss.training.recipes.ladder.ways import PAPERS, candidates_of
from isogloss.training.study.paper import paper_accuracies
from isogloss.training.typology.correlation import pearson

PAPERS_MODELS = {"bloom": "bloom-560m", "xglm": "xglm-564M"}


@dataclass(frozen=True, slots=True)
class LikenessRecord:
    """One row of likeness.csv: 8-shot English prompts on test, mean of all; model frozen."""

    architecture: str
    alpha: float
    which: str
    paper_model: str
    languages: int
    percent: float
    paper_percent: float
    correlation: float  # Pearson's, over languages


def likeness_records(measured: Sequence[Measured]) -> list[LikenessRecord]:
    """Of every rung whose architecture is in the paper."""
    return [_likeness(each) for each in measured if each.rung.architecture in PAPERS_MODELS]


def _likeness(measured: Measured) -> LikenessRecord:
    rung, test = measured.rung, measured.test
    model = PAPERS_MODELS[rung.architecture]
    paper = paper_accuracies(model, "frozen")
    few = [test.prompts.index(name) for name in candidates_of(rung, PAPERS)]
    ours = dict(zip(test.languages, test.accuracy[few].mean(axis=0), strict=True))
    codes = [code for code in test.languages if code in paper]
    x = np.array([ours[code] for code in codes])
    y = np.array([paper[code].percent for code in codes])
    facts = (rung.architecture, rung.alpha, rung.which, model, len(codes))
    return LikenessRecord(*facts, 100 * fmean(x), fmean(y), float(pearson(x, y)))
