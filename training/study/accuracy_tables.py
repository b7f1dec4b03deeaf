"""Tables of accuracies: every run, Table 4, and what Figures 2 to 5 draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from isogloss.prompts.files.tables import table_bytes
from isogloss.training.study.contrasts import difference_of, mean_of
from isogloss.training.study.estimates import Interval, spread
from isogloss.training.study.kinship import StudyLanguage, by_family
from isogloss.training.study.paper import PaperAccuracy, paper_accuracies
from isogloss.training.study.results import SETTINGS, Setting, StudyResults, StudyRun
from isogloss.training.study.rows import ChangeRow, GainRow, LanguageRow, MeanRow

_PERCENT = 100.0
_RUN = ("run", "seed", "setting", "kind", "shots", "length")


def runs_csv(results: StudyResults) -> bytes:
    """runs.csv: one row a prompt, its accuracy over languages, each counting the same."""
    columns = ("best_epoch", "epochs", "dev_percent", "mean_percent")
    costs = ("trained_parameters", "stored_bytes", "digest")
    rows = (
        (
            *_identity(run),
            *(run.best_epoch, run.epochs),
            None if run.dev_accuracy is None else _PERCENT * run.dev_accuracy,
            _PERCENT * run.mean_accuracy,
            *(run.trained_parameters, run.prompt_bytes, run.digest),
        )
        for run in ordered(results.runs)
    )
    return table_bytes((*_RUN, *columns, *costs), rows, ".6g")


def accuracies_csv(results: StudyResults) -> bytes:
    """accuracies.csv: one row a prompt and language."""
    languages = by_family(results.languages)
    rows = (
        (*_identity(run), each.code, each.name, each.family, _PERCENT * run.accuracy[each.code])
        for run in ordered(results.runs)
        for each in languages
    )
    return table_bytes((*_RUN, "language", "name", "family", "accuracy_percent"), rows, ".6g")


def _identity(run: StudyRun) -> tuple[object, ...]:
    return run.name, run.seed, run.setting, run.kind, run.shots, run.length


def ordered(runs: Iterable[StudyRun]) -> list[StudyRun]:
    """Runs in the tables' order, whichever order they were trained in."""
    return sorted(
        runs, key=lambda r: (SETTINGS.index(r.setting), r.kind, r.shots, r.length, r.seed, r.name)
    )


def language_rows(results: StudyResults) -> Iterator[LanguageRow]:
    """Table 4: one row a language and setting."""
    for language in by_family(results.languages):
        for setting in SETTINGS:
            if values := list(_percents(results.base(setting), language.code).values()):
                theirs = paper_column(results, setting).get(language.code)
                yield LanguageRow(
                    **_names(language),
                    group=language.group,
                    setting=setting,
                    seeds=len(values),
                    mean_percent=fmean(values),
                    std_points=spread(values),
                    paper_percent=theirs.percent if theirs else None,
                    paper_std_points=theirs.std_points if theirs else None,
                )


def gain_rows(results: StudyResults) -> Iterator[GainRow]:
    """Table 4's differences; none where no seed was run in both settings."""
    for language in by_family(results.languages):
        frozen, full = (results.base(setting) for setting in SETTINGS)
        theirs = [paper_column(results, setting).get(language.code) for setting in SETTINGS]
        if gain := difference_of(frozen, full, [language.code]):
            yield GainRow(
                **_names(language),
                seeds=gain.n,
                gain_points=gain.mean,
                low_points=gain.low,
                high_points=gain.high,
                paper_gain_points=(
                    theirs[0].percent - theirs[1].percent if theirs[0] and theirs[1] else None
                ),
            )


def _names(language: StudyLanguage) -> dict[str, Any]:
    return {"language": language.code, "name": language.name, "family": language.family}


def mean_rows(results: StudyResults, groups: Iterable[Sequence[StudyRun]]) -> tuple[MeanRow, ...]:
    """Figures 2 to 4: the mean over languages of each group of runs, but for empty ones."""
    return tuple(_mean_row(results, runs) for runs in groups if runs)


def _mean_row(results: StudyResults, runs: Sequence[StudyRun]) -> MeanRow:
    ours = mean_of(runs, results.languages)
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
        std_points=spread([_PERCENT * run.mean_accuracy for run in runs]),
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
    return tuple(_change_row(results, language) for language in by_family(results.languages))


def _change_row(results: StudyResults, language: StudyLanguage) -> ChangeRow:
    plain = _percents(results.base("frozen"), language.code)
    residual = _percents(results.residual(), language.code)
    # Where no seed is in both, all there is to compare are the two means.
    means = fmean(residual.values()) - fmean(plain.values())
    points = difference_of(results.residual(), results.base("frozen"), [language.code])
    points = points or Interval(means, None, None, 0)
    both = sorted(plain.keys() & residual.keys()) or sorted(plain)
    start = fmean(plain[seed] for seed in both)
    relative = points.scaled(_PERCENT / start) if start > 0 else None
    return ChangeRow(
        **_names(language),
        group=language.group,
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


def _percents(runs: Iterable[StudyRun], code: str) -> dict[int, float]:
    """A seed's accuracy in one language, in percent."""
    return {run.seed: _PERCENT * run.accuracy[code] for run in runs}
