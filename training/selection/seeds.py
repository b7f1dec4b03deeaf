"""What a route table's settings gain, whichever seed of theirs is taken: articles and seeds drawn.

`gains` tells what these very prompts gain on other sentences. A reader who asks whether tailoring
in this way helps must allow for the seed too: another run of the same settings makes another
prompt. Here each language gets the mean of all evaluated seeds of its prompt's setting, and the
bootstrap draws articles and, in every setting, seeds; one seed fewer than there are, with
replacement, since drawing all of them would understate how much few seeds vary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Level, Matrix, drawn_articles, groups_of, place

_SEED_SUFFIX = re.compile(r"-seed[0-9]+$")
_LUCK = 1


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One row of gains_seeds.csv; gains in points of accuracy, intervals 95 %."""

    model: str
    task: str
    level: Level
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
    drawn, drawn_weights = _drawn_accuracies(evidence, distinct), _drawn_weights(distinct)
    seeds = [list(setting) for setting in distinct]
    accuracies = np.array([evidence.accuracy[places].mean(axis=0) for places in seeds])
    means = _gains(accuracies[None], arms, distinct)[0]
    of_settings = [
        np.einsum("dpl,dp->dl", of_seeds, weights)
        for of_seeds, weights in zip(drawn, drawn_weights, strict=True)
    ]
    draws = _gains(np.stack(of_settings, axis=1), arms, distinct)
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


def _drawn_accuracies(evidence: Evidence, settings: Sequence[tuple[int, ...]]) -> Iterator[Matrix]:
    """For each setting (draw, seed, language), with articles drawn; the same ones for all."""
    membership = evidence.membership
    counts = drawn_articles(membership.shape[1])
    sizes = np.maximum(counts @ (evidence.answered @ membership).T, 1)[:, None, :]
    for seeds in settings:
        right = (evidence.correct[list(seeds)] * evidence.answered) @ membership
        yield np.tensordot(counts, right, axes=(1, 2)) / sizes


def _drawn_weights(settings: Sequence[tuple[int, ...]]) -> Iterator[Matrix]:
    """For each setting (draw, seed): how much each seed counts where one fewer are drawn."""
    luck = np.random.default_rng(_LUCK)
    draws = len(drawn_articles(1))
    for seeds in settings:
        taken = luck.multinomial(len(seeds) - 1, [1 / len(seeds)] * len(seeds), size=draws)
        yield taken / (len(seeds) - 1)


def _gains(
    accuracies: Matrix,
    arms: Sequence[Sequence[tuple[int, ...]]],
    settings: Sequence[tuple[int, ...]],
) -> Matrix:
    """(draw, language), the first arm's minus the second's, from (draw, setting, language)."""
    ours, other = ([settings.index(setting) for setting in arm] for arm in arms)
    languages = list(range(len(ours)))
    gains: Matrix = accuracies[:, ours, languages] - accuracies[:, other, languages]
    return gains
