"""Tables for people: why a clade got its prompt, or none of its own."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from training.selection.choice import Choice, Decision

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


def choice_table(choice: Choice, title: str) -> Table:
    """Every clade that was looked at; gains in points, shrunk by what choosing flatters."""
    tried = choice.universal.candidates
    table = Table(*_COLUMNS, title=f"{title}: best of {tried} prompts by clade")
    for decision in (choice.universal, *choice.decisions):
        table.add_row(*map(Text, _row(decision)))
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
