"""What each step of `gpu_day` measures, at full size or rehearsed with tiny models."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from isogloss.deploy.bench.texts import Workload, workload

Report = dict[str, Any]
_TABLE2 = ("bloom-560m", "bloom-1b1", "xglm-564M", "xglm-1.7B")
_COMPILED_OF = ("bloom-560m", "xglm-564M")  # compiling transformers takes most of a minute
_SMALL = {
    "n_layer": 2,
    "num_layers": 2,
    "n_head": 4,
    "attention_heads": 4,
    "hidden_size": 64,
    "d_model": 64,
    "ffn_dim": 128,
    "vocab_size": 2000,
}
_ROWS = 25


def measured(step: str, rehearse: bool, data: Path | None, out: Path) -> Report:
    """One step's report, with the table that people see under `table`."""
    if step.startswith("engine-"):
        return _engine(step.removeprefix("engine-"), rehearse)
    if step == "precision":
        return _precision(rehearse, data)
    if step == "profile":
        return _profile(rehearse, out)
    return _OTHERS[step](rehearse)


def small_model(name: str, seed: int, device: torch.device, dtype: torch.dtype) -> Any:
    """An architecture of Table 2 with two small layers."""
    from isogloss.prompts.model.full_size import full_size_config, random_model

    config = full_size_config(name)
    for field, value in _SMALL.items():
        if hasattr(config, field):
            setattr(config, field, value)
    return random_model(config, seed, device=device, dtype=dtype)


def _making(rehearse: bool) -> Any:
    from isogloss.deploy.bench.comparing import full_size_model

    return small_model if rehearse else full_size_model


def _tests(rehearse: bool) -> Report:
    """The tests that need a GPU, without pytest's configuration, which wants plug-ins."""
    folder = Path(__file__).resolve().parents[2] / "tests/prompts/model/cuda"
    files = [str(folder / name) for name in ("test_device.py", "test_ladder.py")]
    how = ["-c", "/dev/null", "--rootdir", str(folder.parents[3]), "--noconftest", "-q", "-ra"]
    options = [*how, "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=folder.parents[3],
        text=True,
        capture_output=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    if done.returncode:
        raise SystemExit(done.returncode)
    return {"bench": "tests", "table": done.stdout.strip().splitlines()[-1]}


def _engine(name: str, rehearse: bool, sizes: tuple[int, ...] = (32, 256)) -> Report:
    from isogloss.deploy.bench.engine import bench_engine
    from isogloss.deploy.bench.engine_settings import EngineSettings
    from isogloss.deploy.bench.markdown import markdown_table

    peers = ["transformers", "transformers_buckets"]
    if name in _COMPILED_OF and not rehearse and len(sizes) > 1:
        peers.append("torch_compile")
    settings = EngineSettings(
        models=(name,),
        device="cpu" if rehearse else "cuda",
        threads=1 if rehearse else None,
        dtypes=("float32",) if rehearse else ("bfloat16",),
        curves=("batch_size",),
        batch_sizes=(1, 4) if rehearse else sizes,
        peers=tuple(peers),
        rounds=2 if rehearse else 5,
        seconds=0.0 if rehearse else 2.0,
    )
    report = bench_engine(settings, _say, _making(rehearse))
    return {**report, "table": markdown_table(report)}


def _one_text(rehearse: bool) -> Report:
    report = _engine(_TABLE2[0], rehearse, (1,))
    own = report["results"][0]["contenders"]
    lines = [f"{name}: {1000 * each['seconds']['p50']:.2f} ms" for name, each in own.items()]
    return {**report, "bench": "one_text", "table": "\n".join(lines)}


def _memory(rehearse: bool) -> Report:
    """Weights, graphs and activations of 32 texts: what each adds to the device."""
    from isogloss.deploy.load.machine import hardware, versions

    device, dtype = _where(rehearse)
    making = _making(rehearse)
    rows = [
        {"model": name, **_peaks(name, making(name, 0, torch.device("cpu"), dtype), device)}
        for name in _TABLE2
    ]
    what = {"hardware": hardware(device), "versions": versions(), "results": rows}
    return {"bench": "memory", **what, "table": "\n".join(map(str, rows))}


@torch.inference_mode()
def _peaks(name: str, model: Any, device: torch.device) -> Report:
    from isogloss.deploy.bench.contenders import make_backbone
    from isogloss.deploy.bench.peers import Isogloss, Transformers
    from isogloss.deploy.load.machine import peak_of

    weight = model.get_input_embeddings().weight
    work = _work(weight.shape[1], model.config.vocab_size)
    batch = next(work.batches(32))

    def ours() -> Any:
        made = Isogloss(make_backbone(model, name, weight.dtype, device), work)
        return made, made.score(batch).cpu()

    def theirs() -> Any:
        made = Transformers(model.to(device), work)
        return made, made.score(batch).cpu()

    return {
        "isogloss_bytes": peak_of(ours, device)[1],
        "transformers_bytes": peak_of(theirs, device)[1],
    }


def _where(rehearse: bool) -> tuple[torch.device, torch.dtype]:
    if rehearse:
        return torch.device("cpu"), torch.float32
    return torch.device("cuda"), torch.bfloat16


def _work(hidden_size: int, vocab_size: int) -> Workload:
    return workload(
        prompts=8, prompt_length=10, hidden_size=hidden_size, vocab_size=vocab_size, seed=0
    )


def _precision(rehearse: bool, data: Path | None) -> Report:
    from isogloss.deploy.bench.accuracy import bench_precision, precision_tables
    from isogloss.deploy.bench.settings import PrecisionSettings

    settings = PrecisionSettings(
        models=("pocket-bloom",) if rehearse else ("pocket-bloom", "pocket-xglm"),
        precisions=("bfloat16",) if rehearse else ("bfloat16", "fp8"),
        device="cpu" if rehearse else "cuda",
        threads=1 if rehearse else None,
        data=str(data),
        languages="eng_Latn" if rehearse else "all",
        sentences=4 if rehearse else 20,
    )
    return _shown(bench_precision(settings, _say), precision_tables)


def _train(rehearse: bool) -> Report:
    from isogloss.deploy.bench.settings import TrainSettings
    from isogloss.deploy.bench.tables import train_tables
    from isogloss.deploy.bench.train import bench_train

    settings = TrainSettings(
        models=_TABLE2[:1],
        device="cpu" if rehearse else "cuda",
        threads=1 if rehearse else None,
        population=2 if rehearse else 16,
        rounds=1 if rehearse else 2,
    )
    return _shown(bench_train(settings, _say, _making(rehearse)), train_tables)


def _serve(rehearse: bool) -> Report:
    from isogloss.deploy.bench.http import bench_http
    from isogloss.deploy.bench.settings import HttpSettings
    from isogloss.deploy.bench.tables import http_tables

    settings = HttpSettings(
        models=("pocket-bloom",) if rehearse else ("bloom-560m",),
        device="cpu" if rehearse else "cuda",
        threads=1 if rehearse else None,
        concurrency=(2,) if rehearse else (32, 256),
        seconds=1.0 if rehearse else 5.0,
        rounds=1,
        client="wrk" if shutil.which("wrk") else "python",
    )
    return _shown(bench_http(settings, _say, _making(rehearse)), http_tables)


@torch.inference_mode()
def _profile(rehearse: bool, out: Path) -> Report:
    """Where 32 texts' time goes: the operators' table, and a trace for chrome://tracing."""
    from torch.profiler import ProfilerActivity, profile

    from isogloss.deploy.bench.contenders import make_backbone
    from isogloss.deploy.bench.peers import Isogloss

    device, dtype = _where(rehearse)
    model = _making(rehearse)(_TABLE2[0], 0, device, dtype)
    backbone = make_backbone(model, _TABLE2[0], dtype, device)
    work = _work(backbone.hidden_size, backbone.vocab_size)
    ours, batch = Isogloss(backbone, work), next(work.batches(32))
    ours.score(batch).cpu()
    kinds = [ProfilerActivity.CPU, *([] if rehearse else [ProfilerActivity.CUDA])]
    with profile(activities=kinds) as profiled:
        for _ in range(3):
            ours.score(batch).cpu()
    trace = out / "profile-cuda-trace.json"
    profiled.export_chrome_trace(str(trace))
    with gzip.open(f"{trace}.gz", "wb") as small:
        small.write(trace.read_bytes())
    trace.unlink()
    order = "self_cpu_time_total" if rehearse else "self_device_time_total"
    table = profiled.key_averages().table(sort_by=order, row_limit=_ROWS, max_name_column_width=50)
    return {"bench": "profile", "texts": 32, "batches": 3, "table": table}


def _shown(report: Report, tables: Callable[[Report], list[Any]]) -> Report:
    from io import StringIO

    from rich.console import Console

    written = StringIO()
    console = Console(file=written, width=160)
    for table in tables(report):
        console.print(table)
    return {**report, "table": written.getvalue()}


def _say(line: str) -> None:
    print(line, flush=True)


_OTHERS: dict[str, Callable[[bool], Report]] = {
    "tests": _tests,
    "one-text": _one_text,
    "memory": _memory,
    "train": _train,
    "serve": _serve,
}
