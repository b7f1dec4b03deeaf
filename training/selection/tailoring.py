"""What tailoring gains, told apart from what more training gains.

A clade's own prompts are compared, seed by seed and on the clade's languages, with the universal
prompt they started from, with that prompt continued on diverse languages for as many steps, and
with the other clades' prompts. Effects are means over a clade's languages; the overall one is the
mean over clades. Intervals hold prompt seeds and articles, and the overall one's hold clades too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.training.data.articles import articles_of
from isogloss.training.evaluation.predictions import Prediction
from isogloss.training.selection.arms import Tailored, controls_of
from isogloss.training.selection.crossed import Array, Effect, clade_effect, mean_effect
from isogloss.training.selection.evidence import Evidence

Control = Literal["universal", "continued", "mismatched"]
CONTROLS: tuple[Control, ...] = get_args(Control)
FEWEST_VALUES = 3
"""Of alpha, without which nobody can tell a slope from a difference."""


@dataclass(frozen=True, slots=True)
class TailoringRow:
    """One row of tailoring.csv; effects in points of accuracy, intervals 95 %.

    At level `alpha` they are points for one unit of it.
    """

    model: str  # several with commas between them: those that a slope is of
    task: str
    level: Literal["overall", "clade", "alpha"]
    clade: str  # empty where it is the mean of all
    effect: str
    estimate: float
    low: float | None  # None: one seed has no interval
    high: float | None
    sd_between: float | None  # of clades' true effects; None: of one clade
    clades: int
    languages: int
    seeds: int
    articles: int


@dataclass(frozen=True, eq=False)
class Measured:
    """One model's effects over one control, each a clade's and a seed's."""

    effects: Mapping[tuple[str, int], float]  # (clade, seed) -> points
    influence: Mapping[tuple[str, int], Array]  # the same -> (article,)

    def seeds(self, clade: str) -> list[int]:
        """Of a clade, sorted."""
        return sorted(seed for name, seed in self.effects if name == clade)

    @property
    def clades(self) -> list[str]:
        """Sorted."""
        return sorted({clade for clade, _ in self.effects})

    @property
    def common_seeds(self) -> list[int]:
        """That every clade has."""
        return sorted(set.intersection(*(set(self.seeds(clade)) for clade in self.clades)))

    def grid(self, clades: Sequence[str], seeds: Sequence[int]) -> tuple[Array, Array]:
        """Effects (clade, seed) and influence (clade, seed, article)."""
        keys = [[(clade, seed) for seed in seeds] for clade in clades]
        effects = [[self.effects[key] for key in row] for row in keys]
        return np.array(effects), np.array([[self.influence[key] for key in row] for row in keys])


@dataclass(frozen=True, eq=False)
class Tailoring:
    """What one model's evaluations say of tailoring."""

    model: str
    task: str
    sources: Mapping[str, tuple[str, ...]]  # clade -> its languages that were evaluated
    articles: tuple[str, ...]
    measured: Mapping[Control, Measured]  # without those that no clade has
    absent: tuple[str, ...] = field(default=())  # what could not be compared, for people


def measure(evidence: Evidence, rows: Sequence[Prediction], arms: Sequence[Tailored]) -> Tailoring:
    """Compare every tuned prompt with its controls.

    Args:
        evidence: what the arms answered.
        rows: of which it was made.
        arms: tuned prompts, at least one, with their controls.

    Raises:
        InvalidData: none of a clade's languages was evaluated, or no control at all.
    """
    sources = {arm.clade: _evaluated(evidence, arm) for arm in arms}
    place, articles = _articles(rows)
    found: dict[Control, dict[tuple[str, int], Array]] = {name: {} for name in CONTROLS}
    for arm in arms:
        gains = _differences(evidence, arms, arm, sources[arm.clade])
        for name, difference in gains.items():
            kept = evidence.only(sources[arm.clade]).answered
            found[name][arm.clade, arm.seed] = _by_article(difference, kept, place, len(articles))
    measured = {name: _measured(cells) for name, cells in found.items() if cells}
    if not measured:
        raise InvalidData(
            "--evaluations: no control of any tuned prompt was evaluated; evaluate what the tuning "
            "started from, or another clade's prompts, on the same sentences"
        )
    first = rows[0]
    said = tuple(_absent(arms, measured))
    return Tailoring(first.model, first.task, sources, articles, measured, said)


def _evaluated(evidence: Evidence, arm: Tailored) -> tuple[str, ...]:
    codes = tuple(code for code in evidence.languages if code in arm.sources)
    if not codes:
        raise InvalidData(
            f"--evaluations: none of {', '.join(arm.sources)}, the languages of {arm.prompt!r}, "
            "was evaluated; evaluate all arms on them"
        )
    return codes


def _articles(rows: Sequence[Prediction]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(sentence,): the place of each one's article, in the evidence's order; and all articles."""
    gold = {row.index_id: row.gold for row in rows}
    of = articles_of(list(gold), list(gold.values()))
    articles = tuple(sorted(set(of.values())))
    return np.array([articles.index(of[name]) for name in sorted(gold)]), articles


def _differences(
    evidence: Evidence, arms: Sequence[Tailored], arm: Tailored, codes: Sequence[str]
) -> dict[Control, Array]:
    """Own minus each control that there is, (language, sentence), in points."""
    kept = [evidence.languages.index(code) for code in codes]

    def answers(prompts: Sequence[str]) -> Array:
        places = [evidence.prompts.index(prompt) for prompt in prompts]
        right: Array = evidence.correct[np.ix_(places, kept)].mean(axis=0)
        return 100 * right

    controls = controls_of(arms, arm)
    own = answers([arm.prompt])
    return {name: own - answers(controls[name]) for name in CONTROLS if controls[name]}


def _by_article(
    difference: Array, answered: NDArray[np.bool_], place: NDArray[np.int64], articles: int
) -> Array:
    """(1 + article,): the mean of languages' means, and what each article adds to it."""
    counts = answered.sum(axis=1, keepdims=True)
    means = (difference * answered).sum(axis=1, keepdims=True) / counts
    shares = ((difference - means) * answered / counts).mean(axis=0)  # (sentence,)
    return np.array([means.mean(), *np.bincount(place, shares, minlength=articles)])


def _measured(cells: Mapping[tuple[str, int], Array]) -> Measured:
    effects = {key: float(cell[0]) for key, cell in cells.items()}
    return Measured(effects, {key: cell[1:] for key, cell in cells.items()})


def _absent(arms: Sequence[Tailored], measured: Mapping[Control, Measured]) -> list[str]:
    """What a person would look for in vain, and why."""
    why = {
        "universal": "the prompt that it started from is not in the evaluations",
        "continued": "none in --prompts and the evaluations started from the same prompt with the "
        "same seed, on diverse languages, for {steps} steps of the same batch and rate",
        "mismatched": "no other clade's prompt of the same seed was evaluated",
    }
    said = []
    for name in CONTROLS:
        there = measured[name].effects if name in measured else {}
        lacking = [arm for arm in arms if (arm.clade, arm.seed) not in there]
        said += [
            f"{arm.prompt}: no {name} control: {why[name].format(steps=arm.steps)}"
            for arm in lacking
        ]
        if there and not (common := measured[name].common_seeds):
            said.append(f"own - {name}: no seed is in all clades, so there is no overall effect")
        elif there and len(common) < 2:
            said.append(f"own - {name}: one seed in all clades, so the mean has no interval")
    return said


def tailoring_rows(tailoring: Tailoring) -> list[TailoringRow]:
    """Overall and by clade, one effect after the other."""
    rows = []
    for name, measured in tailoring.measured.items():
        clades, seeds = measured.clades, measured.common_seeds
        if seeds:
            effect = mean_effect(*measured.grid(clades, seeds))
            rows.append(_row(tailoring, "overall", "", name, effect, clades, len(seeds)))
        for clade in clades:
            own = measured.seeds(clade)
            effects, influence = measured.grid([clade], own)
            effect = clade_effect(effects[0], influence[0])
            rows.append(_row(tailoring, "clade", clade, name, effect, [clade], len(own)))
    return rows


def slope_rows(
    tailorings: Sequence[Tailoring], alpha: Mapping[str, float]
) -> tuple[list[TailoringRow], str | None]:
    """How effects grow with a number that each model has; or why nobody can tell.

    A clade's and a seed's slope is one least-squares line over the models; their mean is judged as
    effects are. The interval holds clades, seeds and articles, of these very models: what another
    model with the same number would do is not in it.
    """
    known = [each for each in tailorings if each.model in alpha]
    if len({alpha[each.model] for each in known}) < FEWEST_VALUES:
        return [], (
            f"how effects grow with alpha cannot be told from fewer than {FEWEST_VALUES} models "
            "that differ in it; evaluate more, and give each --alpha MODEL=VALUE"
        )
    if len({(each.articles, each.task) for each in known}) > 1:
        return [], "how effects grow with alpha cannot be told: models answered different sentences"
    values = np.array([alpha[each.model] for each in known])
    weights = (values - values.mean()) / ((values - values.mean()) ** 2).sum()
    shared = [name for name in CONTROLS if all(name in each.measured for each in known)]
    rows = [row for name in shared if (row := _slope(known, name, weights)) is not None]
    return rows, None if rows else "no clade and seed has an effect in every model"


def _slope(known: Sequence[Tailoring], control: Control, weights: Array) -> TailoringRow | None:
    of_model = [each.measured[control] for each in known]
    clades = sorted(set.intersection(*(set(each.clades) for each in of_model)))
    seeds = sorted(
        set.intersection(*(set(each.seeds(clade)) for each in of_model for clade in clades))
        if clades
        else set()
    )
    if not seeds:
        return None
    grids = [each.grid(clades, seeds) for each in of_model]
    effects, influence = (np.tensordot(weights, [grid[n] for grid in grids], 1) for n in (0, 1))
    together = Tailoring(
        ", ".join(each.model for each in known),
        known[0].task,
        known[0].sources,
        known[0].articles,
        {},
    )
    effect = mean_effect(effects, influence)
    return _row(together, "alpha", "", control, effect, clades, len(seeds))


def _row(
    tailoring: Tailoring,
    level: Literal["overall", "clade", "alpha"],
    clade: str,
    control: Control,
    effect: Effect,
    clades: Sequence[str],
    seeds: int,
) -> TailoringRow:
    return TailoringRow(
        model=tailoring.model,
        task=tailoring.task,
        level=level,
        clade=clade,
        effect=f"own - {control}",
        estimate=round(effect.estimate, 3),
        low=_rounded(effect.low),
        high=_rounded(effect.high),
        sd_between=_rounded(effect.sd_between),
        clades=len(clades),
        languages=len({code for name in clades for code in tailoring.sources[name]}),
        seeds=seeds,
        articles=len(tailoring.articles),
    )


def _rounded(bound: float | None) -> float | None:
    return None if bound is None else round(bound, 3)
