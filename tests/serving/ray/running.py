"""A real server in processes of its own: started, asked, looked into."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from isogloss.prompts.store.store import PromptStore

ROOT = Path(__file__).parents[3]
OTHER = "fake-xglm"
PATIENCE_S = 180
"""For what takes a moment on an idle machine."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: subprocess.Popen[str]
    url: str
    store: PromptStore


@contextlib.contextmanager
def serving(
    store: PromptStore,
    *,
    other: str = "",
    replicas: int = 1,
    most: int | None = None,
    folder: Path = ROOT,
    variables: dict[str, str] | None = None,
    module: str = "tests.serving.fake_server",
) -> Iterator[Running]:
    """Run a server while open, in a session and a group of its own, as a supervisor starts it.

    Args:
        store: what it serves.
        other: the name of a second model.
        replicas: of each model.
        most: replicas that may come.
        folder: that it is started in.
        variables: of its environment.
        module: that is run.
    """
    command = [sys.executable, "-P", "-m", module]
    with subprocess.Popen(
        [*command, str(store.root), other, "0", str(replicas), str(most or "")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Running(process, wait_for_url(process), store)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


def wait_for_url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"ready after \d+ s: (http://\S+)", line):
            return found.group(1)
    pytest.fail(f"the server did not start: {''.join(said)}")


def wait_until(is_done: Callable[[], Any], interval_s: float = 0.05) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < give_up_s
        time.sleep(interval_s)


def tree(server: Running) -> list[psutil.Process]:
    """The command's process, and all that it has started."""
    command = psutil.Process(server.process.pid)
    return [command, *command.children(recursive=True)]


def parts(server: Running, name: str) -> list[psutil.Process]:
    """The processes of this server whose program, or Ray's title of it, is this one.

    While one runs a task, its title ends in the task's name.
    """
    found = []
    for process in tree(server):
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline()).split(" ")[0].rpartition("/")[2].partition(".")[0]
            if title == name:
                found.append(process)
    return found


def part(server: Running, name: str) -> psutil.Process:
    """The youngest of them: of two HAProxies the other ends what it has begun."""
    return max(parts(server, name), key=psutil.Process.create_time)


def replicas_of(server: Running, deployment: str) -> list[psutil.Process]:
    return parts(server, f"ray::ServeReplica:isogloss:{deployment}")
