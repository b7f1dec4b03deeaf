"""Simulated evidence whose truth is known: candidates that answer sentences by drawn luck.

The luck has parts that a real evaluation has: a sentence is hard in every language, or in one; and
candidates of one setting stumble over the same sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from isogloss.training.data.clades import branching_clades
from isogloss.training.selection.evidence import Evidence, Origin

# Five families of six languages, two branches of three in each.
LINEAGES: Mapping[str, tuple[str, ...]] = {
    f"{family}{branch}{n}": (f"Family-{family}", f"Branch-{family}{branch}")
    for family in "abcde"
    for branch in "xy"
    for n in range(3)
}


@dataclass(frozen=True, eq=False)
class World:
    """Evidence, and the true accuracies (candidate, language) behind it."""

    evidence: Evidence
    truth: NDArray[np.float64]

    def gain(self, routes: Mapping[str, str], universal: str) -> float:
        """True mean gain over languages of routes over the universal prompt."""
        names = self.evidence.prompts
        own = self.truth[names.index(universal)]
        chosen = [_answering(line, routes, universal) for line in self.evidence.lineages.values()]
        routed = [self.truth[names.index(name), n] for n, name in enumerate(chosen)]
        return float((np.array(routed) - own).mean())

    def attainable(self, universal: str) -> float:
        """What routes of families and branches could gain at most."""
        names, codes = self.evidence.prompts, self.evidence.languages
        leaves = branching_clades(self.evidence.lineages).values()
        best = self.truth[names.index(universal)].copy()
        for members in sorted(leaves, key=len, reverse=True):
            places = [codes.index(code) for code in members]
            best[places] = self.truth[self.truth[:, places].mean(axis=1).argmax()][places]
        return float((best - self.truth[names.index(universal)]).mean())


def _answering(lineage: Sequence[str], routes: Mapping[str, str], universal: str) -> str:
    return next((routes[clade] for clade in reversed(lineage) if clade in routes), universal)


def world(
    seed: int,
    *,
    everywhere: float = 0.0,
    kin: float = 0.0,
    family: float = 0.0,
    sentences: int = 99,
) -> World:
    """Sixteen candidates: three seeds trained on each family, and one trained on nothing known.

    Args:
        seed: of all luck.
        everywhere: standard deviation of how good a setting is in all languages.
        kin: what a candidate gains in the languages it was trained on.
        family: standard deviation of what is peculiar to a setting in a family.
        sentences: how many each language has; the same ones.
    """
    luck = np.random.default_rng(seed)
    codes = list(LINEAGES)
    settings = [*(family_ for family_ in "abcde" for _ in range(3)), "z"]
    names = [f"{setting}-seed{n % 3}" for n, setting in enumerate(settings)]
    place = np.array(["abcdez".index(setting) for setting in settings])
    truth = np.repeat(luck.normal(0.55, 0.05, (1, len(codes))), len(names), axis=0)
    truth += everywhere * luck.normal(size=(6, 1))[place]
    truth += kin * np.array([[code[0] == own for code in codes] for own in settings])
    truth += family * np.repeat(luck.normal(size=(6, 5))[place], 6, axis=1)
    shape = (len(names), len(codes), sentences)
    hard = luck.normal(size=(1, 1, sentences)) + luck.normal(size=(1, *shape[1:]))
    stumbles = luck.normal(size=(6, 1, sentences)) * 0.6 + luck.normal(size=(6, *shape[1:])) * 0.9
    hardness = (hard + stumbles[place] + 0.9 * luck.normal(size=shape)) / np.sqrt(2 + 0.36 + 1.62)
    leads = ndtri(np.clip(truth, 0.02, 0.98))[:, :, None] - hardness
    origins = {
        name: Origin(frozenset(code for code in codes if code[0] == own))
        for name, own in zip(names, settings, strict=True)
    }
    answered = np.ones(shape[1:], dtype=np.bool_)
    return World(Evidence(tuple(names), LINEAGES, leads > 0, answered, leads, origins), truth)
