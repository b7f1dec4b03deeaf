"""What the README promises, on the real server: Ray Serve, HAProxy, the pocket model, its prompts.

Each run prints what it saw, and leaves it as JSON in $ISOGLOSS_SOAK_OUT where that is set. A share
of the full length can be run with $ISOGLOSS_SOAK_SHARE, such as 0.1: for developing, not for
showing anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isogloss.deploy.load.calibration import on_server
from isogloss.deploy.load.settings import SwapSettings
from isogloss.deploy.load.swaps import run_swaps
from isogloss.deploy.soak.hostile import HostileSettings, run_hostile
from isogloss.deploy.soak.kills import KillSettings, run_kills
from isogloss.deploy.soak.memory import MemorySettings, run_memory
from isogloss.deploy.soak.overload import OverloadSettings, run_overload
from isogloss.deploy.soak.report import soak_report, tell

SHARE = float(os.environ.get("ISOGLOSS_SOAK_SHARE", "1"))
REFUSAL_MS = 50.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.soak,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the server's processes by /proc"),
]

Keep = Callable[[str, Any, dict[str, Any]], None]


@pytest.fixture
def keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Keep:
    """Print a run and write it down, before anything is asserted of it."""
    folder = Path(os.environ.get("ISOGLOSS_SOAK_OUT") or tmp_path)

    def write(name: str, settings: Any, result: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with capsys.disabled():
            print(f"\n{name}:")
            tell(soak_report(name, settings, result), folder / f"{name}.json")

    return write


def say(line: str) -> None:
    print(line, file=sys.stderr)


def test_a_thousand_swaps_under_32_clients(keep: Keep) -> None:
    settings = SwapSettings(swaps=max(10, int(1000 * SHARE)))
    result = on_server(run_swaps, settings, say)
    keep("swaps", settings, result)
    assert result["failed"] == 0
    assert result["swaps"]["done"] == settings.swaps
    assert result["p99_with_vs_without_swaps"] < 1.3


def test_a_replica_is_killed_every_ten_seconds(keep: Keep) -> None:
    settings = KillSettings(seconds=max(40.0, 120 * SHARE))
    result = on_server(run_kills, settings, say)
    keep("kills", settings, result)
    assert result["kills"]
    assert result["failed"] == 0
    assert {kill["generation"] for kill in result["kills"]} == {result["generation"]}


def test_four_times_the_load_for_a_minute(keep: Keep) -> None:
    settings = OverloadSettings(seconds=max(10.0, 60 * SHARE))
    result = on_server(run_overload, settings, say)
    keep("overload", settings, result)
    storm = result["storm"]
    assert result["failed"] == 0
    assert storm["let_in_ms"]["p99"] < 2 * settings.deadline_ms
    assert storm["late_share"] < 0.02
    assert storm["refused_ms"]["p99"] < REFUSAL_MS
    assert storm["answered_per_s"] > 0.6 * result["sustainable"]["requests_per_s"]
    assert result["recovery"]["recovered_after_s"] < 2 * settings.deadline_ms / 1000


def test_a_hundred_hostile_bodies_on_every_route(keep: Keep) -> None:
    settings = HostileSettings(bodies=max(10, int(100 * SHARE)))
    result = on_server(run_hostile, settings, say)
    keep("hostile", settings, result)
    assert result["failed"] == 0
    assert result["longest_ms"] < 1000
    assert result["added_mib"] < 200
    assert result["other_client"]["beside"]["latency_ms"]["p99"] < 200


def test_half_an_hour_with_a_swap_every_second(keep: Keep) -> None:
    minutes = max(2.0, 30 * SHARE)
    settings = MemorySettings(minutes=minutes, settle_minutes=minutes / 6)
    result = on_server(run_memory, settings, say)
    keep("memory", settings, result)
    assert result["failed"] == 0
    assert result["growth"]["replica"]["percent"] < 2
    assert result["growth"]["all"]["percent"] < 2
