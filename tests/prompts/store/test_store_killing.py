"""Whatever a process was doing to a store when it was killed, the store is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prompts.store_processes import run_processes

KILLING = "tests.prompts.store_killing"


def test_a_process_killed_at_a_sample_of_system_calls_leaves_nothing(tmp_path: Path) -> None:
    assert run_processes("every", tmp_path, "7", of=KILLING) > 25


def test_publishers_killed_among_others_leave_nothing(tmp_path: Path) -> None:
    assert run_processes("storm", tmp_path, "20", of=KILLING) == 20


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_process_killed_at_every_system_call_leaves_nothing(tmp_path: Path) -> None:
    assert run_processes("every", tmp_path, "1", of=KILLING, timeout_s=800) >= 200


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_three_hundred_publishers_killed_among_others_leave_nothing(tmp_path: Path) -> None:
    assert run_processes("storm", tmp_path, "300", of=KILLING, timeout_s=800) == 300
