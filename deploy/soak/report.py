"""What a long run leaves: one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from isogloss.deploy.bench.options import write_json
from isogloss.deploy.load.machine import SERVER_PACKAGES, hardware, versions
from isogloss.prompts.console.console import print_json


def soak_report(name: str, settings: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    """One run in the shape of the benchmarks' objects.

    Args:
        name: of the run.
        settings: its settings, a dataclass.
        result: what it saw.
    """
    return {
        "soak": name,
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(*SERVER_PACKAGES),
        "settings": asdict(settings),
        "results": [dict(result)],
    }


def tell(report: Mapping[str, Any], out: Path | None) -> None:
    """Print a run, and write it.

    Raises:
        InvalidInput: it cannot be written.
    """
    if out is not None:
        write_json(report, out)
    print_json(report)
