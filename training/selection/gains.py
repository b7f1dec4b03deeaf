"""What routes gain over the best single prompt, on sentences that nothing was chosen on.

Both arms answer the same sentences, so gains are paired. Articles are drawn, with their sentences
and translations, so they are what the bootstrap resamples (`_DRAWS` times, the same ones always). A
clade's gain, and the overall one, is the mean of its languages' gains. What other seeds of the same
settings would have gained is told by `seeds`.

Of many clades some look worse by chance. `low_together` and `high_together` bound all clades'
gains at once, 95 times in 100 (the bootstrap's largest deviation over clades, each in units of its
standard error), and only a clade whose `high_together` is below zero is called significantly worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.routing.routes import RouteTable
from isogloss.training.data.clades import branching_clades, name_of
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.served import evaluated_name

Matrix = NDArray[np.float64]
Level = Literal["overall", "clade", "amount", "language"]
"""What a group is: all languages, a clade's, those of alike pretraining, or one."""
_DRAWS = 4000
_SEED = 0


@dataclass(frozen=True, slots=True)
class GainRow:
    """One row of gains_*.csv; gains in points of accuracy, intervals 95 %."""

    model: str
    task: str
    level: Level
    name: str
    code: str  # of a language, else empty
    languages: int
    moved: int  # of them, those that do not get the universal prompt
    sentences: int
    prompts: str  # of the languages, those that are not the universal one
    over: str  # the prompt that is compared with: "universal", or a name
    universal_percent: float
    routed_percent: float
    gain_points: float
    low: float
    high: float
    low_together: float
    high_together: float


@dataclass(frozen=True, slots=True)
class Group:
    """Languages whose mean gain is reported together."""

    level: Level
    name: str
    codes: tuple[str, ...]


def routed_gains(
    evidence: Evidence,
    table: RouteTable,
    stored: Mapping[str, str],
    evaluated: Mapping[str, str],
    baselines: Sequence[str] = (),
    served: Mapping[str, str] | None = None,
) -> list[GainRow]:
    """Gains of a table's routes over its universal prompt: overall, by clade, by language.

    And over each baseline in turn, in all languages. The universal prompt and the baselines answer
    as they are; routes answer as they are served, their priors taken off.

    Args:
        evidence: what prompts answered.
        table: the routes.
        stored: digest of each prompt that the table names.
        evaluated: digest of each prompt in the evidence.
        baselines: other prompts to compare with, as they were evaluated.
        served: language -> what answers it, where that is not just the route's prompt.

    Raises:
        InvalidData: a prompt of the table was not evaluated, or another one under its name.
    """
    chosen = {c: table.route(line).reference for c, line in evidence.lineages.items()}
    for reference in sorted({table.universal, *chosen.values()}):
        name = evidence.prompts[place(evidence, reference)]
        if evaluated[name] != stored[reference]:
            raise InvalidData(
                f"prompt {reference!r} of the route table is {stored[reference]}, and what was "
                f"evaluated as {name!r} is {evaluated[name]}; evaluate the store's own prompts"
            )
    of = (table.model.id, table.task)
    chosen = {**chosen, **(served or {})}
    rows = compare(evidence, chosen, dict.fromkeys(chosen, table.universal), of)
    for name in baselines:
        rows += compare(evidence, chosen, dict.fromkeys(chosen, name), of, name)
    return rows


def compare(
    evidence: Evidence,
    ours: Mapping[str, str],
    other: Mapping[str, str],
    of: tuple[str, str],
    over: str = "universal",
) -> list[GainRow]:
    """Gains of one prompt a language (`ours`) over another (`other`, which is called `over`).

    Raises:
        InvalidData: a prompt was not evaluated.
    """
    answered = evidence.answered
    single_answers, routed_answers = answers(evidence, other), answers(evidence, ours)
    groups = groups_of(evidence)
    weights = np.array([evidence.weights(group.codes) for group in groups])  # (group, language)
    estimates, draws = resample(
        routed_answers - single_answers, answered, weights, evidence.membership
    )
    ends = bounds(estimates, draws, [group.level for group in groups])
    single, routed = (
        weights @ (a.sum(1) / answered.sum(1)) for a in (single_answers, routed_answers)
    )
    return [
        GainRow(
            *of,
            group.level,
            name_of(group.codes[0]) if group.level == "language" else group.name,
            group.codes[0] if group.level == "language" else "",
            len(group.codes),
            sum(ours[code] != other[code] for code in group.codes),
            evidence.sentences(group.codes),
            " ".join(sorted({ours[c] for c in group.codes if ours[c] != other[c]})),
            over,
            *(round(100 * float(value), 3) for value in (single[n], routed[n], estimates[n])),
            *(round(100 * float(value), 3) for value in ends[n]),
        )
        for n, group in enumerate(groups)
    ]


def groups_of(evidence: Evidence) -> list[Group]:
    """All languages; every clade that tells some of them apart, parents first; every language."""
    codes = evidence.languages
    clades = branching_clades(evidence.lineages, min_languages=1)
    return [
        Group("overall", "all languages", codes),
        *(Group("clade", clade, members) for clade, members in clades.items()),
        *(Group("language", code, (code,)) for code in codes),
    ]


def answers(evidence: Evidence, prompts: Mapping[str, str]) -> Matrix:
    """(language, sentence): 1 where a language's prompt is right; 0 where there is no sentence.

    Raises:
        InvalidData: a prompt was not evaluated.
    """
    indices = [place(evidence, prompts[code]) for code in evidence.languages]
    right = evidence.correct[indices, np.arange(len(indices))] * evidence.answered
    return right.astype(np.float64)


def place(evidence: Evidence, reference: str) -> int:
    """Where among the evidence's prompts a reference stands, with or without its version.

    Raises:
        InvalidData: it was not evaluated.
    """
    name = evaluated_name(reference, evidence.prompts)
    if name in evidence.prompts:
        return evidence.prompts.index(name)
    raise InvalidData(
        f"prompt {reference!r} of the route table or --baseline is not in these evaluations; "
        "evaluate it with --prompts on the test split, and name the files all together"
    )


def resample(
    differences: Matrix, answered: NDArray[np.bool_], weights: Matrix, membership: Matrix
) -> tuple[Matrix, Matrix]:
    """Means of languages' means, (group,), and the same of resampled articles, (draw, group)."""
    counts = drawn_articles(membership.shape[1])
    sums = counts @ (differences @ membership).T  # (draw, language)
    sizes = counts @ (answered @ membership).T
    drawn = sums / np.maximum(sizes, 1)  # a language without a drawn sentence gains nothing
    means = differences.sum(axis=1) / answered.sum(axis=1)
    return weights @ means, drawn @ weights.T


def drawn_articles(articles: int) -> Matrix:
    """(draw, article): how often each is drawn, as many at a time as there are."""
    luck = np.random.default_rng(_SEED)
    counts = luck.multinomial(articles, np.full(articles, 1 / articles), size=_DRAWS)
    return counts.astype(np.float64)


def bounds(estimates: Matrix, draws: Matrix, levels: Sequence[str]) -> Matrix:
    """(group, 4): the bootstrap's central 95 %; and bounds that hold for a level all at once."""
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    errors = draws.std(axis=0)
    reach = np.zeros(len(estimates))
    for level in set(levels):
        chosen = np.array([level == each for each in levels]) & (errors > 0)
        if chosen.any():
            deviations = np.abs(draws[:, chosen] - estimates[chosen]) / errors[chosen]
            reach[chosen] = np.quantile(deviations.max(axis=1), 0.95) * errors[chosen]
    return np.stack([low, high, estimates - reach, estimates + reach], axis=1)


def worse_clades(rows: Sequence[GainRow]) -> list[str]:
    """Clades that routes surely harm, with allowance for how many clades there are."""
    return [row.name for row in rows if row.level == "clade" and row.high_together < 0]
