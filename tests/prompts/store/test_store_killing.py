"""Whatever a process was doing to a store when it was killed, the store is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(what: str, folder: Path, count: int, timeout_s: float = 120) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.prompts.store_killing", what, str(folder), str(count)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_process_killed_at_a_sample_of_system_calls_leaves_nothing(tmp_path: Path) -> None:
    assert run("every", tmp_path, 7) > 25


def test_publishers_killed_among_others_leave_nothing(tmp_path: Path) -> None:
    assert run("storm", tmp_path, 20) == 20


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_process_killed_at_every_system_call_leaves_nothing(tmp_path: Path) -> None:
    assert run("every", tmp_path, 1, 800) >= 200


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_three_hundred_publishers_killed_among_others_leave_nothing(tmp_path: Path) -> None:
    assert run("storm", tmp_path, 300, 800) == 300
