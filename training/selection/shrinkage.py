"""What candidates' dev results say about their true accuracies: a hierarchical model of gains.

A candidate's accuracy in a language is the language's own level, plus how good the candidate is
everywhere, plus what kinship to its training languages brings (`kinship`), plus what is peculiar to
the two. The peculiar part is normal. It is shared within the clades of the tree (half of its
variance in a family, a quarter more in a clade below it, and so on; or nearly all in the family),
among languages whose sentences the candidates get right and wrong together, and a rest is the
language's own. Candidates that answer alike, such as seeds of one setting, are as alike in it, more
so, or not at all. With the noise known (`noise`), what remains of an observed gain is what it
shrinks to: thin evidence towards the parent clade's gain, and the best of many towards the others'
mean.

Nothing is fitted to one best value. Standard deviations and shares run over grids, each point
weighed by its likelihood, so "candidates do not differ by clade at all" keeps its share of the
answer until the evidence speaks against it. The grids are fine enough for differences of a few
points: between coarse ones, the largest gains would shrink too little. Both covariances of the
normal model are products over candidates and languages, so one eigendecomposition a point makes
every observation independent, and the whole fit takes a second.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isogloss.training.data.clades import branching_clades
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.noise import Noise, sampling_noise
from isogloss.training.selection.scores import scores

Matrix = NDArray[np.float64]
# Standard deviations of accuracy.
_ANYWHERE = (0.015, 0.06)  # of how good a candidate is everywhere
_KINSHIP = 0.05  # of what kinship brings
_BY_CLADE = (0.0, 0.01, 0.02, 0.03, 0.045)
_BY_LIKENESS = (0.0, 0.03, 0.07)
_BY_LANGUAGE = (0.0, 0.01, 0.02, 0.03)
_TO_FAMILY = (0.5, 0.9)  # share of `_BY_CLADE`'s variance that a whole family has in common
_NEGLIGIBLE = 1e-4  # weight of a grid point that is left out


@dataclass(frozen=True, slots=True)
class Gain:
    """What one candidate is worth above another: expected, 95 % interval, chance to be positive."""

    mean: float
    low: float
    high: float
    positive: float


@dataclass(frozen=True, slots=True)
class _Observed:
    """Results in coordinates of candidates where noise is independent: (contrast, language)."""

    accuracy: Matrix  # (contrast, language)
    kinship: Matrix  # (contrast, language, kinship)
    to_contrasts: Matrix  # (candidate, contrast): what of a candidate lies in each coordinate
    likenesses: tuple[Matrix, ...]  # (contrast,) each: how much candidates differ in a coordinate


@dataclass(frozen=True, slots=True)
class _Point:
    """The posterior at one point of the grids, in coordinates where all is independent."""

    likelihood: float  # logarithm
    mean: Matrix  # (contrast, language)
    variance: Matrix  # (contrast, language)
    slopes: Matrix  # (contrast, language, kinship): how the mean moves with kinship's effects
    effects: Matrix  # (kinship, kinship): covariance of kinship's effects
    to_languages: Matrix  # (language, language)


class Posterior:
    """What is believed of every candidate's true accuracy, relative to the candidates' mean."""

    def __init__(self, evidence: Evidence, observed: _Observed, points: Sequence[_Point]) -> None:
        logs = np.array([point.likelihood for point in points])
        shares = np.exp(logs - logs.max())
        kept = shares / shares.sum() > _NEGLIGIBLE
        self._evidence = evidence
        self._to_contrasts = observed.to_contrasts
        self._points = [point for point, keep in zip(points, kept, strict=True) if keep]
        self._weights: Matrix = shares[kept] / shares[kept].sum()
        means = [point.mean @ point.to_languages.T for point in self._points]
        mean = np.tensordot(self._weights, np.array(means), axes=1)
        self.accuracies: Matrix = self._to_contrasts @ mean
        """(candidate, language): expected."""

    def gain(self, ours: str, other: str, codes: Sequence[str]) -> Gain:
        """`ours` minus `other`, in the mean over these languages."""
        names = self._evidence.prompts
        if ours == other:
            return Gain(0.0, 0.0, 0.0, 0.0)
        contrast = self._to_contrasts[names.index(ours)] - self._to_contrasts[names.index(other)]
        weights = self._evidence.weights(codes)
        moments = [_moments(point, contrast, weights) for point in self._points]
        means, deviations = np.array(moments).T
        return _mixture(self._weights, means, deviations)


def infer(evidence: Evidence) -> Posterior:
    """Weigh every point of the grids by its likelihood."""
    answers = scores(evidence)
    noise = sampling_noise(answers, evidence.answered, evidence.membership)
    accuracy = answers.sum(axis=2) / evidence.answered.sum(axis=1)
    observed = _observe(accuracy, kinship(evidence), noise)
    root: Matrix = np.linalg.cholesky(noise.languages).astype(np.float64)
    signals = _signals(evidence.lineages, noise, root)
    scale = noise.candidates.diagonal().mean()
    points = [p for signal in signals for p in _fit(observed, root, signal / scale)]
    return Posterior(evidence, observed, points)


def _signals(lineages: Mapping[str, Sequence[str]], noise: Noise, root: Matrix) -> Iterator[Matrix]:
    """(language, language) at each point of the grids: how candidates' true accuracies vary.

    In coordinates where the languages' noise, whose Cholesky factor is `root`, is one.
    """

    def white(kernel: Matrix) -> Matrix:
        half = np.linalg.solve(root, np.linalg.solve(root, kernel).T)
        return (half + half.T) / 2

    anywhere, alone = white(np.ones_like(root)), white(np.eye(len(root)))
    likeness = white(_likeness(noise))
    trees = [white(_with_rest(clade_likeness(lineages, share))) for share in _TO_FAMILY]
    by_clade = [s**2 * tree for s in _BY_CLADE for tree in (trees if s else trees[:1])]
    for a, clade, s, t in itertools.product(_ANYWHERE, by_clade, _BY_LIKENESS, _BY_LANGUAGE):
        yield a**2 * anywhere + clade + s**2 * likeness + t**2 * alone


def clade_likeness(lineages: Mapping[str, Sequence[str]], to_family: float = 0.5) -> Matrix:
    """(language, language): what a shared family explains, and clades below it of what is left.

    With half to the family that is half for a family, a quarter more for a clade below it, ...
    Only clades that hold at least two of these languages, and tell them apart, count.
    """
    codes = list(lineages)
    likeness = np.zeros((len(codes), len(codes)))
    below = dict.fromkeys(codes, 0)
    for members in branching_clades(lineages).values():
        inside = np.array([code in members for code in codes], dtype=np.float64)
        share = to_family * (1 - to_family) ** max(below[code] for code in members)
        likeness += share * np.outer(inside, inside)
        below.update({code: below[code] + 1 for code in members})
    return likeness


def _with_rest(likeness: Matrix) -> Matrix:
    """The same, what no clade explains being each language's own: all of it where it has no kin."""
    return likeness + np.diag(1 - likeness.diagonal())


def kinship(evidence: Evidence) -> Matrix:
    """(candidate, language, 2): trained on this very language? How much of its training was kin?"""
    tree = clade_likeness(evidence.lineages)
    codes = evidence.languages
    features = np.zeros((len(evidence.prompts), len(codes), 2))
    for row, prompt in zip(features, evidence.prompts, strict=True):
        sources = evidence.origin(prompt).sources
        sources_at = [index for index, code in enumerate(codes) if code in sources]
        if sources_at:
            row[sources_at, 0] = 1.0
            row[:, 1] = tree[:, sources_at].sum(axis=1) / len(sources)
    return features


def _likeness(noise: Noise) -> Matrix:
    """(language, language): languages that err on the same sentences, through third ones too.

    The square of the noise's own correlations: what the candidates' answers have most in common
    counts most.
    """
    squared = noise.languages @ noise.languages
    likeness: Matrix = squared / squared.diagonal().mean()
    return likeness


def _observe(accuracy: Matrix, kin: Matrix, noise: Noise) -> _Observed:
    """Contrasts of candidates in which noise is independent, and so is what they differ in.

    Candidates that answer alike are as alike in truth as in noise; or more, by its square; or not.
    """
    candidates = len(accuracy)
    centring = np.eye(candidates) - 1 / candidates
    basis = np.linalg.qr(centring)[0][:, : candidates - 1]  # orthonormal, without the mean
    root = np.linalg.cholesky(basis.T @ noise.candidates @ basis)
    sizes, turn = np.linalg.eigh(root.T @ root)  # (contrast,): of noise
    whiten = turn.T @ np.linalg.solve(root, basis.T)  # (contrast, candidate)
    powers = (sizes**power for power in (0, 1, 2))
    return _Observed(
        whiten @ accuracy,
        np.tensordot(whiten, kin, axes=1),
        basis @ root @ turn,
        tuple(power / sizes * sizes.sum() / power.sum() for power in powers),
    )


def _fit(observed: _Observed, root: Matrix, signal: Matrix) -> Iterator[_Point]:
    """Posteriors where candidates vary so, (language, language) in units of noise."""
    sizes, turn = np.linalg.eigh(signal)
    back = np.linalg.solve(root.T, turn)  # (language, coordinate)
    y = observed.accuracy @ back
    z = np.einsum("jlk,li->jik", observed.kinship, back)
    for likeness in observed.likenesses:
        yield _posterior(y, z, np.outer(likeness, np.maximum(sizes, 0)), root @ turn)


def _posterior(y: Matrix, z: Matrix, signal: Matrix, to_languages: Matrix) -> _Point:
    """The posterior in coordinates where noise is one and all is independent.

    Args:
        y: (contrast, coordinate), what was observed.
        z: (contrast, coordinate, kinship).
        signal: (contrast, coordinate), variances.
        to_languages: (language, coordinate).
    """
    total = 1 + signal
    share = signal / total
    precision = np.einsum("jik,jim,ji->km", z, z, 1 / total, optimize=True)
    effects = np.linalg.inv(precision + np.eye(z.shape[2]) / _KINSHIP**2)
    effect = effects @ np.einsum("jik,ji->k", z, y / total, optimize=True)
    rest = y - z @ effect
    likelihood = -0.5 * (
        np.log(total).sum()
        + (rest**2 / total).sum()
        + effect @ effect / _KINSHIP**2
        - np.linalg.slogdet(effects)[1]
    )
    return _Point(
        likelihood=float(likelihood),
        mean=share * rest + z @ effect,
        variance=share,
        slopes=(1 - share)[:, :, None] * z,
        effects=effects,
        to_languages=to_languages,
    )


def _moments(point: _Point, contrast: Matrix, weights: Matrix) -> tuple[float, float]:
    """Mean and standard deviation of one contrast, in the mean over some languages."""
    inside = weights @ point.to_languages
    slope = np.einsum("j,jik,i->k", contrast, point.slopes, inside)
    variance = contrast**2 @ point.variance @ inside**2 + slope @ point.effects @ slope
    return float(contrast @ point.mean @ inside), float(np.sqrt(variance))


def _mixture(weights: Matrix, means: Matrix, deviations: Matrix) -> Gain:
    """Mean, central 95 % and chance above zero of a mixture of normals."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    def quantile(share: float) -> float:
        ends: Iterable[float] = ndtri(share) * deviations + means
        low, high = min(ends) - 1e-9, max(ends) + 1e-9
        return float(brentq(lambda x: weights @ ndtr((x - means) / deviations) - share, low, high))

    positive = float(weights @ ndtr(means / deviations))
    return Gain(float(weights @ means), quantile(0.025), quantile(0.975), positive)
