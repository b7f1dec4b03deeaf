"""A server that has lost its cluster says so and ends; one that is told to end does so in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import Unavailable
from isogloss.serving.ray import cluster_watch as module
from isogloss.serving.ray.cluster_watch import ClusterWatch, watched

PATIENCE_S = 60


class NoReaper:
    """Watches over nothing."""

    def __init__(self, folder: Path, last_command: object = ()) -> None:
        self.closed = 0

    def marking(self) -> Any:
        return threading.Lock()

    def revive(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


class Cluster:
    """One whose parts end when a test says so."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.abandoned: list[int] = []
        self.left: list[int] = []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    state = Cluster()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(module, "_POLL_S", 0.001)
    monkeypatch.setattr(module, "Reaper", NoReaper)
    monkeypatch.setattr(module, "abandon", state.abandoned.append)
    monkeypatch.setattr(module, "leave", state.left.append)
    monkeypatch.setattr(
        module,
        "ClusterWatch",
        lambda reaper: ClusterWatch(reaper, lambda: state.missing, lambda: 0.01),
    )
    yield state
    signal.signal(signal.SIGINT, handler)


def test_a_lost_cluster_ends_whatever_the_main_thread_waits_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    with (  # noqa: PT012
        pytest.raises(Unavailable, match=r"lost its Ray cluster \(gcs_server ended\).*start it"),
        watched(tmp_path) as watch,
    ):
        with watch.starting():
            pass
        with watch.until_asked():
            cluster.missing = ["gcs_server"]
            assert threading.Event().wait(PATIENCE_S), "it was not interrupted"
    assert cluster.abandoned == [], "who was connected does that"


def test_what_comes_back_in_time_is_not_lost(cluster: Cluster, tmp_path: Path) -> None:
    looked = threading.Event()
    answers = iter([["its GCS"], []])

    def missing() -> list[str]:
        found = next(answers, None)
        if found is None:
            looked.set()
        return found or []

    reaper: Any = NoReaper(tmp_path)
    watch = ClusterWatch(reaper, missing, lambda: 0.0 if looked.is_set() else 1e9)
    with watch.starting():
        pass
    assert looked.wait(PATIENCE_S)
    watch.close()
    watch.check()


def test_ctrl_c_is_no_loss(cluster: Cluster, tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        watched(tmp_path) as watch,
        watch.starting(),
        watch.until_asked(),
    ):
        signal.raise_signal(signal.SIGINT)
    assert watch.problem is None
    assert cluster.abandoned == []


def test_a_cluster_that_goes_while_it_stops_is_not_waited_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Whoever ends all processes at once asked for the end: it is no failure."""
    with pytest.raises(KeyboardInterrupt), watched(tmp_path) as watch:  # noqa: PT012
        with watch.starting():
            pass
        try:
            with watch.until_asked():
                signal.raise_signal(signal.SIGINT)
        finally:
            cluster.missing = ["raylet"]
            assert threading.Event().wait(PATIENCE_S), "it was not interrupted"
    assert watch.problem is None
    assert cluster.abandoned == [0]


def test_stopping_does_not_take_for_ever(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STOP_S", 0.01)
    with pytest.raises(KeyboardInterrupt), watched(tmp_path) as watch:  # noqa: PT012
        with watch.starting(), watch.until_asked():
            pass
        assert threading.Event().wait(PATIENCE_S), "it was not interrupted"
    assert watch.problem is None
    assert cluster.abandoned == [0]


@pytest.mark.parametrize("asked", [True, False])
def test_who_cannot_be_interrupted_is_left(
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: bool,
) -> None:
    """The main thread may be in C code that goes on waiting."""
    monkeypatch.setattr(module, "_LEAVE_S", 0.01)
    interrupted, left = threading.Event(), threading.Event()
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())

    def leave(code: int) -> None:
        cluster.left.append(code)
        left.set()

    monkeypatch.setattr(module, "leave", leave)
    with watched(tmp_path) as watch:
        with watch.starting():
            pass
        if asked:
            with watch.until_asked():
                pass
        cluster.missing = ["raylet"]
        assert left.wait(PATIENCE_S)
        assert interrupted.wait(PATIENCE_S)
    assert cluster.left == [0 if asked else 1]
    assert ("lost its Ray cluster" in capsys.readouterr().err) == (not asked)


@pytest.mark.parametrize("code", [0, 1])
def test_an_abandoned_cluster_is_not_asked_for_leave(code: int) -> None:
    script = f"""
import atexit, os
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
from isogloss.prompts.cluster.loss import abandon
abandon({code})
print("said", end="")
raise SystemExit(3)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "said"), done.stderr
