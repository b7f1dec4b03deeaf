"""Tables of accuracies: every run, Table 4, and what Figures 2 to 5 draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from isogloss.training.study.intervals import Interval, difference, interval_of, spread
from isogloss.training.study.kinship import Place, places
from isogloss.training.study.paper import PaperAccuracy, paper_accuracies
from isogloss.training.study.results import SETTINGS, Setting, StudyResults, StudyRun
from isogloss.training.study.rows import (
    AccuracyRow,
    ChangeRow,
    GainRow,
    LanguageRow,
    MeanRow,
    RunRow,
)

_PERCENT = 100.0


def run_rows(results: StudyResults) -> tuple[RunRow, ...]:
    """One row a prompt."""
    return tuple(
        RunRow(
            run=run.name,
            seed=run.seed,
            setting=run.setting,
            kind=run.kind,
            shots=run.shots,
            length=run.length,
            best_epoch=run.best_epoch,
            epochs=run.epochs,
            dev_percent=None if run.dev_accuracy is None else _PERCENT * run.dev_accuracy,
            mean_percent=_PERCENT * run.mean_accuracy,
            trained_parameters=run.trained_parameters,
            stored_bytes=run.prompt_bytes,
            digest=run.digest,
        )
        for run in ordered(results.runs)
    )


def accuracy_rows(results: StudyResults) -> tuple[AccuracyRow, ...]:
    """One row a prompt and language."""
    return tuple(
        AccuracyRow(
            run=run.name,
            seed=run.seed,
            setting=run.setting,
            kind=run.kind,
            shots=run.shots,
            length=run.length,
            language=place.code,
            name=place.name,
            family=place.family,
            accuracy_percent=_PERCENT * run.accuracy[place.code],
        )
        for run in ordered(results.runs)
        for place in places(results.languages)
    )


def ordered(runs: Iterable[StudyRun]) -> list[StudyRun]:
    """Runs in the tables' order, whichever order they were trained in."""
    return sorted(
        runs, key=lambda r: (SETTINGS.index(r.setting), r.kind, r.shots, r.length, r.seed, r.name)
    )


def language_rows(results: StudyResults) -> tuple[LanguageRow, ...]:
    """Table 4: one row a language and setting."""
    rows = []
    for place in places(results.languages):
        for setting in SETTINGS:
            values = [_PERCENT * run.accuracy[place.code] for run in results.base(setting)]
            if not values:
                continue
            theirs = paper_column(results, setting).get(place.code)
            rows.append(
                LanguageRow(
                    language=place.code,
                    name=place.name,
                    family=place.family,
                    group=place.group,
                    setting=setting,
                    seeds=len(values),
                    mean_percent=fmean(values),
                    std_points=spread(values),
                    paper_percent=theirs.percent if theirs else None,
                    paper_std_points=theirs.std_points if theirs else None,
                )
            )
    return tuple(rows)


def gain_rows(results: StudyResults) -> tuple[GainRow, ...]:
    """Table 4's differences; none where no seed was run in both settings."""
    rows = []
    for place in places(results.languages):
        frozen, full = (
            _language_percents(results.base(setting), place.code) for setting in SETTINGS
        )
        gain = difference(frozen, full)
        if gain is None:
            continue
        theirs = [paper_column(results, setting).get(place.code) for setting in SETTINGS]
        rows.append(
            GainRow(
                language=place.code,
                name=place.name,
                family=place.family,
                seeds=gain.n,
                gain_points=gain.mean,
                low_points=gain.low,
                high_points=gain.high,
                paper_gain_points=(
                    theirs[0].percent - theirs[1].percent if theirs[0] and theirs[1] else None
                ),
            )
        )
    return tuple(rows)


def setting_rows(results: StudyResults) -> tuple[MeanRow, ...]:
    """Figure 2: the mean over languages with and without freezing."""
    return tuple(_mean_row(results, runs) for runs in map(results.base, SETTINGS) if runs)


def shot_rows(results: StudyResults) -> tuple[MeanRow, ...]:
    """Figure 3: the mean over languages by examples per label."""
    return tuple(_mean_row(results, runs) for runs in results.by_shots().values())


def length_rows(results: StudyResults) -> tuple[MeanRow, ...]:
    """Figure 4: the mean over languages by prompt length."""
    return tuple(_mean_row(results, runs) for runs in results.by_length().values())


def _mean_row(results: StudyResults, runs: Sequence[StudyRun]) -> MeanRow:
    values = [_PERCENT * run.mean_accuracy for run in runs]
    ours = interval_of(values)
    first = runs[0]
    usual = first.shots == results.shots and first.length == results.length
    column = paper_column(results, first.setting) if usual else {}
    theirs = [column[code].percent for code in results.languages if code in column]
    return MeanRow(
        setting=first.setting,
        shots=first.shots,
        length=first.length,
        languages=len(results.languages),
        seeds=len(runs),
        mean_percent=ours.mean,
        std_points=spread(values),
        low_percent=ours.low,
        high_percent=ours.high,
        paper_percent=fmean(theirs) if theirs else None,
        paper_languages=len(theirs) or None,
    )


def paper_column(results: StudyResults, setting: Setting) -> Mapping[str, PaperAccuracy]:
    """The paper's Table 4 for this model, by language code; empty for any other model."""
    return paper_accuracies(results.paper_model, setting) if results.paper_model else {}


def change_rows(results: StudyResults) -> tuple[ChangeRow, ...]:
    """Figure 5: what reparameterization changes, per language."""
    return tuple(_change_row(results, place) for place in places(results.languages))


def _change_row(results: StudyResults, place: Place) -> ChangeRow:
    plain = _language_percents(results.base("frozen"), place.code)
    residual = _language_percents(results.residual(), place.code)
    # Where no seed is in both, all there is to compare are the two means.
    means = fmean(residual.values()) - fmean(plain.values())
    points = difference(residual, plain) or Interval(means, None, None, 0)
    both = sorted(plain.keys() & residual.keys()) or sorted(plain)
    start = fmean(plain[seed] for seed in both)
    relative = points.scaled(_PERCENT / start) if start > 0 else None
    return ChangeRow(
        language=place.code,
        name=place.name,
        family=place.family,
        group=place.group,
        seeds=points.n,
        plain_percent=start,
        residual_percent=start + points.mean,
        change_points=points.mean,
        low_points=points.low,
        high_points=points.high,
        change_percent=relative.mean if relative else None,
        low_percent=relative.low if relative else None,
        high_percent=relative.high if relative else None,
    )


def _language_percents(runs: Iterable[StudyRun], code: str) -> dict[int, float]:
    return percent_by_seed(runs, lambda run: run.accuracy[code])


def percent_by_seed(
    runs: Iterable[StudyRun], accuracy: Callable[[StudyRun], float]
) -> dict[int, float]:
    """A seed's accuracy in percent, as `accuracy` reads it from its run."""
    return {run.seed: _PERCENT * accuracy(run) for run in runs}
