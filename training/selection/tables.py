"""Tables for people: why a clade got its prompt, or none of its own, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from isogloss.prompts.console.plain_table import PlainTable, table_of
from isogloss.training.selection.choice import Choice, Decision
from isogloss.training.selection.gains import GainRow
from isogloss.training.selection.left_out import LeftOutRow
from isogloss.training.selection.seeds import SeedRow


def choice_table(choice: Choice, title: str) -> PlainTable:
    """Every clade that was considered; gains in points, shrunk by what choosing flatters."""
    tried = choice.universal.candidates
    columns: dict[str, Callable[[Decision], str]] = {
        "Clade": lambda d: d.clade or "(universal)",
        "Best prompt": lambda d: d.prompt,
        "Languages": lambda d: str(len(d.languages)),
        "Sentences": lambda d: str(d.sentences),
        "Accuracy": lambda d: f"{d.accuracy:.1%}",
        "Otherwise": lambda d: f"{d.baseline} {d.baseline_accuracy:.1%}",
        "Observed": lambda d: f"{100 * d.observed_gain:+.1f}",
        "Gain": lambda d: _if_moved(d, f"{100 * d.gain.mean:+.1f}"),
        "95 % interval": lambda d: _if_moved(
            d, f"{100 * d.gain.low:+.1f} to {100 * d.gain.high:+.1f}"
        ),
        "Surely": lambda d: _if_moved(d, f"{d.gain.positive:.0%}"),
        "Route": lambda d: "yes" if d.routed else f"no: as {d.baseline_clade or 'everywhere'}",
    }
    decisions = (choice.universal, *choice.decisions)
    return table_of(
        decisions, columns, f"{title}: best of {tried} prompts by clade{_caution(choice)}"
    )


def _caution(choice: Choice) -> str:
    """How many routes to expect to be wrong: few that are probable each are some together."""
    routes = len(choice.routes)
    if not routes:
        return ""
    return f"; expect {choice.expected_harmful:.1f} of {routes} routes to gain nothing or harm"


def _if_moved(decision: Decision, cell: str) -> str:
    return cell if decision.prompt != decision.baseline else ""


def gains_table(rows: Sequence[GainRow], shown: Mapping[str, Collection[str]]) -> PlainTable:
    """Overall, and `shown` clades (by model) in which some language leaves the universal prompt."""
    columns: dict[str, Callable[[GainRow], str]] = {
        "Model": lambda row: row.model,
        "Clade": lambda row: row.name,
        "Moved": lambda row: f"{row.moved} of {row.languages}",
        "Over": lambda row: row.over,
        "Alone": lambda row: f"{row.universal_percent:.1f}%",
        "Routed": lambda row: f"{row.routed_percent:.1f}%",
        "Gain": lambda row: f"{row.gain_points:+.2f}",
        "95 %": lambda row: f"{row.low:+.2f} to {row.high:+.2f}",
        "all clades at once": lambda row: f"{row.low_together:+.2f} to {row.high_together:+.2f}",
    }
    chosen = [
        row
        for row in rows
        if row.level == "overall"
        or (row.level == "clade" and row.moved and row.name in shown.get(row.model, ()))
    ]
    return table_of(chosen, columns, "Routes over one prompt everywhere")


def seeds_table(rows: Sequence[SeedRow]) -> PlainTable:
    """What settings gain overall, whichever of their seeds is taken."""
    columns: dict[str, Callable[[SeedRow], str]] = {
        "Model": lambda row: row.model,
        "Moved": lambda row: f"{row.moved} of {row.languages}",
        "Seeds": lambda row: str(row.seeds),
        "Gain": lambda row: f"{row.gain_points:+.2f}",
        "95 %": lambda row: f"{row.low:+.2f} to {row.high:+.2f}",
    }
    overall = [row for row in rows if row.level == "overall"]
    return table_of(overall, columns, "Settings over settings, articles and seeds drawn")


def left_out_table(rows: Sequence[LeftOutRow]) -> PlainTable:
    """What each way to choose comes to for languages of which nothing is known."""
    columns: dict[str, Callable[[LeftOutRow], str]] = {
        "Model": lambda row: row.model,
        "By": lambda row: f"{row.way} {row.percent:.1f}%",
        "Over": lambda row: f"{row.over} {row.over_percent:.1f}%",
        "Moved": lambda row: f"{row.moved} of {row.languages}",
        "Gain": lambda row: f"{row.gain_points:+.2f}",
        "95 %": lambda row: f"{row.low:+.2f} to {row.high:+.2f}",
    }
    return table_of(rows, columns, "Languages left out of the evidence")
