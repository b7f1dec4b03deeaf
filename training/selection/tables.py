"""Tables for people: why a clade got its prompt, or none of its own, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from isogloss.prompts.console.plain_table import PlainTable
from isogloss.training.selection.choice import Choice, Decision
from isogloss.training.selection.gains import GainRow
from isogloss.training.selection.left_out import LeftOutRow

_COLUMNS = (
    "Clade",
    "Best prompt",
    "Languages",
    "Sentences",
    "Accuracy",
    "Otherwise",
    "Observed",
    "Gain",
    "95 % interval",
    "Surely",
    "Route",
)


def choice_table(choice: Choice, title: str) -> PlainTable:
    """Every clade that was considered; gains in points, shrunk by what choosing flatters."""
    tried = choice.universal.candidates
    table = PlainTable(*_COLUMNS, title=f"{title}: best of {tried} prompts by clade")
    for decision in (choice.universal, *choice.decisions):
        table.add_row(*_row(decision))
    return table


def _row(decision: Decision) -> list[str]:
    gain, moved = decision.gain, decision.prompt != decision.baseline
    return [
        decision.clade or "(universal)",
        decision.prompt,
        str(len(decision.languages)),
        str(decision.sentences),
        f"{decision.accuracy:.1%}",
        f"{decision.baseline} {decision.baseline_accuracy:.1%}",
        f"{100 * decision.observed_gain:+.1f}",
        f"{100 * gain.mean:+.1f}" if moved else "",
        f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}" if moved else "",
        f"{gain.positive:.0%}" if moved else "",
        "yes" if decision.routed else f"no: as {decision.baseline_clade or 'everywhere'}",
    ]


def gains_table(rows: Sequence[GainRow], shown: Mapping[str, Collection[str]]) -> PlainTable:
    """Overall, and `shown` clades (by model) in which some language leaves the universal prompt."""
    table = PlainTable(
        *("Model", "Clade", "Moved", "Universal", "Routed", "Gain", "95 %", "all clades at once"),
        title="Routes over the best single prompt",
    )
    for row in rows:
        named = row.level == "clade" and row.moved and row.name in shown.get(row.model, ())
        if row.level == "overall" or named:
            cells = (
                row.model,
                row.name,
                f"{row.moved} of {row.languages}",
                f"{row.universal_percent:.1f}%",
                f"{row.routed_percent:.1f}%",
                f"{row.gain_points:+.2f}",
                f"{row.low:+.2f} to {row.high:+.2f}",
                f"{row.low_together:+.2f} to {row.high_together:+.2f}",
            )
            table.add_row(*cells)
    return table


def left_out_table(rows: Sequence[LeftOutRow]) -> PlainTable:
    """What each way to choose comes to for languages of which nothing is known."""
    table = PlainTable(
        "Model", "By", "Over", "Moved", "Gain", "95 %", title="Languages left out of the evidence"
    )
    for row in rows:
        cells = (
            row.model,
            f"{row.way} {row.percent:.1f}%",
            f"{row.over} {row.over_percent:.1f}%",
            f"{row.moved} of {row.languages}",
            f"{row.gain_points:+.2f}",
            f"{row.low:+.2f} to {row.high:+.2f}",
        )
        table.add_row(*cells)
    return table
