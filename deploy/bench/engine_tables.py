"""What people see of `bench engine` in a terminal: the ratios, then one table a model and curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isogloss.deploy.bench.report import mebibytes, spread_text
from isogloss.prompts.console.plain_table import PlainTable

_PLACES = {
    "batch_size": "batch size",
    "resident_prompts": "prompts in memory",
    "prompts_per_text": "prompts a text",
    "text_length": "tokens a text",
}


def engine_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """The ratios of all models, and the curves behind them."""
    tables = [_ratios_table(report)]
    for model in report["ratios"]:
        for curve in _PLACES:
            own = [r for r in report["results"] if (r["model"], r["curve"]) == (model, curve)]
            if own:
                tables.append(_curve_table(model, curve, own, report))
    return tables


def _ratios_table(report: Mapping[str, Any]) -> PlainTable:
    machine, settings = report["hardware"], report["settings"]
    table = PlainTable(
        title=f"batch size {settings['ratios_at_batch_size']}, {settings['prompts']} prompts of "
        f"{settings['prompt_length']} tokens\n{machine['name']}, {machine['threads']} threads",
        caption="medians of ratios between neighbours in time; above 1: isogloss is faster; "
        "the last are costs: time of the first over time of the second",
    )
    table.add_column("ratio")
    for model in report["ratios"]:
        table.add_column(model, justify="right")
    for name in dict.fromkeys(name for own in report["ratios"].values() for name in own):
        form = ".0%" if name.endswith("share_of_rate") else ".2f"
        found = [own.get(name) for own in report["ratios"].values()]
        cells = ["" if value is None else format(value, form) for value in found]
        table.add_row(name.replace("_", " "), *cells)
    return table


def _curve_table(
    model: str, curve: str, results: list[dict[str, Any]], report: Mapping[str, Any]
) -> PlainTable:
    table = PlainTable(
        title=f"{model}: {_PLACES[curve]}",
        caption="median (lowest to highest) of the kept rounds; seconds a batch; share of the "
        "matrix-product rate in the contender's precision; ratios with 95 % intervals",
    )
    for heading in (_PLACES[curve], "contender"):
        table.add_column(heading)
    headings = ("texts/s", "tokens/s", "p50 s", "p95 s", "p99 s", "rounds", "share", "memory")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("isogloss is")
    for result in results:
        for place, row in enumerate(_rows(result)):
            table.add_row(f"{result['x']}" if place == 0 else "", *row)
        rates = (f"{p} {r['median']:.0f}" for p, r in result["rates_gflop_per_s"].items())
        if said := ", ".join(rates):
            table.add_row("", "rate, GFLOP/s", said)
        table.add_section()
    return table


def _rows(result: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, own in result["contenders"].items():
        share = own["share_of_rate"]
        yield [
            name.replace("_", " "),
            spread_text(own["texts_per_s"], ".4g"),
            f"{own['tokens_per_s']['median']:.0f}",
            *(f"{own['seconds'][quantile]:.3g}" for quantile in ("p50", "p95", "p99")),
            f"{own['rounds']}",
            "" if share is None else f"{share['median']:.0%}",
            mebibytes(own["peak_memory_bytes"]),
            _beside(name, result),
        ]


def _beside(name: str, result: Mapping[str, Any]) -> str:
    said = [
        f"{_interval(ratio)} x {peer.removeprefix('vs_')}"
        for peer, ratio in result["ratios"].get(name, {}).items()
    ]
    if cost := result["costs"].get(name):
        said.append(f"{_interval(cost)} of the first's time")
    return ", ".join(said)


def _interval(ratio: Mapping[str, float]) -> str:
    if ratio["rounds"] == 1:
        return f"{ratio['median']:.3g} (one round)"
    return f"{ratio['median']:.3g} ({ratio['low']:.3g} to {ratio['high']:.3g})"
