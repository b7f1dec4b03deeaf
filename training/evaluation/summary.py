"""Accuracy per prompt, language and clade. A clade's, and the whole, is the mean of languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from isogloss.training.data.clades import branching_clades, lineages_of
from isogloss.training.evaluation.predictions import Prediction


@dataclass(frozen=True, slots=True)
class PromptSummary:
    """One prompt's accuracies, between 0 and 1."""

    prompt: str
    digest: str
    mean: float  # over languages, each counting the same
    languages: dict[str, float]
    clades: dict[str, float]


def summarize(predictions: Iterable[Prediction]) -> list[PromptSummary]:
    """Accuracies of each prompt, in order of first appearance."""
    hits: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for row in predictions:
        by_language = hits.setdefault((row.prompt, row.digest), {})
        by_language.setdefault(row.language, []).append(row.correct)
    return [_summary(prompt, digest, by_language) for (prompt, digest), by_language in hits.items()]


def _summary(prompt: str, digest: str, hits: Mapping[str, Sequence[bool]]) -> PromptSummary:
    accuracy = {code: fmean(correct) for code, correct in sorted(hits.items())}
    clades = branching_clades(lineages_of(accuracy))
    return PromptSummary(
        prompt=prompt,
        digest=digest,
        mean=fmean(accuracy.values()),
        languages=accuracy,
        clades={clade: fmean(accuracy[c] for c in codes) for clade, codes in clades.items()},
    )
