"""What people see of a benchmark: progress while it runs, tables when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from isogloss.prompts.console.plain_table import PlainTable

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


def train_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """One table for each model of `bench train`."""
    return [_train_table(result, report) for result in report["results"]]


def _train_table(result: Mapping[str, Any], report: Mapping[str, Any]) -> PlainTable:
    settings, machine = report["settings"], report["hardware"]
    table = PlainTable(
        title=f"{result['model']}, {settings['dtype']}, a prompt of {result['prompt_length']} "
        f"tokens, {settings['epochs']} epochs of {result['steps_per_epoch']} steps\n"
        f"{machine['name']}, {machine['threads']} threads",
        caption=f"median (lowest to highest) over {settings['rounds']} rounds; "
        f"{settings['epochs_measured']} of {settings['epochs']} epochs measured, the rest "
        "projected; population: times of all its prompts together, but for seconds a prompt; "
        f"ratios are to {result['best_peer']}, the faster of the plain loop and PEFT, and to the "
        "loop by hand, which reads the labels' rows of the head alone; above 1: isogloss is faster",
    )
    table.add_column("contender")
    headings = ("prompts", "s a prompt", "isogloss is", "vs by hand")
    for heading in (*headings, "once s", "a step s", "validation s"):
        table.add_column(heading, justify="right")
    table.add_column("memory above weights", justify="right")
    for name, own in result["contenders"].items():
        ratio = result["ratios"].get(name)
        table.add_row(
            f"isogloss, {name.replace('_', ' of ')}" if ratio else name.replace("_", " "),
            f"{own['prompts']}",
            spread_text(own["seconds_per_prompt"], ".4g"),
            f"{spread_text(ratio, '.2f')} x" if ratio else "",
            f"{result['ratios_by_peer'][name]['transformers_by_hand']['median']:.2f} x"
            if ratio
            else "",
            *(f"{own[part]['median']:.3g}" for part in ("once_s", "step_s", "validation_s")),
            mebibytes(own["peak_memory_bytes"]),
        )
    return table


def mixture_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """The table of `bench mixture`."""
    settings = report["settings"]
    table = PlainTable(
        title=f"{settings['model']}, first words of {settings['data']} test, "
        f"{settings['languages']} languages",
        caption="gains in points of accuracy over one prompt a text, with 95 % intervals; "
        "surprise: mean negative log-probability of the right label; on mixed texts: accuracy with "
        "one prompt -> mixed",
    )
    for heading in ("words", "texts", "prompts"):
        table.add_column(heading)
    for heading in ("accuracy", "surprise", "gain", "prompts a text", "mixed", "on mixed texts"):
        table.add_column(heading, justify="right")
    for result in report["results"]:
        for place, (name, own) in enumerate(result["ways"].items()):
            first = [f"{result['words']}", f"{result['texts']}"] if place == 0 else ["", ""]
            table.add_row(*first, *_way(name, own))
        table.add_section()
    return [table]


def precision_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """The table of `bench precision`."""
    settings = report["settings"]
    table = PlainTable(
        title=f"Labels and scores against {settings['compared_with']}, {settings['data']} test, "
        f"{settings['languages']} languages",
        caption="surest change: the highest score that a label had in float32 and lost",
    )
    for heading in ("model", "precision"):
        table.add_column(heading)
    for heading in ("accuracy", "same labels", "worst language", "scores moved", "surest change"):
        table.add_column(heading, justify="right")
    for own in report["results"]:
        ((code, share),) = own["worst_language"].items()
        moved = own["score_moved"]
        table.add_row(
            *(own["model"], own["precision"], f"{own['accuracy']:.2%}", f"{own['agreement']:.2%}"),
            *(f"{share:.1%} {code}", f"{moved['mean']:.4f} (p99 {moved['p99']:.3f})"),
            f"{own['surest_change']:.3f}",
        )
    return [table]


def profile_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """The table of `bench profile`."""
    settings = report["settings"]
    (result,) = report["results"]
    table = PlainTable(
        title=f"{settings['model']}, {settings['dtype']}, {settings['batch_size']} texts, "
        f"{result['tokens']} tokens: {result['seconds']:.3f} s"
    )
    table.add_column("where")
    table.add_column("share", justify="right")
    for kind, share in result["shares"].items():
        table.add_row(kind, f"{share:.1%}")
    return [table]


def _way(name: str, own: Mapping[str, Any]) -> list[str]:
    titles = {"off": "one", "oracle": "one, language told"}
    cells = [titles.get(name, f"mixed below {name}")]
    cells += [f"{own['accuracy']:.1%}", f"{own['surprise']:.4f}"]
    if "gain" not in own:
        return cells
    low, high = (100 * end for end in own["interval"])
    cells += [f"{100 * own['gain']:+.2f} ({low:+.2f} to {high:+.2f})"]
    if not own["mixed"]:
        return cells
    on_mixed = f"{own['accuracy_of_mixed_off']:.1%} -> {own['accuracy_of_mixed']:.1%}"
    return [*cells, f"{own['prompts_per_text']:.2f}", f"{own['mixed']:.1%}", on_mixed]


def spread_text(values: Mapping[str, float], form: str) -> str:
    """Median, and lowest to highest."""
    low, high = (format(values[end], form) for end in ("min", "max"))
    return f"{format(values['median'], form)} ({low} to {high})"


def mebibytes(count: int | None) -> str:
    """Memory, where it could be measured."""
    return "not measured" if count is None else f"{count / _MIB:.0f} MiB"
