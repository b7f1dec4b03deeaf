"""Simulated evidence whose truth is known: candidates that answer sentences by drawn luck.

The luck has parts that a real evaluation has: a sentence is hard in every language, or in one;
neighbouring sentences of an article are hard together; and candidates of one setting stumble over
the same sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from isogloss.training.data.clades import branching_clades
from isogloss.training.selection.evidence import Evidence, Origin

Matrix = NDArray[np.float64]
Tree = Mapping[str, Sequence[str]]
LEVEL, LEVELS = 0.55, 0.05  # a language's accuracy: mean and standard deviation over languages
# Variances of hardness, one in all; of all but the last, an article's sentences share a third.
_EVERYWHERE, _HERE, _SETTING, _SETTING_HERE, _ALONE = 0.25, 0.25, 0.09, 0.2, 0.21
_BY_ARTICLE = 1 / 3
_ARTICLE_SIZES = (0.7, 0.2, 0.1)  # shares of articles with 1, 2 and 3 sentences


@dataclass(frozen=True, slots=True)
class Kind:
    """What is true in a world. Standard deviations, of accuracy where nothing else is said."""

    name: str
    everywhere: float = 0.0  # of how good a setting is in all languages
    seed: float = 0.0  # of how good a seed of a setting is in all languages
    kin: float = 0.0  # what a candidate gains in the family it was trained on
    family: float = 0.0  # of what is peculiar to a setting in a family
    language: float = 0.0  # of what is peculiar to a setting in a language
    apart: float = 0.0  # share of the two's variances that is each seed's own
    confidence: float = 0.0  # of the logarithm of how clearly a setting answers in a family


KINDS = (
    Kind("no difference"),
    Kind("alike", everywhere=0.03, seed=0.01),
    Kind("trained", everywhere=0.01, seed=0.01, kin=0.05),
    Kind("random", everywhere=0.01, seed=0.01, family=0.03, apart=0.25),
    Kind("random seeds", everywhere=0.01, seed=0.01, family=0.03, apart=1.0),
    Kind("languages", everywhere=0.01, seed=0.01, family=0.02, language=0.02, apart=0.25),
    Kind("confidence", confidence=0.4),
    Kind("confidence, alike", everywhere=0.02, seed=0.01, confidence=0.4),
    Kind("confidence, random", everywhere=0.01, seed=0.01, family=0.02, confidence=0.4),
)
"""Worlds that a user may live in without knowing which."""

FAMILIES: Tree = {
    f"{family}{branch}{n}": (f"Family-{family}", f"Branch-{family}{branch}")
    for family in "abcde"
    for branch in "xy"
    for n in range(3)
}
"""A small tree: five families of six languages, two branches of three in each."""


@dataclass(frozen=True, eq=False)
class World:
    """Evidence, and the true accuracies (candidate, language) behind it."""

    evidence: Evidence
    truth: Matrix

    def gain(self, routes: Mapping[str, str], universal: str) -> float:
        """True mean gain over languages of routes over the universal prompt."""
        names = self.evidence.prompts
        alone = self.truth[names.index(universal)]
        chosen = [_answering(line, routes, universal) for line in self.evidence.lineages.values()]
        routed = [self.truth[names.index(name), n] for n, name in enumerate(chosen)]
        return float((np.array(routed) - alone).mean())

    def gain_in(self, ours: str, other: str, codes: Sequence[str]) -> float:
        """True gain of one candidate over another, in the mean over some languages."""
        names = self.evidence.prompts
        difference = self.truth[names.index(ours)] - self.truth[names.index(other)]
        return float(difference @ self.evidence.weights(codes))

    def attainable(self, universal: str) -> float:
        """What routes could gain at most, were the truth known."""
        names, codes = self.evidence.prompts, self.evidence.languages
        leaves = branching_clades(self.evidence.lineages, 1).values()
        best = self.truth[names.index(universal)].copy()
        for members in sorted(leaves, key=len, reverse=True):
            at = [codes.index(code) for code in members]
            best[at] = self.truth[self.truth[:, at].mean(axis=1).argmax()][at]
        return float((best - self.truth[names.index(universal)]).mean())


def _answering(lineage: Sequence[str], routes: Mapping[str, str], universal: str) -> str:
    return next((routes[clade] for clade in reversed(lineage) if clade in routes), universal)


@dataclass(frozen=True, eq=False)
class _Cast:
    """Who answers in which language: seeds of settings, each trained on one family or none."""

    tree: Tree
    families: tuple[str, ...]  # of each language
    sources: tuple[str, ...]  # family of each setting, the last without one
    settings: NDArray[np.int64]  # of each candidate

    @classmethod
    def of(cls, tree: Tree, seeds: int) -> Self:
        """One setting for each family of two languages or more."""
        families = tuple(line[0] if line else code for code, line in tree.items())
        sources = (*(f for f in dict.fromkeys(families) if families.count(f) > 1), "")
        return cls(
            tree, families, sources, np.repeat(np.arange(len(sources), dtype=np.int64), seeds)
        )

    def origins(self) -> dict[str, Origin]:
        """Every candidate's name, and what it was trained on."""
        origins = {}
        for number, setting in enumerate(self.settings):
            seed = number - int(np.argmax(self.settings == setting))
            trained = zip(self.tree, self.families, strict=True)
            sources = frozenset(c for c, family in trained if family == self.sources[setting])
            origins[f"{ascii_lowercase[setting]}-seed{seed}"] = Origin(sources)
        return origins

    @property
    def family_numbers(self) -> list[int]:
        """Of each language."""
        return [sorted(set(self.families)).index(family) for family in self.families]

    def drawn(self, luck: np.random.Generator, columns: int, apart: float) -> Matrix:
        """(candidate, column): normal; this share of the variance is each seed's own."""
        together = luck.normal(size=(len(self.sources), columns))[self.settings]
        alone = luck.normal(size=(len(self.settings), columns))
        drawn: Matrix = np.sqrt(1 - apart) * together + np.sqrt(apart) * alone
        return drawn

    def by_family(self, luck: np.random.Generator, apart: float) -> Matrix:
        """(candidate, language): a normal number for each candidate and family."""
        return self.drawn(luck, len(set(self.families)), apart)[:, self.family_numbers]


def world(
    seed: int, kind: Kind, *, tree: Tree = FAMILIES, sentences: int = 99, seeds: int = 3
) -> World:
    """Draw a world: some seeds of each setting, and what they answer.

    Args:
        seed: of all luck.
        kind: what is true.
        tree: language -> clades, root first.
        sentences: how many each language has; the same ones.
        seeds: of each setting.
    """
    luck = np.random.default_rng(seed)
    cast = _Cast.of(tree, seeds)
    articles = _articles(luck, sentences)
    truth = _truth(luck, kind, cast)
    leads = ndtri(np.clip(truth, 0.02, 0.98))[:, :, None] - _hardness(luck, cast, articles)
    leads *= np.exp(kind.confidence * cast.by_family(luck, 0.0))[:, :, None]
    origins = cast.origins()
    answered = np.ones((len(tree), sentences), dtype=np.bool_)
    evidence = Evidence(tuple(origins), tree, leads > 0, answered, leads, origins, articles)
    return World(evidence, truth)


def _truth(luck: np.random.Generator, kind: Kind, cast: _Cast) -> Matrix:
    """(candidate, language): true accuracies."""
    kin = np.array([[source == family for family in cast.families] for source in cast.sources])
    languages = len(cast.tree)
    truth: Matrix = (
        luck.normal(LEVEL, LEVELS, (1, languages))
        + kind.everywhere * cast.drawn(luck, 1, 0.0)
        + kind.seed * cast.drawn(luck, 1, 1.0)
        + kind.kin * kin[cast.settings]
        + kind.family * cast.by_family(luck, kind.apart)
        + kind.language * cast.drawn(luck, languages, kind.apart)
    )
    return truth


def _articles(luck: np.random.Generator, sentences: int) -> NDArray[np.int64]:
    """(sentence,): the article each is of; neighbours share one."""
    sizes = luck.choice(len(_ARTICLE_SIZES), size=sentences, p=_ARTICLE_SIZES) + 1
    return np.repeat(np.arange(sentences, dtype=np.int64), sizes)[:sentences]


def _hardness(luck: np.random.Generator, cast: _Cast, articles: NDArray[np.int64]) -> Matrix:
    """(candidate, language, sentence): of variance one. Who is to answer must be better than it."""
    shape = (len(cast.settings), len(cast.tree), len(articles))
    settings = len(cast.sources)

    def part(variance: float, *rows: int) -> Matrix:
        lone = luck.normal(size=(*rows, len(articles)))
        together = luck.normal(size=(*rows, articles.max() + 1))[..., articles]
        mixed = np.sqrt(1 - _BY_ARTICLE) * lone + np.sqrt(_BY_ARTICLE) * together
        drawn: Matrix = np.sqrt(variance) * mixed
        return drawn

    hard = part(_EVERYWHERE, 1, 1) + part(_HERE, 1, shape[1])
    stumbles = part(_SETTING, settings, 1) + part(_SETTING_HERE, settings, shape[1])
    hardness: Matrix = hard + stumbles[cast.settings] + np.sqrt(_ALONE) * luck.normal(size=shape)
    return hardness
