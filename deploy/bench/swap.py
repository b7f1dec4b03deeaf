"""`isogloss bench swap`: what clients notice of swaps, and how long a swap takes.

The run is the long run `swaps`; the peer is the same server in the same run without swaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from isogloss.deploy.bench.options import Say
from isogloss.deploy.load.calibration import on_server
from isogloss.deploy.load.machine import SERVER_PACKAGES, hardware, versions
from isogloss.deploy.load.settings import SwapSettings
from isogloss.deploy.load.swaps import run_swaps

_ON_SERVER = partial(on_server, run_swaps)


def bench_swap(
    settings: SwapSettings,
    say: Say = lambda line: None,
    run: Callable[[SwapSettings, Say], dict[str, Any]] = _ON_SERVER,
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
    ratio = "p99_with_vs_without_swaps"
    return {
        "bench": "swap",
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(*SERVER_PACKAGES),
        "settings": asdict(settings),
        "results": [result],
        "ratios": {settings.server.model: {ratio: result[ratio]}},
    }
