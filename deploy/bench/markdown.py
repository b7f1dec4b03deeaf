"""The tables of pages, made from committed results of `bench engine` and `bench scale`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isogloss.deploy.bench.scale_tables import scale_markdown
from isogloss.deploy.bench.tables import interval_text
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.texts import decode

_TITLES = {
    "bloom-560m": "BLOOM-560M",
    "bloom-1b1": "BLOOM-1B1",
    "xglm-564M": "XGLM-564M",
    "xglm-1.7B": "XGLM-1.7B",
    "qwen3-0.6b": "Qwen3-0.6B",
    "gemma3-270m": "Gemma3-270M",
}
_PEERS = {
    "transformers": "transformers",
    "peft": "PEFT",
    "peft_last_logits": "PEFT, last logits only",
    "transformers_buckets": "transformers in buckets",
    "torch_compile": "torch.compile",
    "torch_compile_int8": "torch.compile",
    "openvino": "OpenVINO",
    "openvino_int8": "OpenVINO",
    "llama_cpp": "llama.cpp",
    "llama_cpp_int8": "llama.cpp",
}
_KNOWN_BY = {"engine": "curves", "scale": "within_ms"}
"""Bench -> a setting that results of this version have."""


def read_report(file: Path) -> dict[str, Any]:
    """A result of `bench engine` or `bench scale`.

    Raises:
        InvalidInput: the file is not one.
    """
    try:
        report = json.loads(decode(file.read_bytes(), str(file)))
        if (known := _KNOWN_BY.get(report["bench"])) and known in report["settings"]:
            return dict(report)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{file}: cannot be read as a benchmark's result") from error
    raise InvalidInput(
        f"{file}: is no result of this version's bench engine or bench scale; measure again"
    )


def markdown_table(report: Mapping[str, Any]) -> str:
    """A row a measurement, a column a model; ratios with their lowest and highest round.

    Of `bench scale` a row a load, a table for each check and each cost table.
    """
    if report["bench"] == "scale":
        return scale_markdown(report)
    models = report["ratios"]
    heads = "".join(f" {_TITLES.get(model, model)} |" for model in models)
    lines = [f"| {_where(report)} |{heads}", "|---|" + "---|" * len(models)]
    rows: dict[str, dict[str, str]] = {}
    for model in models:
        for label, cell in _cells(report, model):
            rows.setdefault(label, {})[model] = cell
    for label, cells in rows.items():
        lines.append(f"| {label} |" + "".join(f" {cells.get(model, '')} |" for model in models))
    return "\n".join(lines)


def _where(report: Mapping[str, Any]) -> str:
    settings = report["settings"]
    return (
        f"{report['hardware']['name']}; {settings['ratios_at_batch_size']} texts, "
        f"{settings['prompts']} prompts"
    )


def _cells(report: Mapping[str, Any], model: str) -> Iterator[tuple[str, str]]:
    """Labels and what is measured of one model."""
    settings = report["settings"]
    at = {(r["curve"], r["x"]): r for r in report["results"] if r["model"] == model}
    if main := at.get(("batch_size", settings["ratios_at_batch_size"])):
        yield from _headline(main)
    first = f"isogloss_{settings['dtypes'][0]}"
    for (curve, x), result in at.items():
        if (label := _cost_label(curve, x, settings)) and first in result["costs"]:
            yield label, interval_text(result["costs"][first], ".2f")


def _headline(main: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, measured in main["contenders"].items():
        if name not in main["ratios"]:
            continue
        precision = measured["precision"]
        for key, ratio in main["ratios"][name].items():
            peer = key.removeprefix("vs_")
            theirs = main["contenders"][peer]["precision"]
            yield (
                f"{precision}, times faster than {_peer(peer, theirs)} ({theirs})",
                interval_text(ratio, ".2f"),
            )
        yield f"{precision}, texts a second", f"{measured['texts_per_s']['median']:,.3g}"
        if share := measured["share_of_rate"]:
            yield f"{precision}, share of the matrix-product rate", f"{share['median']:.0%}"


def _peer(name: str, precision: str) -> str:
    """A contender's library; one that does not run in the model's precision names its own."""
    return _PEERS.get(name) or _PEERS.get(name.removesuffix(f"_{precision}"), name)


def _cost_label(curve: str, x: int, settings: Mapping[str, Any]) -> str | None:
    xs = settings["curves"].get(curve, [])
    if curve == "resident_prompts" and x == settings["prompts"]:
        return f"time of a batch of {x} prompts mixed, of one with a single prompt"
    if curve == "resident_prompts" and x == max(xs):
        return f"time with {x:,} prompts in memory, of that with {min(xs)}"
    if curve == "prompts_per_text" and x == (8 if 8 in xs else max(xs)):
        return f"time with {x} prompts on each text, of that with {min(xs)}"
    if curve == "ensemble_members" and x == max(xs) > min(xs):
        return f"time of an ensemble of {x} prompts, of that of {min(xs)}"
    return None
