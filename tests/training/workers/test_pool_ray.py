"""Jobs on real Ray workers: processes that are killed, fail, and are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidData, InvalidInput, NotFound, Unavailable
from isogloss.training.workers.pool import run_units
from isogloss.training.workers.units import ModelSpec, PoolSpec
from tests import hostile_folder
from tests.training.tiny import prompt, save_tiny, tiny, write_task
from tests.training.units import Counting, attempts, done

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[3]
_FOR_EVER_S = 3600.0


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(str(save_tiny("bloom", tmp_path_factory.mktemp("model") / "tiny")), "cpu")


def run(
    units: list[Counting], spec: ModelSpec, out: Path, workers: int = 2
) -> tuple[dict[int, int], list[str]]:
    said: list[str] = []
    finished = run_units(units, tiny("bloom"), PoolSpec(workers, spec), out=out, say=said.append)
    return dict(finished), said


@pytest.mark.usefixtures("ray")
def test_workers_share_the_units_and_load_one_model_each(spec: ModelSpec, tmp_path: Path) -> None:
    # Two that wait for each other cannot both be the first worker's, however late the second comes.
    pair = [Counting("a", tmp_path, meets="bb"), Counting("bb", tmp_path, meets="a")]
    units = [*pair, *(Counting(name, tmp_path) for name in ("ccc", "dddd", "ee"))]
    results, said = run(units, spec, tmp_path)
    assert results == {0: 1, 1: 2, 2: 3, 3: 4, 4: 2}
    assert done(tmp_path) == ["a", "bb", "ccc", "dddd", "ee"]
    processes = {pid for unit in units for pid in attempts(tmp_path, unit.name)}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert said == []
    left = {path.suffix or path.name for path in tmp_path.iterdir() if ".began." not in path.name}
    assert left == {".txt"}  # nothing of the job's own


@pytest.mark.usefixtures("ray")
def test_a_killed_workers_unit_is_done_by_another(spec: ModelSpec, tmp_path: Path) -> None:
    units = [Counting("a", tmp_path, deaths=1), Counting("b", tmp_path), Counting("c", tmp_path)]
    results, said = run(units, spec, tmp_path)
    assert results == {0: 1, 1: 1, 2: 1}
    assert done(tmp_path) == ["a", "b", "c"]
    assert len(set(attempts(tmp_path, "a"))) == 2
    assert len(said) == 1
    assert said[0].startswith("the worker of a died (")


@pytest.mark.usefixtures("ray")
@pytest.mark.soak
def test_a_unit_that_always_kills_its_worker(spec: ModelSpec, tmp_path: Path) -> None:
    units = [Counting("fatal", tmp_path, deaths=99), *(Counting(n, tmp_path) for n in "bcd")]
    with pytest.raises(Unavailable, match=r"^fatal: its worker died 3 times, at last with: \S"):
        run(units, spec, tmp_path)
    assert done(tmp_path) == ["b", "c", "d"]
    assert len(attempts(tmp_path, "fatal")) == 3


@pytest.mark.usefixtures("ray")
@pytest.mark.soak
def test_a_units_own_error_comes_out_as_it_was(spec: ModelSpec, tmp_path: Path) -> None:
    units = [
        Counting("long", tmp_path, needs="short"),
        Counting("short", tmp_path),
        Counting("bad", tmp_path, error="row 3: no label"),
        *(Counting(f"after{n}", tmp_path, seconds=0.05) for n in range(200)),
    ]
    with pytest.raises(InvalidData, match=r"^row 3: no label$") as caught:
        run(units, spec, tmp_path)
    assert type(caught.value) is InvalidData
    assert {"long", "short"} <= set(done(tmp_path))
    assert len(done(tmp_path)) < 150, "what had begun is finished, and nothing begun after that"
    assert len(attempts(tmp_path, "bad")) == 1


@pytest.mark.usefixtures("ray")
@pytest.mark.soak
def test_a_fault_in_the_program_comes_out_with_its_traceback(
    spec: ModelSpec, tmp_path: Path
) -> None:
    unit = Counting("absent/folder", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"units\.py"):
        run([unit], spec, tmp_path)


@pytest.mark.usefixtures("ray")
def test_a_model_that_is_not_on_the_workers_machine(tmp_path: Path) -> None:
    spec = ModelSpec(str(tmp_path / "absent"), "cpu")
    with pytest.raises(NotFound, match=r"^worker on \S+: "):
        run([Counting("a", tmp_path)], spec, tmp_path)


def test_ctrl_c_stops_the_workers_and_keeps_what_finished(
    ray: Any, spec: ModelSpec, tmp_path: Path
) -> None:
    units = [
        Counting("quick", tmp_path),
        *(Counting(n, tmp_path, seconds=_FOR_EVER_S) for n in "abc"),
    ]
    running = run_units(units, tiny("bloom"), PoolSpec(2, spec), out=tmp_path)
    with pytest.raises(KeyboardInterrupt), closing(running):
        press_ctrl_c_after_one(running)
    assert done(tmp_path) == ["quick"]
    assert ray.is_initialized()  # it was not the job's to stop
    give_up_s = time.monotonic() + 120
    while any(alive(pid) for name in "abc" for pid in attempts(tmp_path, name)):
        assert time.monotonic() < give_up_s
        time.sleep(0.1)


def press_ctrl_c_after_one(running: Iterator[Any]) -> None:
    next(running)
    raise KeyboardInterrupt


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.usefixtures("ray")
def test_cuda_without_a_gpu_in_the_cluster(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--device cuda: the Ray cluster has no GPU"):
        run([Counting("a", tmp_path)], ModelSpec("pocket-bloom", "cuda"), tmp_path)


@pytest.mark.usefixtures("ray")
def test_no_room_for_a_worker(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.training.workers.ray_pool._NO_WORKER_S", 2.0)
    monkeypatch.setattr("isogloss.training.workers.ray_pool.fair_share", lambda cores, workers: 64)
    with pytest.raises(Unavailable, match="no room for one within 2 s, each needing 64 CPU"):
        run([Counting("a", tmp_path)], spec, tmp_path)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """`isogloss evaluate` of two prompts on a small task, without `--out`."""
    model = save_tiny("bloom", tmp_path / "tiny")
    data = write_task(tmp_path / "home")
    (tmp_path / "prompts").mkdir()
    for seed in range(2):
        own = prompt(tiny("bloom"), seed)
        own.save(tmp_path / "prompts" / f"p{seed}.safetensors")
    options = ["--model", str(model), "--data", str(data), "--prompts", "prompts"]
    return ["evaluate", *options, "--languages", "every", "--device", "cpu", "--json"]


WAITING = """
import sys, time
import ray
def wait(*_, **__):
    print("waiting for workers", file=sys.stderr, flush=True)
    time.sleep(3600)
ray.wait = wait
"""
"""Holds a job where it spends its time, so that a signal cannot come too early or too late."""


def isogloss(folder: Path, *arguments: str, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-c",
            f"{before}\nfrom isogloss.deploy.cli import main; main()",
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_evaluate_writes_the_same_bytes_with_workers(command: list[str], tmp_path: Path) -> None:
    traps = hostile_folder.fill(tmp_path)
    alone = isogloss(tmp_path, *command, "--out", "alone.jsonl")
    shared = isogloss(tmp_path, *command, "--out", "shared.jsonl", "--workers", "2")
    answers = [process.communicate(timeout=240) for process in (alone, shared)]
    assert (alone.returncode, shared.returncode) == (0, 0), answers
    assert (tmp_path / "alone.jsonl").read_bytes() == (tmp_path / "shared.jsonl").read_bytes()
    assert answers[1][0].replace("shared.jsonl", "alone.jsonl") == answers[0][0]
    assert "starting Ray on this machine" in answers[1][1]
    assert not list(tmp_path.glob(".*.jsonl*"))
    assert hostile_folder.imported(traps) == []


@pytest.mark.soak
def test_ctrl_c_in_a_terminal_ends_evaluate_with_130(command: list[str], tmp_path: Path) -> None:
    options = ["--out", "rows.jsonl", "--workers", "2"]
    process = isogloss(tmp_path, *command, *options, before=WAITING)
    assert process.stderr is not None
    assert "starting Ray" in process.stderr.readline()
    assert process.stderr.readline() == "waiting for workers\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert "interrupted: finished languages are kept" in said
    assert "Traceback" not in said
    assert output == ""
