"""All that wants a GPU, in one command of ten minutes: `make gpu`, or this module with `-m`.

The most valuable first, each step in a process of its own with a limit of its own; what it measured
is saved before the next begins. A step that fails says what to look at, and the next goes on. Run
again, only what is missing is run: a result counts while the sources and the settings are the same.
Needs no network.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from isogloss.deploy.bench.options import write_json
from isogloss.prompts.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]
_DATA = "shared/data/sib200"
RESULTS = Path(__file__).resolve().parent / "results"
_README = "prompts/model/cuda/README.md, the table at 'First commands on a GPU'"
_SHOWN_LINES = 12
_LEAST_S = 10
_PATIENCE = 3  # with processors that rehearse and do other things, too


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement."""

    name: str
    limit_s: float
    look_at: str
    needs: tuple[str, ...] = ("psutil", "scipy")


_ENGINE = f"{_README}; deploy/bench/compiled_peers.py if it was a peer"
STEPS = (
    Step("tests", 150, _README, ("pytest",)),
    Step("engine-bloom-560m", 130, _ENGINE),
    Step("engine-xglm-564M", 110, _ENGINE),
    Step("engine-bloom-1b1", 60, _ENGINE),
    Step("engine-xglm-1.7B", 70, _ENGINE),
    Step("one-text", 50, "prompts/model/cuda/plan.py and inputs.py: the host's part of a batch"),
    Step("memory", 50, "prompts/model/cuda/capture.py: the pool of the largest graph"),
    Step("precision", 60, "prompts/model/cuda/fp8.py", ("psutil", "tokenizers")),
    Step("train", 90, "deploy/bench/trainers.py; training/tuning", ("psutil", "peft")),
    Step("serve", 120, "serving/ray; the server's log above", ("psutil", "ray", "fastapi")),
    Step("profile", 45, "deploy/bench/gpu_steps.py", ()),
)


@dataclass(frozen=True, slots=True)
class Day:
    """Where a run writes, and what it may take."""

    out: Path
    rehearse: bool
    data: Path | None

    def file(self, step: str) -> Path:
        """A step's result."""
        return self.out / f"{step}-cuda.json"

    def key(self) -> dict[str, Any]:
        """What a result must have been made with to count."""
        return {"sources": sources(), "rehearsal": self.rehearse}

    def command(self, step: Step) -> list[str]:
        """Runs one step in this process's Python."""
        command = [sys.executable, "-m", "isogloss.deploy.bench.gpu_day", "--step", step.name]
        command += ["--out", str(self.out), *(["--rehearse"] if self.rehearse else [])]
        return command + (["--data", str(self.data)] if self.data else [])


def sources() -> str:
    """A digest of every source file of ours: a commit's, and of what was changed since."""
    digest = sha256()
    for room in ("prompts", "serving", "training", "deploy"):
        for file in sorted((ROOT / room).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def run_day(day: Day, steps: Sequence[Step], seconds: float, say: Callable[[str], None]) -> int:
    """Every step within so many seconds.

    Returns:
        How many did not give a result.
    """
    day.out.mkdir(parents=True, exist_ok=True)
    end_s, missing, key = time.monotonic() + seconds, 0, day.key()
    for step in steps:
        before_s = time.monotonic()
        said = _told(day, step, key, end_s - before_s)
        missing += not said.startswith("ok")
        say(f"==> {step.name}: {said} ({time.monotonic() - before_s:.0f} s)")
        if said.startswith("ok"):
            say(json.loads(day.file(step.name).read_text(encoding="utf-8"))["table"])
    _join_engines(day, key)
    say(f"==> {len(steps) - missing} of {len(steps)} steps have results in {day.out}")
    return missing


def _told(day: Day, step: Step, key: Mapping[str, Any], left_s: float) -> str:
    """Run a step if it is due, and say in a line what came of it."""
    if _result(day, step.name, key) is not None:
        return "ok, measured before"
    if absent := [need for need in step.needs if find_spec(need) is None]:
        return f"skipped: {', '.join(absent)} is not installed"
    if step.name == "precision" and day.data is None:
        return "skipped: labels need sentences; name SIB-200's folder with --data"
    if left_s < _LEAST_S:
        return "skipped: no time is left; run again, what is done stays"
    limit_s = min(step.limit_s * (_PATIENCE if day.rehearse else 1), left_s)
    log = day.out / f"{step.name}-cuda.log"
    with log.open("wb") as output:
        code = _bounded(day.command(step), output, limit_s)
    if code == 0:
        return "ok"
    reason = f"not done within {limit_s:.0f} s" if code is None else f"failed with status {code}"
    end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    return "\n    ".join([f"{reason}; look at {step.look_at}. The end of {log}:", *end])


def _bounded(command: Sequence[str], output: Any, limit_s: float) -> int | None:
    """A command's status; None where it took too long, and with all that it started was ended."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """First as Ctrl-C does, so that servers are stopped; then whatever is left of the group."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None or number == signal.SIGKILL:
            try:
                os.killpg(process.pid, number)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _result(day: Day, step: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = json.loads(day.file(step).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if report.get("gpu_day") == key else None


def _join_engines(day: Day, key: Mapping[str, Any]) -> None:
    """All models of `engine-*` in one report, of which the documentation's table is made."""
    found = [
        report
        for step in STEPS
        if step.name.startswith("engine-") and (report := _result(day, step.name, key))
    ]
    if found:
        whole = {**found[0], "results": [], "ratios": {}}
        for report in found:
            whole["results"] += report["results"]
            whole["ratios"] |= report["ratios"]
        whole["settings"] = {**whole["settings"], "models": list(whole["ratios"])}
        write_json(whole, day.file("engine"))


app = typer.Typer(help=__doc__)


@app.command()
def main(
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="All of it on the CPU, with tiny models.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results. (default: deploy/bench/results)")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Repeatable: {', '.join(s.name for s in STEPS)}.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="For all of it.")] = 10,
    data: Annotated[
        Path | None,
        typer.Option(help=f"SIB-200 as folders of TSV, for labels. (default: {_DATA}, if there)"),
    ] = None,
    step: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure everything that wants a GPU."""
    out = (out or (Path("build/gpu-rehearsal") if rehearse else RESULTS)).resolve()
    beside = (folder / _DATA for folder in (ROOT, ROOT.parent) if (folder / _DATA).is_dir())
    day = Day(out, rehearse, data.resolve() if data else next(beside, None))
    if step is not None:
        from isogloss.deploy.bench.gpu_steps import measured

        write_json(
            {**measured(step, rehearse, day.data, out), "gpu_day": day.key()}, day.file(step)
        )
        return
    if unknown := set(only or ()) - {each.name for each in STEPS}:
        raise InvalidInput(f"--only {min(unknown)!r}: name one of {[s.name for s in STEPS]}")
    _refuse_without_gpu(rehearse)
    steps = [each for each in STEPS if not only or each.name in only]
    raise typer.Exit(1 if run_day(day, steps, minutes * 60, typer.echo) else 0)


def _refuse_without_gpu(rehearse: bool) -> None:
    """Say so at once.

    Raises:
        InvalidInput: torch sees no GPU, and this is no rehearsal.
    """
    import torch

    if not rehearse and not torch.cuda.is_available():
        raise InvalidInput("torch sees no GPU; --rehearse runs all of it on the CPU")


if __name__ == "__main__":
    try:
        app()
    except InvalidInput as error:
        sys.exit(f"error: {error}")
