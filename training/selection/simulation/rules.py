"""Simpler rules than ours, to be measured against it: routes from right and wrong alone.

Each walks the clades from the root and lets the best candidate on dev take a clade, where the
rule's own condition is met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from isogloss.training.data.clades import branching_clades
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Matrix

Routes = Mapping[str, str]
Condition = Callable[[Matrix], int | None]
"""From gains over the baseline, (candidate, article), to the candidate that takes the clade."""
_FOLDS = 5
_DRAWS = 400


def simpler_routes(evidence: Evidence, universal: str) -> dict[str, Routes]:
    """What each rule would do with the same evidence."""
    return {rule: _walk(evidence, universal, met) for rule, met in _CONDITIONS.items()}


def _walk(evidence: Evidence, universal: str, condition: Condition) -> Routes:
    routes: dict[str, str] = {}
    answers = evidence.correct * (evidence.answered / evidence.answered.sum(axis=1)[:, None])
    for clade, codes in branching_clades(evidence.lineages, 1).items():
        baseline = _above(evidence.lineages[codes[0]], clade, routes, universal)
        shares = np.tensordot(evidence.weights(codes), answers, axes=(0, 1)) @ evidence.membership
        taken = condition(shares - shares[evidence.prompts.index(baseline)])
        if taken is not None and evidence.prompts[taken] != baseline:
            routes[clade] = evidence.prompts[taken]
    return routes


def _above(lineage: Sequence[str], clade: str, routes: Routes, universal: str) -> str:
    above = reversed(lineage[: list(lineage).index(clade)])
    return next((routes[name] for name in above if name in routes), universal)


def _by_more_than(points: float, gains: Matrix) -> int | None:
    best = int(gains.sum(axis=1).argmax())
    return best if 100 * gains[best].sum() > points else None


def _largest_t(probability: float, gains: Matrix) -> int | None:
    """The largest t of all candidates is larger than chance makes it, by the bootstrap."""
    articles = gains.shape[1]
    means = gains.sum(axis=1)
    errors = np.sqrt(((gains - means[:, None] / articles) ** 2).sum(axis=1)).clip(1e-9)
    luck = np.random.default_rng(0)
    counts = luck.multinomial(articles, np.full(articles, 1 / articles), size=_DRAWS)
    by_chance = ((counts @ gains.T - means) / errors).max(axis=1)
    best = int((means / errors).argmax())
    sure = means[best] / errors[best] > np.quantile(by_chance, probability)
    return best if sure and means[best] > 0 else None


def _cross_validated(gains: Matrix) -> int | None:
    """The best of four fifths of the articles gains on the fifth, in the mean of five times."""
    fold = np.arange(gains.shape[1]) % _FOLDS
    gain = 0.0
    for held_out in range(_FOLDS):
        best = gains[:, fold != held_out].sum(axis=1).argmax()
        gain += float(gains[best, fold == held_out].sum())
    return _by_more_than(0.0, gains) if gain > 0 else None


_CONDITIONS: Mapping[str, Condition] = {
    "best on dev": partial(_by_more_than, 0.0),
    "best on dev by over a point": partial(_by_more_than, 1.0),
    "largest t, bootstrap over candidates, 90 %": partial(_largest_t, 0.9),
    "the same, 50 %": partial(_largest_t, 0.5),
    "gain in 5-fold cross-validation": _cross_validated,
}
