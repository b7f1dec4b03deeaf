"""Why routes gain or not: what a clade's own labels do at home and elsewhere, lengths and kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isogloss.prompts.format.ensemble import Ensemble
from isogloss.training.recipes.ladder.comparisons import Measured, Point, points
from isogloss.training.recipes.ladder.pooling import Paired, by_text, intervals, pooled
from isogloss.training.recipes.ladder.ways import EVERYWHERE, PAPERS, candidates_of
from isogloss.training.selection.gains import Group, Matrix

HOME, ELSEWHERE, PECULIAR, OWN = (
    "a clade's prompt at home, over the one it started from",
    "the same prompts elsewhere",
    "home minus elsewhere",
    "each clade's own prompt, over the best single prompt",
)
RESIDUAL, LENGTH, DIVERSE_RESIDUAL = (
    "reparameterized over plain, English 8 shots",
    "8 prompt tokens over 4, English 8 shots",
    "reparameterized over plain, labels in 12 languages",
)


@dataclass(frozen=True, slots=True)
class EffectRecord:
    """One row of effects.csv: a paired difference on test, points with 95 % interval."""

    architecture: str
    alpha: float
    which: str
    seeds: int
    effect: str
    level: str
    name: str
    languages: int
    points: float
    low: float
    high: float


def effect_records(measured: Sequence[Measured]) -> list[EffectRecord]:
    """Every effect at every point, in all languages it is about and by pretraining text.

    Of the rungs whose candidates test has read all.
    """
    read = [each for each in measured if set(each.rung.prompts) <= set(each.test.prompts)]
    return [
        record
        for point, together in points(read)
        for effect, paired_of in EFFECTS.items()
        for record in _records(point, together, effect, paired_of)
    ]


PairedOf = Callable[[Measured], tuple[Paired, tuple[str, ...]]]


def _records(
    point: Point, together: Sequence[Measured], effect: str, paired_of: PairedOf
) -> Iterator[EffectRecord]:
    found = [paired_of(each) for each in together]
    codes = found[0][1]
    if not codes or any(other != codes for _, other in found):
        return  # no such candidates, or pooled rungs differ in what they had
    paired = pooled([each for each, _ in found])
    groups = [Group("overall", "all languages", codes)]
    groups += by_text(codes, together[0].rung.known)
    for group, value in zip(groups, intervals(paired, groups), strict=True):
        of = (point.architecture, point.alpha, point.which, point.seeds, effect)
        size = len(group.codes)
        yield EffectRecord(*of, group.level, group.name, size, value.points, value.low, value.high)


def _mean(measured: Measured, names: Sequence[str]) -> Matrix:
    """(language, sentence): mean of right answers of these prompts."""
    test = measured.test
    places = [test.prompts.index(name) for name in names]
    mean: Matrix = (test.correct[places] * test.answered).mean(axis=0)
    return mean


def _paired(measured: Measured, ours: Matrix, other: Matrix) -> Paired:
    return Paired(measured.test, ours, other, np.ones(len(ours)))


def _own(measured: Measured) -> dict[str, tuple[str, str]]:
    """Language -> the prompt tuned on its clade's labels, and the prompt that it started from."""
    names = {prompt.digest: name for name, prompt in measured.rung.prompts.items()}
    first = measured.rung.facts["first"]
    found: dict[str, tuple[str, str]] = {}
    for name in measured.test.prompts:
        origin = measured.test.origin(name)
        started = [names[digest] for digest in origin.parents if digest in names]
        if origin.tailored and started and origin.sources != {first}:
            found |= dict.fromkeys(sorted(origin.sources), (name, started[0]))
    return found


def _home(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    own = _own(measured)
    return _by_language(measured, own, lambda code: [own[code][0]])


def _elsewhere(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    own = _own(measured)
    tuned = sorted({name for name, _ in own.values()})
    return _by_language(measured, own, lambda code: [n for n in tuned if n != own[code][0]])


def _by_language(
    measured: Measured,
    own: dict[str, tuple[str, str]],
    ours: Callable[[str], Sequence[str]],
) -> tuple[Paired, tuple[str, ...]]:
    codes = tuple(code for code in measured.test.languages if code in own)
    answers = [np.zeros(measured.test.answered.shape) for _ in range(2)]
    for code in codes:
        row = measured.test.languages.index(code)
        answers[0][row] = _mean(measured, ours(code))[row]
        answers[1][row] = _mean(measured, [own[code][1]])[row]
    return _paired(measured, *answers), codes


def _peculiar(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    (home, codes), (elsewhere, _) = _home(measured), _elsewhere(measured)
    return _paired(measured, home.ours, elsewhere.ours), codes


def _own_over_single(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    home, codes = _home(measured)
    single = _mean(measured, [measured.chosen[EVERYWHERE].single])
    return _paired(measured, home.ours, single), codes


def _kinds(measured: Measured, kind: str, lengths: Sequence[int]) -> list[str]:
    """English 8-shot prompts of one kind and of these lengths, all seeds."""
    prompts = measured.rung.prompts
    few = candidates_of(measured.rung, PAPERS)
    return [n for n in few if prompts[n].card.kind == kind and prompts[n].length in lengths]


def _reparameterized(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    arms = (_kinds(measured, kind, (4, 8)) for kind in ("residual", "plain"))
    return _contrast(measured, *arms)


def _longer(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    arms = (
        [*_kinds(measured, "plain", (length,)), *_kinds(measured, "residual", (length,))]
        for length in (8, 4)
    )
    return _contrast(measured, *arms)


def _diverse(measured: Measured) -> tuple[Paired, tuple[str, ...]]:
    arms: dict[str, list[str]] = {"residual": [], "plain": []}
    for name, prompt in measured.rung.prompts.items():
        if not isinstance(prompt, Ensemble) and prompt.card.training.get("way") == "diverse":
            arms[prompt.card.kind].append(name)
    return _contrast(measured, arms["residual"], arms["plain"])


def _contrast(
    measured: Measured, ours: Sequence[str], other: Sequence[str]
) -> tuple[Paired, tuple[str, ...]]:
    if not (ours and other):
        nothing = np.zeros(measured.test.answered.shape)
        return _paired(measured, nothing, nothing), ()
    arms = (_mean(measured, ours), _mean(measured, other))
    return _paired(measured, *arms), measured.test.languages


EFFECTS: dict[str, PairedOf] = {
    HOME: _home,
    ELSEWHERE: _elsewhere,
    PECULIAR: _peculiar,
    OWN: _own_over_single,
    RESIDUAL: _reparameterized,
    LENGTH: _longer,
    DIVERSE_RESIDUAL: _diverse,
}
