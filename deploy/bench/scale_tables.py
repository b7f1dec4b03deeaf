"""What people see of `bench scale`: in a terminal, and on the page made from its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isogloss.deploy.bench.tables import table
from isogloss.prompts.console.plain_table import PlainTable

Report = Mapping[str, Any]
Shown = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, headings, rows."""


def scale_tables(report: Report) -> list[PlainTable]:
    """The check, and the replicas of each cost table."""
    return [
        table(title, "", headings[:1], headings[1:], rows)
        for title, headings, rows in _shown(report)
    ]


def scale_markdown(report: Report) -> str:
    """The same tables for a page."""
    parts = []
    for title, headings, rows in _shown(report):
        lines = (f"| {' | '.join(cells)} |" for cells in (headings, *rows))
        head, *body = lines
        parts.append("\n".join([f"{title}:", "", head, "|" + "---|" * len(headings), *body]))
    return "\n\n".join(parts)


def _shown(report: Report) -> Iterator[Shown]:
    for result in report["results"]:
        if result["check"]:
            yield _checked(result)
        yield _replicas(result, report["settings"])


def _checked(result: Report) -> Shown:
    rows = [
        [
            f"{row['share']:.0%}, {row['requests_per_s']:.0f}",
            *(_pair(row, name) for name in ("p50", "p95", "p99")),
            f"{row['measured_texts_per_batch']:.2f}, {row['simulated_texts_per_batch']:.2f}",
        ]
        for row in result["check"]["loads"]
    ]
    return (
        f"{_title(result)}, measured and simulated",
        ["of capacity, requests/s", "p50 ms", "p95 ms", "p99 ms", "texts a batch"],
        rows,
    )


def _pair(row: Report, name: str) -> str:
    measured, simulated = row["measured_ms"][name], row["simulated_ms"][name]
    return f"{measured:.1f}, {simulated:.1f} ({row['off'][name]:+.0%})"


def _replicas(result: Report, settings: Report) -> Shown:
    dollars = settings["dollars_per_hour"]
    headings = ["texts/s", "replicas", "p50 ms", "p95 ms", "p99 ms", "loop busy", "worker busy"]
    if dollars is not None:
        headings.append(f"dollars a million texts, at {dollars:g} an hour")
    rows = [_row(row, len(headings)) for row in result["loads"]]
    title = f"{_title(result)}, p99 below {settings['within_ms']:g} ms"
    return title, headings, rows


def _row(row: Report, cells: int) -> list[str]:
    load = f"{row['texts_per_s']:,}"
    if row["replicas"] is None:
        return [load, "none: one text alone takes longer", *[""] * (cells - 2)]
    shown = [load, f"{row['replicas']:,}"]
    shown += [f"{row[f'{name}_ms']:.1f}" for name in ("p50", "p95", "p99")]
    shown += [f"{row['loop_busy']:.0%}", f"{row['worker_busy']:.0%}"]
    return shown + ([f"{row['dollars_per_million']:.3g}"] if "dollars_per_million" in row else [])


def _title(result: Report) -> str:
    machine = result["machine"]
    threads, layers = machine["threads"], machine["dtype"].rpartition("torch.")[2]
    each = f"{threads} thread{'s' * (threads != 1)} a replica"
    return f"{result['model']}, {layers}, {each}, {machine['device']}"
