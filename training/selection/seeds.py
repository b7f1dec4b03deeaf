"""What a route table's settings gain, whichever seed of theirs is taken: articles and seeds drawn.

`gains` tells what these very prompts gain on other sentences. A reader who asks whether tailoring
in this way helps must allow for the seed too: another run of the same settings makes another
prompt. Here each language gets the mean of all evaluated seeds of its prompt's setting, and the
bootstrap draws articles and, in every setting, seeds; one seed fewer than there are, with
replacement, since drawing all of them would understate how much few seeds vary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Matrix, drawn_articles, groups_of, place

_SEED_SUFFIX = re.compile(r"-seed[0-9]+$")
_LUCK = 1


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One row of gains_seeds.csv; gains in points of accuracy, intervals 95 %."""

    model: str
    task: str
    level: Literal["overall", "clade", "language"]
    name: str
    languages: int
    moved: int
    seeds: int  # of the setting that has the fewest
    gain_points: float  # mean over seeds
    low: float
    high: float


def settings_of(prompts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Each evaluated prompt's setting: the places of all whose names differ in `-seed<N>` alone."""
    settings: dict[str, list[int]] = {}
    for index, name in enumerate(prompts):
        settings.setdefault(_SEED_SUFFIX.sub("", name), []).append(index)
    return {name: tuple(settings[_SEED_SUFFIX.sub("", name)]) for name in prompts}


def seed_gains(
    evidence: Evidence, ours: Mapping[str, str], other: Mapping[str, str], of: tuple[str, str]
) -> list[SeedRow]:
    """Gains of settings over settings; none where some setting has one evaluated seed only.

    Raises:
        InvalidData: a prompt was not evaluated.
    """
    settings = settings_of(evidence.prompts)
    arms = [
        [settings[evidence.prompts[place(evidence, arm[code])]] for code in evidence.languages]
        for arm in (ours, other)
    ]
    distinct = sorted({setting for arm in arms for setting in arm})
    if min(map(len, distinct)) < 2:
        return []
    accuracies, drawn = _accuracies(evidence)
    weights, drawn_weights = _seed_weights(distinct, len(evidence.prompts))
    means = _gains(accuracies[None], weights[None], arms, distinct)[0]
    draws = _gains(drawn, drawn_weights, arms, distinct)
    rows = []
    for group in groups_of(evidence):
        shares = evidence.weights(group.codes)
        low, high = np.quantile(draws @ shares, (0.025, 0.975))
        inside = [n for n, code in enumerate(evidence.languages) if code in group.codes]
        rows.append(
            SeedRow(
                *of,
                group.level,
                group.name,
                len(inside),
                sum(arms[0][n] != arms[1][n] for n in inside),
                min(len(arm[n]) for arm in arms for n in inside),
                *(round(100 * float(value), 3) for value in (means @ shares, low, high)),
            )
        )
    return rows


def _accuracies(evidence: Evidence) -> tuple[Matrix, Matrix]:
    """(prompt, language) as measured, and (draw, prompt, language) with articles drawn."""
    counts = drawn_articles(evidence.membership.shape[1])
    right = (evidence.correct & evidence.answered) @ evidence.membership  # (p, language, article)
    sizes = np.maximum(counts @ (evidence.answered @ evidence.membership).T, 1)
    drawn = np.tensordot(counts, right, axes=(1, 2)) / sizes[:, None, :]
    return evidence.accuracy, drawn


def _seed_weights(settings: Sequence[tuple[int, ...]], prompts: int) -> tuple[Matrix, Matrix]:
    """(prompt, setting), a mean over seeds; and (draw, prompt, setting) with seeds drawn."""
    luck = np.random.default_rng(_LUCK)
    draws = len(drawn_articles(1))
    even = np.zeros((prompts, len(settings)))
    drawn = np.zeros((draws, prompts, len(settings)))
    for column, seeds in enumerate(settings):
        chance = np.full(len(seeds), 1 / len(seeds))
        even[list(seeds), column] = chance
        taken = luck.multinomial(len(seeds) - 1, chance, size=draws)
        drawn[:, list(seeds), column] = taken / (len(seeds) - 1)
    return even, drawn


def _gains(
    accuracies: Matrix,
    weights: Matrix,
    arms: Sequence[Sequence[tuple[int, ...]]],
    settings: Sequence[tuple[int, ...]],
) -> Matrix:
    """(draw, language): the first arm's setting minus the second's."""
    of_settings = np.einsum("dpl,dps->dls", accuracies, weights, optimize=True)
    ours, other = (np.array([settings.index(setting) for setting in arm]) for arm in arms)
    languages: NDArray[np.int64] = np.arange(len(ours))
    gains: Matrix = of_settings[:, languages, ours] - of_settings[:, languages, other]
    return gains
