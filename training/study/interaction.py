"""Do families differ in what reparameterization does to them? One test over all families at once.

A language's effect is its family's, plus its own, plus what a seed and an article of the test do to
the whole family. Languages, seeds and articles are samples, so all three are in each family's
variance. Families are then weighed as studies are in a meta-analysis: Cochran's Q tests whether
they lie further apart than that, and Q solved for the variance between families gives its estimate
(Paule and Mandel) and interval (Viechtbauer's Q profile). What a seed does to all languages alike
moves every family alike, and drops out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.training.study.estimates import LEVEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FamilyDifference:
    """How far families' effects lie apart, in the unit of the effects."""

    std: float  # of the families' true effects
    low: float  # its 95 % interval, never below zero
    high: float
    p: float  # of families as far apart as these where none differ
    means: dict[str, float]  # by family, as observed


def family_difference(effects: Table, families: Sequence[str]) -> FamilyDifference | None:
    """Test and estimate the differences between families.

    Args:
        effects: (seeds, articles, languages), of which the mean over articles is the effect.
        families: of each language; those with one language do not count.

    None for a single seed, and without two families of which each has two languages.
    """
    import numpy as np

    names = sorted({family for family in families if families.count(family) > 1})
    if len(effects) < 2 or len(names) < 2:
        return None
    kept = [place for place, family in enumerate(families) if family in names]
    members = np.array([[families[place] == name for name in names] for place in kept], float)
    effects = effects[..., kept]
    middle, variances = _families(effects, members)
    free = min(len(kept) - len(names), (len(effects) - 1) * (len(names) - 1))
    std, low, high, p = _spread(middle, variances, free)
    means = dict(zip(names, middle.tolist(), strict=True))
    return FamilyDifference(std, low, high, p, means)


def _families(effects: Table, members: Table) -> tuple[Table, Table]:
    """(families,): the mean effect, and its variance but for what families truly differ by."""
    by_seed, by_article = effects.mean(1), effects.mean(0)
    means = _means(by_seed, members).mean(0)
    apart = by_seed.mean(0) - means @ members.T
    own = (apart**2).sum() / (len(members) - len(means))
    variances = own / members.sum(0) + _shared(by_seed, members) + _shared(by_article, members)
    return means, variances


def _means(table: Table, members: Table) -> Table:
    """(drawn, languages) -> (drawn, families)."""
    mean: Table = table @ members / members.sum(0)
    return mean


def _shared(table: Table, members: Table) -> float:
    """Variance of a family's mean by what a seed (or an article) does to its languages together.

    `table` is (drawn, languages). What its languages have apart averages out among them and is in
    their own variance already.
    """
    drawn = len(table)
    if drawn < 2:
        return 0.0
    means = _means(table, members)
    families, sizes = means.shape[1], members.sum(0)
    within = table - means @ members.T
    apart = ((within - within.mean(0)) ** 2).sum() / (drawn - 1) / (len(members) - families)
    moved = means - means.mean(1, keepdims=True) - means.mean(0) + means.mean()
    together = (moved**2).sum() / (drawn - 1) / (families - 1)
    return max(0.0, float(together - apart * (1 / sizes).mean())) / drawn


def _spread(means: Table, variances: Table, free: int) -> tuple[float, float, float, float]:
    """Standard deviation between families, its interval, and the p-value of none."""
    from scipy.optimize import brentq
    from scipy.stats import f

    freedom = len(means) - 1
    tiny = 1e-12 * float(means.var())  # effects that are all the same have no variance at all

    def q(between: float) -> float:
        weights = 1 / (variances + between + tiny + 1e-300)
        centre = (weights * means).sum() / weights.sum()
        return float((weights * (means - centre) ** 2).sum()) / freedom

    def std_where(wanted: float) -> float:
        if q(0) <= wanted:
            return 0.0
        most = float(means.var()) * len(means) / wanted + 1
        return math.sqrt(float(brentq(lambda between: q(between) - wanted, 0, most)))

    tail = (1 - LEVEL) / 2
    low, high = (std_where(f.ppf(quantile, freedom, free)) for quantile in (1 - tail, tail))
    p = float(f.sf(q(0), freedom, free))
    return std_where(1.0), low, high, p
