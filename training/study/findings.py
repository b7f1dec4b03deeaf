"""What the study shows beside what the paper says: sentences that follow from the numbers.

Nothing here is a foregone conclusion. A claim of the paper agrees, or does not agree, where a 95 %
interval lies wholly on one side of zero; otherwise nobody can tell from this many seeds. Where the
claim is of models of the paper's size, only its own models can agree or not.

Here are Figures 2 to 4 and Table 4; `family_findings` has Figure 5 and Table 1, `costs` Section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from isogloss.training.study.accuracy_tables import paper_column
from isogloss.training.study.contrasts import contrast, difference_of, mean_of
from isogloss.training.study.estimates import (
    Interval,
    Verdict,
    counted,
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


def of_its_models(
    results: StudyResults, claim: str, verdict: Verdict
) -> tuple[str, Verdict | None]:
    """A claim that the paper makes of its own models, and a verdict if this is one of them."""
    if results.paper_model is None:
        return f"{claim} Said of the paper's models; {results.short_model} is none of them.", None
    return claim, verdict


def mean_findings(results: StudyResults, means: Sequence[MeanRow]) -> tuple[FindingRow, ...]:
    """Figure 2: is there anything to compare, and does freezing help?"""
    return tuple(one for one in (_above_guessing(results), _gain(results, means)) if one)


def language_findings(results: StudyResults, rows: Sequence[GainRow]) -> tuple[FindingRow, ...]:
    """Table 4: how many languages does freezing help, and is accuracy at the paper's level?"""
    findings = [
        _languages_gaining(results, rows),
        *(_beside_paper(results, setting) for setting in SETTINGS),
    ]
    return tuple(one for one in findings if one is not None)


def _above_guessing(results: StudyResults) -> FindingRow | None:
    runs, share = results.base("frozen"), results.majority_share
    if not runs or share is None:
        return None
    above = mean_of(runs, results.languages).shifted(-100 * share)
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
    gain = difference_of(results.base("frozen"), results.base("full"), results.languages)
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
        *of_its_models(results, f"Freezing helps: {listing(named)} points.", judged(gain, "above")),
    )


def _languages_gaining(results: StudyResults, rows: Sequence[GainRow]) -> FindingRow | None:
    """The share of languages that do at least as well frozen, seed by seed."""
    frozen, full = ({r.seed: r.accuracy for r in results.base(setting)} for setting in SETTINGS)
    both = sorted(frozen.keys() & full.keys())
    if not both or not rows:
        return None
    shares = _within_percent(
        [fmean(frozen[s][code] >= full[s][code] for code in results.languages) for s in both]
    )
    ranked = sorted(rows, key=lambda row: (-row.gain_points, row.name))
    ends = [f"{row.name} ({signed(row.gain_points)} points)" for row in (ranked[0], ranked[-1])]
    return finding(
        "table4",
        "languages that do as well or better frozen",
        shares,
        "percent of the languages",
        f"{plain(shares.mean, 0)} % of the languages do as well or better with the model frozen "
        f"{span(shares, 0, sign=False)}. It does most for {ends[0]} and least for {ends[1]}.",
        *of_its_models(
            results,
            f"As well or better for most languages: {_paper_counts()}.",
            judged(shares.shifted(-50), "above"),
        ),
    )


def _within_percent(shares: Sequence[float]) -> Interval:
    """A mean share and its interval over seeds, of which what no share can be is cut off."""
    open_ended = interval_of(shares)
    low, high = open_ended.low, open_ended.high
    if low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    return Interval(open_ended.mean, low, high, open_ended.n).scaled(100)


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
    off = mean_of(runs, shared).shifted(-goal)
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
    gain = difference_of(groups[many], groups[few], results.languages)
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
    """Figure 4: which length does best, and does accuracy fall as prompts grow?"""
    return tuple(one for one in (_best_length(results, rows), _trend(results)) if one)


def _best_length(results: StudyResults, rows: Sequence[MeanRow]) -> FindingRow:
    best = max(rows, key=lambda row: row.mean_percent)
    groups = results.by_length()
    off = {
        length: difference_of(groups[best.length], runs, results.languages)
        for length, runs in groups.items()
        if length != best.length
    }
    alike = [str(k) for k, d in off.items() if d is None or d.direction == "unclear"]
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


def _trend(results: StudyResults) -> FindingRow | None:
    """The least-squares line of accuracy over the logarithm of the length, seed by seed."""
    groups = results.by_length()
    doublings = {length: math.log2(length) for length in groups}
    middle = fmean(doublings.values())
    squares = sum((x - middle) ** 2 for x in doublings.values())
    slope = contrast(
        [((doublings[k] - middle) / squares, runs) for k, runs in groups.items()],
        results.languages,
    )
    if slope is None:
        return None
    return finding(
        "figure4",
        "trend over length",
        slope,
        "points per doubling",
        f"From {min(groups)} to {counted(max(groups), 'token')}, each doubling of the prompt "
        f"changes accuracy over languages by {signed(slope.mean)} points {span(slope)}.",
        "If a soft prompt is too long, transfer degrades.",
        judged(slope, "below"),
    )
