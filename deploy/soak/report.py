"""What a long run leaves: one JSON object, for memory a table and a figure beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isogloss.deploy.load.server import hardware_and_versions
from isogloss.deploy.soak.memory import series_csv
from isogloss.prompts.console.console import print_json
from isogloss.training.files import write_atomically


def soak_report(name: str, settings: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    """One run in the shape of the benchmarks' objects.

    Args:
        name: of the run.
        settings: its settings, a dataclass.
        result: what it saw.
    """
    about = {"soak": name, **hardware_and_versions()}
    return {**about, "settings": asdict(settings), "results": [dict(result)]}


def tell(report: Mapping[str, Any], out: Path | None) -> None:
    """Print a run, without its series, and write all of it.

    Raises:
        InvalidInput: it cannot be written.
    """
    if out is not None:
        write(report, out)
    print_json(without_series(report))


def write(report: Mapping[str, Any], out: Path) -> None:
    """Write a run: `out`, and where there is a series the same name with .csv and .svg.

    Raises:
        InvalidInput: it cannot be written.
    """
    write_atomically(out, (json.dumps(without_series(report), indent=2) + "\n").encode())
    for result in report["results"]:
        if "series" in result:
            from isogloss.deploy.soak.memory_figure import draw

            write_atomically(out.with_suffix(".csv"), series_csv(result["series"]).encode())
            draw(result["series"], out.with_suffix(".svg"))


def without_series(report: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is long."""
    results = [
        {name: value for name, value in result.items() if name != "series"}
        for result in report["results"]
    ]
    return {**report, "results": results}
