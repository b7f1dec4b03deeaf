"""Table 1: how transfer goes with likeness to the source language, with and without freezing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from isogloss.prompts.languages.pretraining_data import CORPORA
from isogloss.training.study.estimates import Interval, difference, interval_of
from isogloss.training.study.paper import paper_correlation
from isogloss.training.study.results import SETTINGS, Setting, StudyResults, StudyRun
from isogloss.training.study.rows import CorrelationRow, WeakeningRow
from isogloss.training.typology.distances import (
    FROM_VECTORS,
    KINDS,
    PublishedDifference,
    published_differences,
)
from isogloss.training.typology.transfer import (
    TransferCorrelation,
    freezing_differences,
    transfer_correlations,
)


def correlation_rows(results: StudyResults) -> Iterator[CorrelationRow]:
    """One row a setting and measure, of accuracies that are means over seeds.

    Raises:
        Unavailable: lang2vec is not installed.
    """
    paper = results.paper_model
    for setting in SETTINGS:
        if accuracy := _accuracy(results.base(setting)):
            for cell in _correlations(results, accuracy):
                theirs = paper_correlation(paper, setting, cell.metric) if paper else None
                yield CorrelationRow(setting=setting, paper_r=theirs, **asdict(cell))


def weakening_rows(results: StudyResults) -> Iterator[WeakeningRow]:
    """One row a measure; none where only one of the settings was run.

    Raises:
        Unavailable: lang2vec is not installed.
    """
    frozen, full = (_accuracy(results.base(setting)) for setting in SETTINGS)
    if not frozen or not full:
        return
    changes = freezing_differences(
        frozen, full, results.source, _corpus_of(results), uriel=results.uriel
    )
    for metric, change in changes.items():
        yield WeakeningRow(
            metric=metric,
            weaker_by=change.difference,
            low=change.low,
            high=change.high,
            languages=change.languages,
            paper_weaker_by=_paper_weaker_by(results.paper_model, metric),
            note=change.note,
        )


def distance_rows(rows: Sequence[CorrelationRow]) -> tuple[PublishedDifference, ...]:
    """How far the distances that Table 1 stands on are from those that URIEL published.

    None where a copy of URIEL's own file was used throughout.

    Raises:
        Unavailable: lang2vec is not installed.
    """
    computed = {row.metric for row in rows if row.origin == FROM_VECTORS}
    return tuple(each for each in published_differences() if each.metric in computed)


def freezing_change(results: StudyResults) -> Interval | None:
    """Frozen minus unfrozen, of the mean of all measures' correlations, seed by seed.

    None where no seed was run in both settings, or where nothing correlates.

    Raises:
        Unavailable: lang2vec is not installed.
    """
    return difference(_pull_by_seed(results, "frozen"), _pull_by_seed(results, "full"))


def unfrozen_pull(results: StudyResults) -> Interval | None:
    """Mean of all measures' correlations with all weights trained: what freezing could weaken.

    Raises:
        Unavailable: lang2vec is not installed.
    """
    known = list(_pull_by_seed(results, "full").values())
    return interval_of(known) if known else None


def _pull_by_seed(results: StudyResults, setting: Setting) -> dict[int, float]:
    pulls = {run.seed: _mean_correlation(results, run) for run in results.base(setting)}
    return {seed: r for seed, r in pulls.items() if r is not None}


def _correlations(
    results: StudyResults, accuracy: Mapping[str, float]
) -> list[TransferCorrelation]:
    return transfer_correlations(accuracy, results.source, _corpus_of(results), uriel=results.uriel)


def _mean_correlation(results: StudyResults, run: StudyRun) -> float | None:
    known = [row.r for row in _correlations(results, run.accuracy) if row.r is not None]
    return fmean(known) if known else None


def measure_name(metric: str) -> str:
    """What a measure of Table 1 is called in a sentence."""
    named = {**{str(kind): name for kind, name in KINDS.items()}, "DATA": "pretraining data"}
    return named.get(metric, metric)


def _accuracy(runs: Sequence[StudyRun]) -> dict[str, float]:
    """Mean over seeds by language; empty without runs."""
    return (
        {code: fmean(r.accuracy[code] for r in runs) for code in runs[0].accuracy} if runs else {}
    )


def _corpus_of(results: StudyResults) -> str | None:
    """Whose pretraining data counts: the pocket models saw neither BLOOM's nor XGLM's."""
    pocket = Path(results.model).name.startswith("pocket-")
    return None if pocket or results.architecture not in CORPORA else results.architecture


def _paper_weaker_by(paper: str | None, metric: str) -> float | None:
    if paper is None:
        return None
    frozen, full = (paper_correlation(paper, setting, metric) for setting in SETTINGS)
    return None if frozen is None or full is None else full - frozen
