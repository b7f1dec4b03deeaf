"""What the study shows beside what the paper says: sentences that follow from the numbers.

Nothing here is a foregone conclusion. A claim of the paper agrees, or does not agree, where a 95 %
interval lies wholly on one side of zero; otherwise nobody can tell from this many seeds.

Here are Figures 2 to 4 and Table 4; `family_findings` has Figure 5 and Table 1, `costs` Section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from isogloss.training.study.accuracy_tables import mean_percents, paper_column
from isogloss.training.study.estimates import (
    Interval,
    Verdict,
    counted,
    difference,
    interval_of,
    judged,
    listing,
    plain,
    signed,
    span,
)
from isogloss.training.study.paper import MODEL_NAMES, freezing_gain_points, paper_accuracies
from isogloss.training.study.results import SETTINGS, Setting, StudyResults
from isogloss.training.study.rows import FindingRow, GainRow, MeanRow

SAME_POINTS = 5.0  # means this close to the paper's count as the same


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


def mean_findings(results: StudyResults, means: Sequence[MeanRow]) -> tuple[FindingRow, ...]:
    """Figure 2: is there anything to compare, and does freezing help?"""
    return tuple(one for one in (_above_guessing(results), _gain(results, means)) if one)


def language_findings(results: StudyResults, rows: Sequence[GainRow]) -> tuple[FindingRow, ...]:
    """Table 4: how many languages does freezing help, and is accuracy at the paper's level?"""
    found = [
        _languages_gaining(results, rows),
        *(_beside_paper(results, setting) for setting in SETTINGS),
    ]
    return tuple(one for one in found if one is not None)


def _above_guessing(results: StudyResults) -> FindingRow | None:
    runs, share = results.base("frozen"), results.majority_share
    if not runs or share is None:
        return None
    above = interval_of(list(mean_percents(runs).values())).shifted(-100 * share)
    doubt = "" if above.direction == "above" else "; all that follows may be chance"
    return finding(
        "figure2",
        "above always answering the largest label",
        above,
        "points",
        f"With the model frozen, accuracy is {plain(100 * share + above.mean)} %: "
        f"{signed(above.mean)} points {span(above)} against always answering the largest "
        f"label{doubt}.",
    )


def _gain(results: StudyResults, means: Sequence[MeanRow]) -> FindingRow | None:
    gain = difference(mean_percents(results.base("frozen")), mean_percents(results.base("full")))
    if gain is None:
        return None
    levels = {row.setting: plain(row.mean_percent) for row in means}
    named = [f"{signed(freezing_gain_points(m))} ({name})" for m, name in MODEL_NAMES.items()]
    return finding(
        "figure2",
        "freezing the model",
        gain,
        "points",
        f"Over {counted(len(results.languages), 'language')}, accuracy is {levels['frozen']} % "
        f"with the model frozen and {levels['full']} % with all weights trained: freezing changes "
        f"it by {signed(gain.mean)} points {span(gain)}.",
        f"Freezing helps: {listing(named)} points.",
        judged(gain, "above"),
    )


def _languages_gaining(results: StudyResults, rows: Sequence[GainRow]) -> FindingRow | None:
    """The share of languages that do at least as well frozen, seed by seed."""
    frozen, full = ({r.seed: r.accuracy for r in results.base(setting)} for setting in SETTINGS)
    both = sorted(frozen.keys() & full.keys())
    if not both or not rows:
        return None
    shares = interval_of(
        [fmean(frozen[s][code] >= full[s][code] for code in results.languages) for s in both]
    ).scaled(100)
    ranked = sorted(rows, key=lambda row: (-row.gain_points, row.name))
    ends = [f"{row.name} ({signed(row.gain_points)} points)" for row in (ranked[0], ranked[-1])]
    return finding(
        "table4",
        "languages that do as well or better frozen",
        shares,
        "percent of the languages",
        f"{plain(shares.mean, 0)} % of the languages do as well or better with the model frozen "
        f"{span(shares, 0, sign=False)}: surely {_surely(rows, 'above')} better and "
        f"{_surely(rows, 'below')} worse, of {len(rows)}. It does most for {ends[0]} and least for "
        f"{ends[1]}.",
        f"As well or better for most languages: {_paper_counts()}.",
        judged(shares.shifted(-50), "above"),
    )


def _surely(rows: Sequence[GainRow], direction: str) -> int:
    return sum(row.gain.direction == direction for row in rows)


def _paper_counts() -> str:
    counts = []
    for model, name in MODEL_NAMES.items():
        frozen, full = (paper_accuracies(model, setting) for setting in SETTINGS)
        better = sum(frozen[code].percent >= full[code].percent for code in frozen)
        counts.append(f"{better} of {len(frozen)} ({name})")
    return listing(counts)


def _beside_paper(results: StudyResults, setting: Setting) -> FindingRow | None:
    runs = results.base(setting)
    theirs = paper_column(results, setting)
    shared = [code for code in results.languages if code in theirs]
    if results.paper_model is None or not shared or not runs:
        return None
    goal = fmean(theirs[code].percent for code in shared)
    ours = [100 * sum(run.accuracy[code] for code in shared) / len(shared) - goal for run in runs]
    off = interval_of(ours)
    words = "frozen" if setting == "frozen" else "unfrozen"
    return finding(
        "table4",
        f"the paper's level, {words}",
        off,
        "points from the paper's mean",
        f"{words.capitalize()}, the mean of the {len(shared)} languages in both is "
        f"{plain(goal + off.mean)} %: {signed(off.mean)} points {span(off)} from the paper's.",
        f"{plain(goal)} % for {MODEL_NAMES[results.paper_model]}.",
        _same(off),
    )


def _same(off: Interval) -> Verdict:
    if off.low is None or off.high is None:
        return "cannot tell"
    if max(abs(off.low), abs(off.high)) <= SAME_POINTS:
        return "agrees"
    return "cannot tell" if off.low <= 0 <= off.high else "does not agree"


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
