"""What the study shows beside what the paper says: sentences that follow from the numbers.

Nothing here is a foregone conclusion. A claim of the paper agrees, or does not agree, where a 95 %
interval lies wholly on one side of zero; otherwise nobody can tell from this many seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isogloss.training.study.accuracy_tables import percent_by_seed
from isogloss.training.study.correlations import freezing_change, measure_name, unfrozen_pull
from isogloss.training.study.intervals import Interval, difference
from isogloss.training.study.results import StudyResults, StudyRun
from isogloss.training.study.rows import FindingRow, MeanRow, Verdict, WeakeningRow
from isogloss.training.study.words import counted, judged, listing, plain, signed, span


def finding(
    part: str,
    name: str,
    estimate: Interval,
    unit: str,
    sentence: str,
    paper: str = "",
    verdict: Verdict | None = None,
) -> FindingRow:
    """One row of findings.csv."""
    return FindingRow(
        part=part,
        finding=name,
        estimate=estimate.mean,
        low=estimate.low,
        high=estimate.high,
        unit=unit,
        n=estimate.n,
        verdict=verdict,
        sentence=sentence,
        paper=paper,
    )


def mean_percents(runs: Sequence[StudyRun]) -> dict[int, float]:
    """Each seed's accuracy over languages, in percent."""
    return percent_by_seed(runs, lambda run: run.mean_accuracy)


def shot_findings(results: StudyResults) -> tuple[FindingRow, ...]:
    """Figure 3: do more examples help?"""
    groups = results.by_shots()
    few, many = min(groups), max(groups)
    gain = difference(mean_percents(groups[many]), mean_percents(groups[few]))
    if gain is None:
        return ()
    return (
        finding(
            "figure3",
            "more examples",
            gain,
            "points",
            f"From {few} to {many} examples per label, accuracy over languages changes by "
            f"{signed(gain.mean)} points {span(gain)}.",
            "More examples help further, with the model frozen.",
            judged(gain, "above"),
        ),
    )


def length_findings(results: StudyResults, rows: Sequence[MeanRow]) -> tuple[FindingRow, ...]:
    """Figure 4: which length does best, and are long prompts worse?"""
    groups = {length: mean_percents(runs) for length, runs in results.by_length().items()}
    return tuple(
        one for one in (_best_length(groups, rows), _longest(groups, results.length)) if one
    )


def _best_length(groups: Mapping[int, Mapping[int, float]], rows: Sequence[MeanRow]) -> FindingRow:
    best = max(rows, key=lambda row: row.mean_percent)
    alike = [
        str(length)
        for length, percents in groups.items()
        if length != best.length and _could_be_equal(groups[best.length], percents)
    ]
    others = (
        f"length{'s' * (len(alike) > 1)} {listing(alike)} may do as well (no paired interval "
        "excludes zero)"
        if alike
        else "every other length does worse (no paired interval includes zero)"
    )
    level = Interval(best.mean_percent, best.low_percent, best.high_percent, best.seeds)
    return finding(
        "figure4",
        "best length",
        level,
        "percent",
        f"Length {best.length} does best, at {plain(best.mean_percent)} %; {others}.",
    )


def _could_be_equal(ours: Mapping[int, float], other: Mapping[int, float]) -> bool:
    off = difference(ours, other)
    return off is None or off.direction == "unclear"


def _longest(groups: Mapping[int, Mapping[int, float]], usual: int) -> FindingRow | None:
    longest = max(groups)
    start = usual if usual in groups and usual < longest else min(groups)
    change = difference(groups[longest], groups[start])
    if change is None:
        return None
    return finding(
        "figure4",
        "the longest prompt",
        change,
        "points",
        f"Prompts of {longest} tokens do {signed(change.mean)} points {span(change)} against those "
        f"of {counted(start, 'token')}.",
        "If a soft prompt is too long, transfer degrades.",
        judged(change, "below"),
    )


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
