"""What people see of a benchmark in a terminal: its report as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from isogloss.prompts.console.plain_table import PlainTable

Report = Mapping[str, Any]
SERVERS = {"isogloss": "isogloss serve", "fastapi": "FastAPI", "ray_serve": "Ray Serve, batches"}
_X_LABELS = {
    "batch_size": "batch size",
    "resident_prompts": "prompts in memory",
    "prompts_per_text": "prompts a text",
    "ensemble_members": "prompts together",
    "text_length": "tokens a text",
}


def table(
    title: str, caption: str, names: Sequence[str], numbers: Sequence[str], rows: Iterable[Any]
) -> PlainTable:
    """A table of text.

    Args:
        title: above it.
        caption: below it.
        names: headings of the first columns, aligned to the left.
        numbers: headings of the others, aligned to the right.
        rows: cells of each row; None ends a section.
    """
    made = PlainTable(*names, title=title, caption=caption or None)
    for heading in numbers:
        made.add_column(heading, justify="right")
    for row in rows:
        made.add_section() if row is None else made.add_row(*row)
    return made


def engine_tables(report: Report) -> list[PlainTable]:
    """The ratios of all models, and the curves behind them."""
    tables = [_engine_ratios(report)]
    for model in report["ratios"]:
        for curve in _X_LABELS:
            results = [r for r in report["results"] if (r["model"], r["curve"]) == (model, curve)]
            if results:
                tables.append(_engine_curve(model, curve, results))
    return tables


def _engine_ratios(report: Report) -> PlainTable:
    settings, ratios = report["settings"], report["ratios"]
    rows = []
    for name in dict.fromkeys(name for row in ratios.values() for name in row):
        form = ".0%" if name.endswith("share_of_rate") else ".2f"
        cells = (format(row[name], form) if name in row else "" for row in ratios.values())
        rows.append([name.replace("_", " "), *cells])
    return table(
        f"batch size {settings['ratios_at_batch_size']}, {settings['prompts']} prompts of "
        f"{settings['prompt_length']} tokens\n{_machine(report)}",
        "medians of ratios between neighbours in time; above 1: isogloss is faster; the last are "
        "costs: time of the first over time of the second",
        ["ratio"],
        list(ratios),
        rows,
    )


def _engine_curve(model: str, curve: str, results: Sequence[Report]) -> PlainTable:
    return table(
        f"{model}: {_X_LABELS[curve]}",
        "median (lowest to highest) of the kept rounds; seconds a batch; share of the "
        "matrix-product rate in the contender's precision; ratios with 95 % intervals",
        [_X_LABELS[curve], "contender"],
        ["texts/s", "tokens/s", "p50 s", "p95 s", "p99 s", "rounds", "share", "memory", "ours is"],
        (row for result in results for row in _engine_rows(result)),
    )


def _engine_rows(result: Report) -> Iterator[list[str] | None]:
    for index, (name, row) in enumerate(result["contenders"].items()):
        share = row["share_of_rate"]
        yield [
            f"{result['x']}" if index == 0 else "",
            name.replace("_", " "),
            spread_text(row["texts_per_s"], ".4g"),
            f"{row['tokens_per_s']['median']:.0f}",
            *(f"{row['seconds'][quantile]:.3g}" for quantile in ("p50", "p95", "p99")),
            f"{row['rounds']}",
            "" if share is None else f"{share['median']:.0%}",
            mebibytes(row["peak_memory_bytes"]),
            _engine_ratio(name, result),
        ]
    rates = (f"{p} {r['median']:.0f}" for p, r in result["rates_gflop_per_s"].items())
    if shown := ", ".join(rates):
        yield ["", "rate, GFLOP/s", shown]
    yield None


def _engine_ratio(name: str, result: Report) -> str:
    shown = [
        f"{interval_text(ratio, '.3g')} x {peer.removeprefix('vs_')}"
        for peer, ratio in result["ratios"].get(name, {}).items()
    ]
    if cost := result["costs"].get(name):
        shown.append(f"{interval_text(cost, '.3g')} of the first's time")
    return ", ".join(shown)


def train_tables(report: Report) -> list[PlainTable]:
    """One table for each model of `bench train`."""
    settings = report["settings"]
    return [
        table(
            f"{result['model']}, {settings['dtype']}, a prompt of {result['prompt_length']} "
            f"tokens, {settings['epochs']} epochs of {result['steps_per_epoch']} steps\n"
            f"{_machine(report)}",
            f"median (lowest to highest) over {settings['rounds']} rounds; "
            f"{settings['epochs_measured']} of {settings['epochs']} epochs measured, the rest "
            "projected; population: times of all its prompts together, but for seconds a prompt; "
            f"ratios are to {result['best_peer']}, the faster of the plain loop and PEFT, and to "
            "the loops by hand, which read the labels' rows of the head alone; above 1: isogloss "
            "is faster",
            ["contender"],
            [
                *(
                    "prompts",
                    "s a prompt",
                    "isogloss is",
                    "vs by hand",
                    "vs compiled",
                    "once s",
                    "a step s",
                ),
                *("validation s", "memory above weights"),
            ],
            (_train_row(name, row, result) for name, row in result["contenders"].items()),
        )
        for result in report["results"]
    ]


def _train_row(name: str, row: Report, result: Report) -> list[str]:
    label, ratios = name.replace("_", " "), ["", "", ""]
    if ratio := result["ratios"].get(name):
        label = f"isogloss, {name.replace('_', ' of ')}"
        by_peer = result["ratios_by_peer"][name]
        careful = (by_peer.get(peer) for peer in ("transformers_by_hand", "torch_compile"))
        ratios = [f"{spread_text(ratio, '.2f')} x"]
        ratios += [f"{peer['median']:.2f} x" if peer else "" for peer in careful]
    return [
        *(label, f"{row['prompts']}", spread_text(row["seconds_per_prompt"], ".4g"), *ratios),
        *(f"{row[part]['median']:.3g}" for part in ("once_s", "step_s", "validation_s")),
        mebibytes(row["peak_memory_bytes"]),
    ]


def http_tables(report: Report) -> list[PlainTable]:
    """One table for each model of `bench http`."""
    settings = report["settings"]
    return [
        table(
            f"{result['model']}, {settings['dtype']}, {settings['prompts']} prompts, "
            f"{result['tokens_per_text']:.0f} tokens a text, load from {settings['client']}\n"
            f"{_machine(report)}",
            f"median (lowest to highest) of {settings['rounds']} rounds; a ratio of rates above "
            "1, or of times below 1: isogloss is faster; of engine: texts/s over those of our "
            "forward pass alone at the same batch sizes; memory: of all the server's processes",
            ["connections", "server"],
            [
                *("requests/s", "isogloss", "p50 ms", "isogloss", "p95 ms", "p99 ms"),
                *("texts a batch", "of engine", "memory"),
            ],
            (row for level in result["levels"] for row in _http_rows(level, result["servers"])),
        )
        for result in report["results"]
    ]


def _http_rows(level: Report, servers: Report) -> Iterator[list[str] | None]:
    for index, (name, row) in enumerate(level["contenders"].items()):
        ratio, batch = level["ratios"].get(name), row["texts_per_batch"]
        yield [
            f"{level['concurrency']}" if index == 0 else "",
            SERVERS[name],
            spread_text(row["requests_per_s"], ".4g"),
            f"{ratio['requests']['median']:.2f} x" if ratio else "",
            spread_text(row["p50_ms"], ".4g"),
            f"{ratio['p50']['median']:.2f} x" if ratio else "",
            *(f"{row[name]['median']:.4g}" for name in ("p95_ms", "p99_ms")),
            f"{batch['median']:.1f}" if batch else "",
            "" if ratio else f"{level['share_of_engine']['median']:.0%}",
            mebibytes(servers[name]["peak_memory_bytes"]),
        ]
    yield None


def swap_tables(report: Report) -> list[PlainTable]:
    """The table of `bench swap`."""
    (result,), settings = report["results"], report["settings"]
    swaps = result["swaps"]
    took = swaps["latency_ms"]
    return [
        table(
            f"{result['model']}, {settings['server']['replicas']} replicas, "
            f"{settings['clients']} clients: {swaps['done']} swaps, {swaps['per_s']:g} a second, "
            f"p50 {took['p50']:.0f} ms, p99 {took['p99']:.0f} ms",
            f"{result['failed']} requests or publishes failed; every answer was compared with its "
            f"digest's scores (allowed: {result['tolerance']:.3g}; the prompts are at least "
            f"{result['least_separation']:.3g} apart); p99 with swaps is "
            f"{result['p99_with_vs_without_swaps']:.2f} times that without",
            [""],
            ["requests", "requests/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed"],
            (
                [
                    *(way.replace("_", " "), f"{row['requests']}", f"{row['requests_per_s']:.0f}"),
                    *(f"{row['latency_ms'][name]:.1f}" for name in ("p50", "p95", "p99", "max")),
                    f"{row['failed']}",
                ]
                for way, row in ((way, result[way]) for way in ("with_swaps", "without_swaps"))
            ),
        )
    ]


def spread_text(values: Mapping[str, float], form: str) -> str:
    """Median, and lowest to highest."""
    low, high = (format(values[end], form) for end in ("min", "max"))
    return f"{format(values['median'], form)} ({low} to {high})"


def interval_text(ratio: Mapping[str, float], form: str) -> str:
    """Median, and its 95 % interval."""
    if ratio["rounds"] == 1:
        return f"{format(ratio['median'], form)} (one round)"
    low, high = (format(ratio[end], form) for end in ("low", "high"))
    return f"{format(ratio['median'], form)} ({low} to {high})"


def mebibytes(count: int | None) -> str:
    """Memory, where it could be row."""
    return "not measured" if count is None else f"{count / (1 << 20):.0f} MiB"


def _machine(report: Report) -> str:
    return f"{report['hardware']['name']}, {report['hardware']['threads']} threads"
