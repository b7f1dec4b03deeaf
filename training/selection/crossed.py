"""Means of effects that were measured in clades crossed with seeds, on articles shared by all.

The model is `effect = mean + clade + seed + their interaction`, all three random, plus the luck of
which articles were read. Components are the analysis of variance's, which REML comes to where every
clade has every seed. Articles are the same in all clades and seeds, so no spread between clades can
show their luck: it is added, estimated from what each article did to each effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Effect:
    """An estimate and its 95 % interval; without bounds where one seed, or article, is all."""

    estimate: float
    low: float | None
    high: float | None
    sd_between: float | None = None  # of clades' true effects; None: of a single clade


@dataclass(frozen=True, slots=True)
class _Part:
    """A variance, and the degrees of freedom with which it is known."""

    variance: float
    freedom: int


def clade_effect(effects: Array, influence: Array) -> Effect:
    """The mean over seeds of one clade.

    Args:
        effects: (seed,).
        influence: (seed, article), what each article adds to the effect; its rows sum to zero.
    """
    seeds, articles = influence.shape
    mean = float(effects.mean())
    if seeds < 2 or articles < 2:
        return Effect(mean, None, None)
    shared = max(0.0, _shared(influence[None], same_clade=True))
    spread = _Part(float(effects.var(ddof=1)) / seeds, seeds - 1)
    return _with_interval(mean, [spread, _Part(shared, articles - 1)])


def mean_effect(effects: Array, influence: Array) -> Effect:
    """The mean over clades, which are a sample of clades, and seeds.

    Args:
        effects: (clade, seed).
        influence: (clade, seed, article), as of one clade.
    """
    clades, seeds, articles = influence.shape
    mean = float(effects.mean())
    if clades == 1:
        return clade_effect(effects[0], influence[0])
    if seeds < 2 or articles < 2:
        return Effect(mean, None, None)
    by_clade, by_seed, rest = _mean_squares(effects)
    everywhere = _shared(influence, same_clade=False)
    parts = [_Part(by_clade / effects.size, clades - 1)]
    if by_seed > rest:
        parts.append(_Part(by_seed / effects.size, seeds - 1))
        parts.append(_Part(-rest / effects.size, (clades - 1) * (seeds - 1)))
    parts.append(_Part(max(0.0, everywhere), articles - 1))
    own_luck = _shared(influence, same_clade=True) - everywhere
    between = max(0.0, (by_clade - rest) / seeds - own_luck)
    return _with_interval(mean, parts, math.sqrt(between))


def _mean_squares(effects: Array) -> tuple[float, float, float]:
    """Between clades, between seeds, and of what is left."""
    clades, seeds = effects.shape
    of_clade = effects.mean(axis=1, keepdims=True)
    of_seed = effects.mean(axis=0, keepdims=True)
    rest = effects - of_clade - of_seed + effects.mean()
    return (
        seeds * float(of_clade.var(ddof=1)),
        clades * float(of_seed.var(ddof=1)),
        float((rest**2).sum()) / ((clades - 1) * (seeds - 1)),
    )


def _shared(influence: Array, *, same_clade: bool) -> float:
    """Mean covariance that articles give two effects of different seeds, within or across clades.

    Of one seed, articles are part of what is seen between seeds already.
    """
    clades, seeds, articles = influence.shape
    cells = (influence**2).sum()
    within = (influence.sum(axis=1) ** 2).sum() - cells  # one clade, two seeds
    if same_clade:
        sums, pairs = within, clades * seeds * (seeds - 1)
    else:
        one_seed = (influence.sum(axis=0) ** 2).sum() - cells
        everything = (influence.sum(axis=(0, 1)) ** 2).sum() - cells
        sums = everything - within - one_seed
        pairs = clades * (clades - 1) * seeds * (seeds - 1)
    return float(sums / pairs * articles / (articles - 1))


def _with_interval(mean: float, parts: Sequence[_Part], between: float | None = None) -> Effect:
    """Student's interval; degrees of freedom are Satterthwaite's."""
    from scipy.stats import t

    variance = sum(part.variance for part in parts)
    if variance <= 0:
        return Effect(mean, mean, mean, between)
    freedom = variance**2 / sum(part.variance**2 / part.freedom for part in parts)
    fewest = min(part.freedom for part in parts)  # a part taken off may lead below it
    reach = float(t.ppf((1 + LEVEL) / 2, max(freedom, fewest))) * math.sqrt(variance)
    return Effect(mean, mean - reach, mean + reach, between)
