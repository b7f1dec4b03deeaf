"""Figure 5 and Table 1 in sentences: which languages and families gain, what pulls towards English.

Figure 5 shows which languages reparameterization helps or hurts; Table 1, how transfer goes with
likeness to the source language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from isogloss.training.study.accuracy_tables import mean_percents, percent_by_seed
from isogloss.training.study.correlations import freezing_change, measure_name, unfrozen_pull
from isogloss.training.study.estimates import (
    Direction,
    Interval,
    Verdict,
    counted,
    difference,
    judged,
    listing,
    plain,
    signed,
    span,
)
from isogloss.training.study.findings import finding
from isogloss.training.study.kinship import by_family, is_family
from isogloss.training.study.results import StudyResults, StudyRun
from isogloss.training.study.rows import ChangeRow, FindingRow, WeakeningRow

_NAMED = 3  # languages named at each end
# Section 5.2, on BLOOM-560M and XGLM-564M: what is claimed of whole clades.
_CLAIMS: Mapping[str, Mapping[str, tuple[Direction, str]]] = {
    "bloom": {
        "Atlantic-Congo": ("below", "The largest losses, 24 % to 31 % (BLOOM-560M)."),
        "Indo-Aryan": ("above", "Among the largest gains, up to 29 % (BLOOM-560M)."),
        "Dravidian": ("above", "Among the largest gains, up to 29 % (BLOOM-560M)."),
    },
    "xglm": {"Dravidian": ("above", "Telugu and Tamil gain most (XGLM-564M).")},
}


def family_findings(results: StudyResults, rows: Sequence[ChangeRow]) -> tuple[FindingRow, ...]:
    """The mean, the ends, whether it differs between families, and the paper's claims of clades."""
    found = [
        _mean(results),
        _ends(rows),
        _differs(results),
        *(_claim(results, clade) for clade in _CLAIMS[results.architecture]),
    ]
    return tuple(one for one in found if one is not None)


def _mean(results: StudyResults) -> FindingRow | None:
    change = difference(mean_percents(results.residual()), mean_percents(results.base("frozen")))
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


def _ends(rows: Sequence[ChangeRow]) -> FindingRow | None:
    known = [(row.change_percent, row.name) for row in rows if row.change_percent is not None]
    if not known:
        return None
    ranked = [f"{name} ({signed(change, 0)} %)" for change, name in sorted(known)]
    named = max(1, min(_NAMED, len(ranked) // 2))
    up = sum(change > 0 for change, _ in known)
    sure = sum(row.change.direction != "unclear" for row in rows)
    return finding(
        "figure5",
        "languages that gain",
        Interval(float(up), None, None, len(rows)),
        "languages",
        f"{up} of {counted(len(rows), 'language')} gain. Lowest: {listing(ranked[:named])}; "
        f"highest: {listing(ranked[: -named - 1 : -1])}. {sure} of the {len(rows)} intervals "
        f"exclude zero; chance alone would make one in 20 do so.",
    )


def group_changes(results: StudyResults, families: int = 1) -> dict[str, Interval]:
    """Relative change in percent per family or branch with two languages or more.

    Each interval is so wide that all `families` of them hold together at 95 % (Bonferroni).
    """
    groups: dict[str, list[str]] = {}
    for language in by_family(results.languages):
        if is_family(language.family):
            groups.setdefault(language.group, []).append(language.code)
    changes = {
        group: _change(results, codes, families)
        for group, codes in groups.items()
        if len(codes) > 1
    }
    return {group: change for group, change in changes.items() if change is not None}


def _differs(results: StudyResults) -> FindingRow | None:
    alone = group_changes(results)
    if not alone:
        return None
    together = group_changes(results, len(alone))
    up, down = _going(together, "above"), _going(together, "below")
    verdict: Verdict = "cannot tell"
    if up and down:
        verdict = "agrees"
    elif len(up) == len(together) or len(down) == len(together):
        verdict = "does not agree"
    ranked = sorted(alone, key=lambda group: (alone[group].mean, group))
    named = [f"{group} ({signed(alone[group].mean, 0)} %)" for group in ranked]
    sure = [
        f"{listing(groups)} surely {word}"
        for groups, word in ((down, "lose"), (up, "gain"))
        if groups
    ]
    said = " and ".join(sure) or "with all of them taken together, none of these changes is sure"
    return finding(
        "figure5",
        "differs between families",
        Interval(float(len(up) + len(down)), None, None, len(together)),
        "families that surely change",
        f"By family, from loss to gain: {listing(named)}; {said}.",
        "Harmful for some languages and helpful for others.",
        verdict,
    )


def _going(changes: Mapping[str, Interval], direction: Direction) -> list[str]:
    return [group for group, change in changes.items() if change.direction == direction]


def _claim(results: StudyResults, clade: str) -> FindingRow | None:
    members = [one for one in by_family(results.languages) if clade in one.clades]
    change = _change(results, [one.code for one in members], 1) if members else None
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
        paper,
        judged(change, direction),
    )


def _change(results: StudyResults, codes: Sequence[str], families: int) -> Interval | None:
    plain = _means(results.base("frozen"), codes)
    points = difference(_means(results.residual(), codes), plain, families)
    start = fmean(plain.values())
    return None if points is None or start == 0 else points.scaled(100 / start)


def _means(runs: Sequence[StudyRun], codes: Sequence[str]) -> dict[int, float]:
    return percent_by_seed(runs, lambda run: fmean(run.accuracy[code] for code in codes))


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
            "The correlations weaken when the model is frozen.",
            judged(overall, "below") if there else "cannot tell",
        ),
    )
