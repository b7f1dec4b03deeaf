"""`isogloss bench dialects`: what another server's way of asking costs beside our own.

One server answers the same texts asked in each way, in turns of some seconds, round after round.
A ratio is that of neighbours in time: requests a second through a dialect, over those through
`/v1/classify` in the same round.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.deploy.bench.comparing import paired, spread, whole_report
from isogloss.deploy.bench.http_load import Load, check_client, closed_loop
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.settings import DialectSettings
from isogloss.deploy.bench.tables import interval_text, table
from isogloss.deploy.load.servers import running
from isogloss.deploy.load.settings import serve_command
from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.errors import Unavailable
from isogloss.serving.api.dialects.tensors import strings

OURS = "/v1/classify"
TEXTS = (
    "The tourists booked a hotel by the beach and visited the old town.",
    "L'équipe a gagné le match de football en finale du championnat.",
    "Watalii hukaa katika hoteli karibu na ufuo.",
    "Die Regierung hat gestern ein neues Gesetz über Wahlen beschlossen.",
    "Los científicos estudian en el laboratorio una nueva clase de robots.",
    "Iqembu lebhola liwinile emdlalweni wamanqamu.",
    "डॉक्टर ने मरीज़ को अस्पताल में दवा दी।",
    "Dokter memberi obat kepada pasien di rumah sakit kota.",
)


def bodies(model: str) -> dict[str, list[str]]:
    """Route -> the texts as it is asked for them, as `http_load.lua` reads bodies."""
    question = {"type": "predicate", "name": "travel", "instructions": "Is it about travel?"}
    asked: dict[str, list[Mapping[str, Any]]] = {
        OURS: [{"inputs": text} for text in TEXTS],
        "/v1/decisions": [{"input": text, "questions": [question]} for text in TEXTS],
        "/predict": [{"inputs": text} for text in TEXTS],
        "/classify": [{"input": text} for text in TEXTS],
        f"/v1/models/{model}:predict": [{"instances": [text]} for text in TEXTS],
    }
    written = {path: [json.dumps(body) for body in each] for path, each in asked.items()}
    return {**written, f"/v2/models/{model}/infer": [_binary(text) for text in TEXTS]}


def bench_dialects(settings: DialectSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Load every dialect in turn; the contract's JSON object.

    Raises:
        Unavailable: wrk is not installed, the server did not start, or it refused requests.
    """
    check_client("wrk")
    settings = settings.settled()
    measured: dict[str, list[Load]] = {}
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        scratch = Path(folder)
        files = {
            path: _file(scratch, path, lines) for path, lines in bodies(settings.model).items()
        }
        command = serve_command("--model", settings.model, "--port", "{port}")
        store = {"ISOGLOSS_STORE": str(scratch / "store")}
        with running(command, scratch / "server", store) as server:
            for number in range(settings.rounds + 1):  # the first warms up
                for path, file in files.items():
                    say(f"round {number} of {settings.rounds}: {path} ...")
                    load = _load(server.url + path, file, settings)
                    if number:
                        measured.setdefault(path, []).append(load)
    rows = [_row(path, measured) for path in measured]
    result = {"model": settings.model, "dialects": rows}
    ratios = {row["route"]: row["vs_classify"]["median"] for row in rows}
    return whole_report("dialects", settings, [result], {settings.model: ratios}, "ray", "fastapi")


def dialect_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """The table of `bench dialects`."""
    (result,), settings = report["results"], report["settings"]
    return [
        table(
            f"{result['model']}, {settings['connections']} connections",
            f"medians of {settings['rounds']} rounds of {settings['seconds']:g} s; beside "
            f"{OURS}: of neighbours in time, with the median's 95 % interval",
            ["route"],
            ["requests/s", "p50 ms", "p99 ms", f"beside {OURS}"],
            (
                [
                    row["route"],
                    f"{row['requests_per_s']['median']:.0f}",
                    f"{row['p50_ms']['median']:.1f}",
                    f"{row['p99_ms']['median']:.1f}",
                    interval_text(row["vs_classify"], ".3f"),
                ]
                for row in result["dialects"]
            ),
        )
    ]


def _binary(text: str) -> str:
    packed = strings([text])
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES"}
    about = {**tensor, "parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [about], "parameters": {"binary_data_output": True}}).encode()
    return f"hex:{len(head)}:{(head + packed).hex()}"


def _file(scratch: Path, path: str, lines: list[str]) -> Path:
    file = scratch / f"{path.strip('/').replace('/', '-').replace(':', '-')}.bodies"
    file.write_text("\n".join(lines) + "\n", encoding="ascii")
    return file


def _load(url: str, file: Path, settings: DialectSettings) -> Load:
    load = closed_loop(url, file, settings.connections, settings.seconds)
    if load.refused or load.broken:
        raise Unavailable(f"{url}: {load.refused} requests were refused, {load.broken} broke")
    return load


def _row(path: str, measured: Mapping[str, Sequence[Load]]) -> dict[str, Any]:
    own = measured[path]
    rates = [each.requests_per_s for each in own]
    beside = [rate / each.requests_per_s for rate, each in zip(rates, measured[OURS], strict=True)]
    return {
        "route": path,
        "requests_per_s": spread(rates),
        "p50_ms": spread([each.p50_ms for each in own]),
        "p99_ms": spread([each.p99_ms for each in own]),
        "vs_classify": paired(beside),
    }
