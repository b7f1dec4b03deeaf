"""Accuracy per prompt, language and clade. A clade's, and the whole, is the mean of languages.

Of texts with several labels it is the mean of their F1, of levels how near the answers are (see
`score_answer`); what else such tasks are judged by stands beside it, over all texts alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

from isogloss.training.data.clades import branching_clades, lineages_of
from isogloss.training.evaluation.assigned import measure_predictions
from isogloss.training.evaluation.predictions import Prediction


@dataclass(frozen=True, slots=True)
class PromptSummary:
    """One prompt's accuracies, between 0 and 1."""

    prompt: str
    digest: str
    mean: float  # over languages, each counting the same
    languages: dict[str, float]
    clades: dict[str, float]
    # Of several labels `micro_f1` and `macro_f1`; of levels `exact`, the share of right answers,
    # and `levels_off`, the mean distance to the right one.
    measures: dict[str, float] = field(default_factory=dict)


def summarize(predictions: Iterable[Prediction]) -> list[PromptSummary]:
    """Accuracies of each prompt, in order of first appearance."""
    rows: dict[tuple[str, str], list[Prediction]] = {}
    for row in predictions:
        rows.setdefault((row.prompt, row.digest), []).append(row)
    return [_summary(prompt, digest, own) for (prompt, digest), own in rows.items()]


def _summary(prompt: str, digest: str, rows: Sequence[Prediction]) -> PromptSummary:
    right: dict[str, list[float]] = {}
    for row in rows:
        right.setdefault(row.language, []).append(row.correct)
    accuracy = {code: fmean(correct) for code, correct in sorted(right.items())}
    clades = branching_clades(lineages_of(accuracy))
    return PromptSummary(
        prompt=prompt,
        digest=digest,
        mean=fmean(accuracy.values()),
        languages=accuracy,
        clades={clade: fmean(accuracy[c] for c in codes) for clade, codes in clades.items()},
        measures=_measures(rows),
    )


def _measures(rows: Sequence[Prediction]) -> dict[str, float]:
    if rows[0].problem == "multi_label":
        return asdict(measure_predictions(rows))
    if rows[0].problem == "ordered":
        return _levels(rows)
    return {}


def _levels(rows: Sequence[Prediction]) -> dict[str, float]:
    """Where scores were not kept, nobody knows the levels' order."""
    exact = {"exact": fmean(row.gold == row.predicted for row in rows)}
    if not all(row.labels for row in rows):
        return exact
    off = (abs(r.labels.index(r.gold) - r.labels.index(r.predicted)) for r in rows)
    return {**exact, "levels_off": fmean(off)}
