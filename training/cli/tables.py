"""Tables for people: what was trained, and how prompts do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isogloss.prompts.console.plain_table import PlainTable, table_of
from isogloss.training.data.clades import lineages_of, name_of
from isogloss.training.evaluation.summary import PromptSummary
from isogloss.training.tuning.outputs import Trained

_MOST_COLUMNS = 6  # prompts side by side; beyond that only their means are shown


def trained_table(results: Sequence[Trained]) -> PlainTable:
    """One row a prompt."""
    columns: dict[str, Callable[[Trained], str]] = {
        "Prompt": lambda one: one.name + _how_it_ended(one),
        "Seed": lambda one: str(one.seed),
        "Best epoch": lambda one: f"{one.best_epoch} of {one.epochs}" if one.best_epoch else "-",
        "Validated on": lambda one: one.validation or "-",
        "Accuracy there": lambda one: _percent(one.validation_accuracy),
        "Loss there": lambda one: "-" if one.dev_loss is None else f"{one.dev_loss:.3f}",
        "Seconds": lambda one: f"{one.seconds:.1f}",
        "File": lambda one: str(one.path or "-"),
    }
    return table_of(results, columns)


def _how_it_ended(result: Trained) -> str:
    if result.failure:
        return " (failed)"
    return " (interrupted)" if result.interrupted else ""


def summary_tables(summaries: Sequence[PromptSummary]) -> list[PlainTable]:
    """Means per prompt and, for a handful of prompts, per clade and per language."""
    more = list(summaries[0].measures)
    columns = ("Prompt", "Mean", *map(_heading, more), "Worst language", "Best language")
    means = PlainTable(*columns, title="Accuracy")
    for summary in summaries:
        accuracy = summary.languages
        ranked = sorted(accuracy, key=accuracy.__getitem__)
        ends = [f"{name_of(code)} {accuracy[code]:.1%}" for code in (ranked[0], ranked[-1])]
        measured = [_measure(name, summary.measures[name]) for name in more]
        means.add_row(summary.prompt, _percent(summary.mean), *measured, *ends)
    if len(summaries) > _MOST_COLUMNS:
        return [means]
    return [_by_language(summaries), _by_clade(summaries), means]


def _heading(measure: str) -> str:
    words = measure.replace("_", " ")
    return words[0].upper() + words[1:].replace("f1", "F1")


def _measure(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "levels_off" else _percent(value)


def _by_language(summaries: Sequence[PromptSummary]) -> PlainTable:
    table = PlainTable("Language", "Family", *_names(summaries), title="Accuracy per language")
    lineages = lineages_of(summaries[0].languages)
    for code in sorted(lineages, key=lambda code: (lineages[code][:1], name_of(code))):
        family = lineages[code][0] if lineages[code] else "-"
        cells = [_percent(summary.languages[code]) for summary in summaries]
        table.add_row(name_of(code), family, *cells)
    return table


def _by_clade(summaries: Sequence[PromptSummary]) -> PlainTable:
    table = PlainTable("Clade", *_names(summaries), title="Accuracy per clade (mean of languages)")
    for clade in summaries[0].clades:
        table.add_row(clade, *(_percent(summary.clades[clade]) for summary in summaries))
    return table


def _names(summaries: Sequence[PromptSummary]) -> list[str]:
    return [summary.prompt for summary in summaries]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
