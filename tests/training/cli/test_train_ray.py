"""`train` and `study` on real Ray workers: the same prompts and tables, also when a worker dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.job import Job, run_job
from isogloss.training.tuning.trainer import Silent
from isogloss.training.workers.units import ModelSpec, PoolSpec
from tests import hostile_folder
from tests.training.tiny import save_tiny, tiny, write_task

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def configs(epochs: int) -> tuple[TrainingConfig, ...]:
    own = {"task": "home", "shots": 4, "length": 3, "learning_rate": 0.03, "epochs": epochs}
    seeds = [{"seed": seed, "reparameterization": kind} for seed in (0, 1) for kind in KINDS]
    return tuple(configure(tiny("bloom"), {**own, **seed}) for seed in seeds)


KINDS = ("none", "residual")


@pytest.mark.usefixtures("ray")
@pytest.mark.soak
def test_killed_workers_populations_end_with_the_prompts_of_an_undisturbed_job(
    tmp_path: Path,
) -> None:
    """A worker is killed when the first state is on disk: its population goes on from there."""
    model = str(save_tiny("bloom", tmp_path / "tiny"))
    data = str(write_task(tmp_path / "home"))
    spec = ModelSpec(model, "cpu")
    loaded = spec.load()
    here, there = (
        Job(data=data, out=tmp_path / out, configs=configs(60), population=2)
        for out in ("here", "there")
    )
    alone = {own.name: own for own in run_job(loaded, here, Silent())}
    killed: list[int] = []
    killer = threading.Thread(target=_kill_a_worker, args=(tmp_path / "there", killed))
    killer.start()
    said: list[str] = []
    workers = PoolSpec(2, spec)
    shared = list(run_job(loaded, there, Silent(), workers, said.append))
    killer.join()
    assert killed, "no worker was killed: the job was over too soon"
    assert any("died" in line for line in said)
    assert {own.name for own in shared} == set(alone)
    for own in shared:
        assert own.path is not None
        vectors = SoftPrompt.load(own.path).vectors
        expected = SoftPrompt.load(tmp_path / "here" / own.path.name).vectors
        torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=1e-3)
    assert not list((tmp_path / "there").glob("*.state.safetensors"))


@pytest.mark.soak
@pytest.mark.parametrize("command", ["train", "study"])
def test_workers_of_a_command_import_nothing_from_its_folder(
    ray: Any, tmp_path: Path, command: str
) -> None:
    folder, out = tmp_path / "work", tmp_path / "out"
    traps = hostile_folder.fill(folder)
    model = save_tiny("bloom", tmp_path / "tiny")
    data = write_task(tmp_path / "home")
    options = {
        "train": ["--source", "eng_Latn"],
        "study": ["--only", "figure2", "--languages", "eng_Latn,fra_Latn", "--no-unfrozen"],
    }
    runs = ["--shots", "2", "--length", "2", "--epochs", "1", "--seed", "0", "1"]
    where = ["--model", str(model), "--data", str(data), "--task", "home", "--out", str(out)]
    address = ray.get_runtime_context().gcs_address
    shared = ["--workers", "2", "--ray-address", address, "--population", "1", "--json"]
    ran = subprocess.run(
        [
            *(sys.executable, "-P", "-c", "from isogloss.deploy.cli import main; main()", command),
            *(*options[command], *runs, *where, *shared),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)
    assert len(list(out.rglob("*.safetensors"))) == 2
    assert hostile_folder.imported(traps) == []


def _kill_a_worker(out: Path, killed: list[int]) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until and not killed:
        if list(out.glob("*.state.safetensors")):
            for pid in _workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        time.sleep(0.01)


def _workers() -> list[int]:
    """Processes of this test's Ray that hold a model, and of nobody else's."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if " ".join(process.cmdline()).startswith("ray::Worker.run"):
                found.append(process.pid)
    return found
