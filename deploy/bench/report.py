"""What people see of a benchmark: progress while it runs, tables when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

_MIB = 1 << 20


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show on stderr what is going on: one changing line in a terminal, else a line each time."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: console.print(line, highlight=False, soft_wrap=True)
        return
    with console.status("starting ...") as status:
        yield status.update


def engine_tables(report: Mapping[str, Any]) -> list[Table]:
    """One table for each model of `bench engine`."""
    models = dict.fromkeys(result["model"] for result in report["results"])
    return [_engine_table(model, report) for model in models]


def _engine_table(model: str, report: Mapping[str, Any]) -> Table:
    settings, machine = report["settings"], report["hardware"]
    table = Table(
        title=f"{model}, {settings['dtype']}, {settings['prompts']} prompts of "
        f"{settings['prompt_length']} tokens\n{machine['name']}, {machine['threads']} threads",
        caption="median (lowest to highest) over the rounds; a ratio above 1: isogloss is faster",
    )
    for heading in ("batch", "contender"):
        table.add_column(heading)
    for heading in ("texts/s", "tokens/s", "isogloss is", "memory above weights"):
        table.add_column(heading, justify="right")
    for result in report["results"]:
        if result["model"] == model:
            _add_size(table, result)
    return table


def _add_size(table: Table, result: Mapping[str, Any]) -> None:
    for place, (name, own) in enumerate(result["contenders"].items()):
        ratio = result["ratios"].get(name)
        table.add_row(
            f"{result['batch_size']}" if place == 0 else "",
            name,
            _spread(own["texts_per_s"], ".2f"),
            _spread(own["tokens_per_s"], ".0f"),
            f"{_spread(ratio, '.2f')} x" if ratio else "",
            _mebibytes(own["peak_memory_bytes"]),
        )
    table.add_section()


def _spread(values: Mapping[str, float], form: str) -> str:
    low, high = (format(values[end], form) for end in ("min", "max"))
    return f"{format(values['median'], form)} ({low} to {high})"


def _mebibytes(count: int | None) -> str:
    return "not measured" if count is None else f"{count / _MIB:.0f} MiB"
