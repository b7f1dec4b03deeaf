"""What is left of a server whose command ends, however it ends: nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isogloss.serving.ray.reaper import MARK_VARIABLE, Reaper, end_all, processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

PATIENCE_S = 60
SLEEPER = "import time; time.sleep(600)"
# A server's process that leaves its parent, its session and its group, as HAProxy may.
RUNAWAY = f"""
import subprocess, sys
started = subprocess.Popen(
    [sys.executable, "-c", {SLEEPER!r}], start_new_session=True, stdout=subprocess.DEVNULL
)
print(started.pid, flush=True)
"""
# Started under nohup, as a long run of the tests may be, it would not hear SIGHUP.
COMMAND = f"""
import signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from isogloss.serving.ray.reaper import Reaper
reaper = Reaper(Path(sys.argv[1]), sys.argv[2:])
with reaper.marking():
    runaway = subprocess.run(
        [sys.executable, "-c", {RUNAWAY!r}], stdout=subprocess.PIPE, text=True, check=True
    )
print(reaper._process.pid, runaway.stdout.split()[0], flush=True)
time.sleep(600)
"""


@dataclass
class Command:
    process: subprocess.Popen[str]
    reaper: int
    runaway: int
    folder: Path


@contextlib.contextmanager
def command(folder: Path, *last_command: str) -> Iterator[Command]:
    """A command with a process of its own that has nothing to do with it any more."""
    folder.mkdir()
    (folder / "token").write_text("secret", encoding="ascii")
    arguments = [sys.executable, "-c", COMMAND, str(folder), *last_command]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            reaper, runaway = (int(word) for word in process.stdout.readline().split())
            yield Command(process, reaper, runaway, folder)
        finally:
            process.kill()


def lives(pid: int) -> bool:
    """Whether it runs; one that has ended may wait for somebody to ask what became of it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(is_done: Callable[[], bool]) -> None:
    gives_up_s = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < gives_up_s
        time.sleep(0.01)


@contextlib.contextmanager
def bystander(environment: dict[str, str] | None = None) -> Iterator[int]:
    """A process that looks like one of a server and is none, or is somebody else's."""
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], env={**os.environ, **(environment or {})}
    ) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_outlives_a_command_that_is_killed(tmp_path: Path, blow: signal.Signals) -> None:
    with bystander() as alike, bystander({MARK_VARIABLE: "another server's"}) as other:
        with command(tmp_path / "scratch") as ended:
            assert lives(ended.runaway)
            os.killpg(ended.process.pid, blow)
            wait_until(lambda: not lives(ended.reaper))
            assert not lives(ended.runaway)
            assert not ended.folder.exists(), "there was a token in it"
        assert lives(alike)
        assert lives(other)


def test_signals_to_everybody_end_the_reaper_last(tmp_path: Path) -> None:
    with command(tmp_path / "scratch") as ended:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(ended.reaper, number)
        os.kill(ended.process.pid, signal.SIGKILL)
        wait_until(lambda: not lives(ended.reaper))
        assert not lives(ended.runaway)


def test_signals_before_the_reaper_is_ready_do_not_end_it(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    reaper = Reaper(folder)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(reaper._process.pid, number)
    with reaper.marking(), bystander() as ours:
        reaper._close_pipe()  # as if this process had ended
        assert reaper._process.wait(PATIENCE_S) == 0
        assert not lives(ours)
    assert not folder.exists()


def test_a_reaper_leaves_nobody_else_deaf(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    said = tmp_path / "said"
    asks = f"open({str(said)!r}, 'w').write(str(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    reaper = Reaper(tmp_path / "scratch", [sys.executable, "-c", f"import signal; {asks}"])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    reaper._close_pipe()
    assert reaper._process.wait(PATIENCE_S) == 0
    assert said.read_text(encoding="utf-8") == str(before)


def test_its_last_command_is_said_for_a_command_that_could_not(tmp_path: Path) -> None:
    said = tmp_path / "said"
    last_command = [sys.executable, "-c", f"open({str(said)!r}, 'w').close()"]
    with command(tmp_path / "killed", *last_command) as ended:
        os.kill(ended.process.pid, signal.SIGKILL)
        wait_until(lambda: not lives(ended.reaper))
    assert said.exists()
    said.unlink()
    reaper = Reaper(tmp_path / "closed", last_command)
    reaper.close()
    assert not said.exists(), "it had stopped in order"


def test_closing_ends_what_is_left_and_waits_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    reaper = Reaper(folder)
    with reaper.marking(), bystander() as ours:
        assert os.environ[MARK_VARIABLE] == reaper.mark
        assert processes(reaper.mark) == {ours}
        reaper.close()
        assert not lives(ours)
    assert MARK_VARIABLE not in os.environ
    assert not folder.exists()


def test_a_reaper_that_was_killed_is_replaced(tmp_path: Path) -> None:
    reaper = Reaper(tmp_path / "scratch")
    first = reaper._process
    reaper.revive()
    assert reaper._process is first
    first.kill()
    first.wait()
    with reaper.marking(), bystander() as ours:
        reaper.revive()
        assert reaper._process.pid != first.pid
        reaper.close()
        assert not lives(ours)


def test_children_are_found_whose_variables_are_written_over() -> None:
    parent = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], env={{}});"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, MARK_VARIABLE: "m" * 32}
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            assert processes("m" * 32) == {process.pid, child}
            end_all("m" * 32)
            wait_until(lambda: not lives(child))
        finally:
            process.kill()
