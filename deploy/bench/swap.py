"""`isogloss bench swap`: what clients notice of swaps, and how long a swap takes.

The run is `deploy.load.swaps`; the peer is the same server in the same run without swaps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from isogloss.deploy.load.server import hardware_and_versions
from isogloss.deploy.load.swaps import SwapSettings, run_swaps
from isogloss.prompts.console.plain_table import PlainTable

__all__ = ["SwapSettings", "bench_swap", "swap_tables"]

Run = Callable[[SwapSettings, Callable[[str], None]], dict[str, Any]]


def bench_swap(
    settings: SwapSettings, say: Callable[[str], None] = lambda line: None, run: Run = run_swaps
) -> dict[str, Any]:
    """Measure swaps; the contract's JSON object.

    Args:
        settings: what is measured.
        say: told what is going on.
        run: what runs it.

    Raises:
        IsoglossError: the server did not start, or the prompts cannot be told apart.
    """
    result = run(settings, say)
    ratio = result["p99_with_vs_without_swaps"]
    return {
        "bench": "swap",
        **hardware_and_versions(),
        "settings": asdict(settings),
        "results": [result],
        "ratios": {settings.server.model: {"p99_with_vs_without_swaps": ratio}},
    }


def swap_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """The table of `bench swap`."""
    (result,), settings = report["results"], report["settings"]
    swaps = result["swaps"]
    took = swaps["latency_ms"]
    table = PlainTable(
        title=f"{result['model']}, {settings['server']['replicas']} replicas, "
        f"{settings['clients']} clients: {swaps['done']} swaps, {swaps['per_s']:g} a second, "
        f"p50 {took['p50']:.0f} ms, p99 {took['p99']:.0f} ms",
        caption=f"{result['failed']} requests or publishes failed; every answer was compared with "
        f"its digest's scores (allowed: {result['tolerance']:.3g}; the prompts are at least "
        f"{result['least_separation']:.3g} apart); p99 with swaps is "
        f"{result['p99_with_vs_without_swaps']:.2f} times that without",
    )
    table.add_column("")
    for heading in ("requests", "requests/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed"):
        table.add_column(heading, justify="right")
    for way in ("with_swaps", "without_swaps"):
        own = result[way]
        times = [f"{own['latency_ms'][name]:.1f}" for name in ("p50", "p95", "p99", "max")]
        table.add_row(
            way.replace("_", " "),
            *(f"{own['requests']}", f"{own['requests_per_s']:.0f}", *times, f"{own['failed']}"),
        )
    return [table]
