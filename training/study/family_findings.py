"""Figure 5 and Table 1 in sentences: do families differ, and what pulls towards English.

Figure 5 shows what reparameterization does to each language, and asks whether it differs between
families; Table 1, how transfer goes with likeness to the source language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from isogloss.training.study.contrasts import (
    article_table,
    common_seeds,
    difference_of,
    mean_of,
)
from isogloss.training.study.correlations import freezing_change, measure_name, unfrozen_pull
from isogloss.training.study.estimates import (
    LEVEL,
    Direction,
    Interval,
    chance,
    counted,
    judged,
    listing,
    plain,
    signed,
    span,
)
from isogloss.training.study.findings import finding, of_its_models
from isogloss.training.study.interaction import family_difference
from isogloss.training.study.kinship import StudyLanguage, by_family, is_family
from isogloss.training.study.results import StudyResults
from isogloss.training.study.rows import FindingRow, WeakeningRow

# Section 5.2, on BLOOM-560M and XGLM-564M: what is claimed of whole clades.
_CLAIMS: Mapping[str, Mapping[str, tuple[Direction, str]]] = {
    "bloom": {
        "Atlantic-Congo": ("below", "The largest losses, 24 % to 31 % (BLOOM-560M)."),
        "Indo-Aryan": ("above", "Among the largest gains, up to 29 % (BLOOM-560M)."),
        "Dravidian": ("above", "Among the largest gains, up to 29 % (BLOOM-560M)."),
    },
    "xglm": {"Dravidian": ("above", "Telugu and Tamil gain most (XGLM-564M).")},
}


def family_findings(results: StudyResults) -> tuple[FindingRow, ...]:
    """The mean, whether it differs between families, and the paper's claims of clades."""
    findings = [
        _mean(results),
        _differs(results),
        *(_claim(results, clade) for clade in _CLAIMS.get(results.architecture, {})),
    ]
    return tuple(one for one in findings if one is not None)


def _mean(results: StudyResults) -> FindingRow | None:
    change = difference_of(results.residual(), results.base("frozen"), results.languages)
    if change is None:
        return None
    return finding(
        "figure5",
        "reparameterization, mean over languages",
        change,
        "points",
        f"Over {counted(len(results.languages), 'language')}, reparameterization changes accuracy "
        f"by {signed(change.mean)} points {span(change)}.",
    )


def _differs(results: StudyResults) -> FindingRow | None:
    """The interaction of family and reparameterization."""
    parts = [(1.0, results.residual()), (-1.0, results.base("frozen"))]
    seeds, kin = common_seeds(parts), _relatives(results)
    if not seeds or not kin:
        return None
    codes = [language.code for language in kin]
    start = [_start(results, [code]) for code in codes]
    effects = 100 * article_table(parts, seeds, codes) / start
    apart = family_difference(effects, [language.group for language in kin])
    if apart is None:
        return None
    ranked = sorted(apart.means, key=lambda group: (apart.means[group], group))
    named = [f"{group} ({signed(apart.means[group], 0)} %)" for group in ranked]
    return finding(
        "figure5",
        "family x reparameterization",
        Interval(apart.std, apart.low, apart.high, len(named)),
        "percent, standard deviation between families",
        f"Between {counted(len(named), 'family')}, what reparameterization changes varies with a "
        f"standard deviation of {plain(apart.std)} % (95 % interval {plain(apart.low)} to "
        f"{plain(apart.high)}; test of no variation: {chance(apart.p)}). From loss to gain: "
        f"{listing(named)}.",
        "Its impact differs: harmful for some languages, helpful for others.",
        "agrees" if apart.p < 1 - LEVEL else "cannot tell",
    )


def _relatives(results: StudyResults) -> list[StudyLanguage]:
    """Languages whose family or branch has others, where plain prompts get something right."""
    known = [
        language
        for language in by_family(results.languages)
        if is_family(language.family) and _start(results, [language.code]) > 0
    ]
    sizes = Counter(language.group for language in known)
    return [language for language in known if sizes[language.group] > 1]


def _start(results: StudyResults, codes: Sequence[str]) -> float:
    """Plain prompts' accuracy in percent, which a relative change takes as known."""
    return mean_of(results.base("frozen"), codes).mean


def _claim(results: StudyResults, clade: str) -> FindingRow | None:
    members = [one for one in by_family(results.languages) if clade in one.clades]
    change = _change(results, [one.code for one in members]) if members else None
    if change is None:
        return None
    direction, paper = _CLAIMS[results.architecture][clade]
    return finding(
        "figure5",
        f"reparameterization, {clade}",
        change,
        "percent",
        f"Over {counted(len(members), f'{clade} language')}, reparameterization changes accuracy "
        f"by {signed(change.mean, 0)} % {span(change, 0)}.",
        *of_its_models(results, paper, judged(change, direction)),
    )


def _change(results: StudyResults, codes: Sequence[str]) -> Interval | None:
    """In percent of plain prompts' accuracy over these languages."""
    points = difference_of(results.residual(), results.base("frozen"), codes)
    start = _start(results, codes)
    return None if points is None or start == 0 else points.scaled(100 / start)


def likeness_findings(
    results: StudyResults, rows: Sequence[WeakeningRow]
) -> tuple[FindingRow, ...]:
    """Table 1: does freezing weaken the pull towards languages like the source?"""
    overall, pull = (freezing_change(results), unfrozen_pull(results)) if rows else (None, None)
    if overall is None or pull is None:
        return ()
    there = pull.direction == "above"
    changes = {
        measure_name(row.metric): Interval(row.weaker_by, row.low, row.high, row.languages)
        for row in rows
        if row.weaker_by is not None
    }
    weaker = sum(change.mean > 0 for change in changes.values())
    sure = [name for name, change in changes.items() if change.direction != "unclear"]
    said = f"surely changed: {listing(sure)}" if sure else "no single change is sure"
    return (
        finding(
            "table1",
            "pull towards the source language",
            overall,
            "of r, mean over measures",
            f"Freezing changes the correlation of transfer with likeness to the source language "
            f"(and with data) by {signed(overall.mean, 2)}, the mean of {len(changes)} measures "
            f"{span(overall, 2)}; {weaker} of them weaken ({said}, by intervals over languages). "
            f"With all weights trained it is {plain(pull.mean, 2)} {span(pull, 2)}"
            f"{'' if there else ': there is no pull for freezing to weaken'}.",
            *of_its_models(
                results,
                "The correlations weaken when the model is frozen.",
                judged(overall, "below") if there else "cannot tell",
            ),
        ),
    )
