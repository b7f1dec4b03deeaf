"""Figure 5 in sentences: which languages and families reparameterization helps or hurts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from isogloss.training.study.findings import finding, mean_percents
from isogloss.training.study.intervals import Direction, Interval, difference
from isogloss.training.study.kinship import is_family, places
from isogloss.training.study.results import StudyResults, StudyRun
from isogloss.training.study.rows import ChangeRow, FindingRow, Verdict
from isogloss.training.study.words import counted, judged, listing, signed, span

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
    sure = sum(_sure(row) for row in rows)
    return finding(
        "figure5",
        "languages that gain",
        Interval(float(up), None, None, len(rows)),
        "languages",
        f"{up} of {counted(len(rows), 'language')} gain. Lowest: {listing(ranked[:named])}; "
        f"highest: {listing(ranked[: -named - 1 : -1])}. {sure} of the {len(rows)} intervals "
        f"exclude zero; chance alone would make one in 20 do so.",
    )


def _sure(row: ChangeRow) -> bool:
    return Interval(row.change_points, row.low_points, row.high_points, 0).direction != "unclear"


def group_changes(results: StudyResults, families: int = 1) -> dict[str, Interval]:
    """Relative change in percent per family or branch with two languages or more.

    Each interval is so wide that all `families` of them hold together at 95 % (Bonferroni).
    """
    groups: dict[str, list[str]] = {}
    for place in places(results.languages):
        if is_family(place.family):
            groups.setdefault(place.group, []).append(place.code)
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
    members = [place for place in places(results.languages) if clade in place.clades]
    change = _change(results, [place.code for place in members], 1) if members else None
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
    return {run.seed: 100 * fmean(run.accuracy[code] for code in codes) for run in runs}
