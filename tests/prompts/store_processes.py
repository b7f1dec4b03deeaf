"""Processes that fight over one prompt store; run by test_store_crash.py and test_upgrade.py.

    python -m tests.prompts.store_processes kill|race FOLDER
    python -m tests.prompts.store_processes race FOLDER ADDRESS PUBLISHES
    python -m tests.prompts.store_processes start STORE SHIPPED

They are forked from this small process, which has no threads, after its imports.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from isogloss.prompts.files import durable
from isogloss.prompts.store.generations import Follower
from isogloss.prompts.store.store import PromptStore, open_default
from tests.prompts import samples
from tests.prompts.failing_disk import FailingDisk

WRITERS = 4
PUBLISHES = 8


def run_processes(
    what: str,
    folder: Path,
    *more: str,
    of: str = "tests.prompts.store_processes",
    timeout_s: float = 120,
) -> int:
    """Run this module, or another of its kind, in a process of its own; returns its number."""
    done = subprocess.run(
        [sys.executable, "-m", of, what, str(folder), *more],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child process; exit status 0 only if it returned."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def kill_at_every_call(folder: Path) -> int:
    """SIGKILL a publisher at each of its system calls; return how many there were."""
    old, new = samples.prompt(1), samples.prompt(2)
    table = samples.table("p")
    for at in range(1, 1000):
        root = folder / str(at)
        before = PromptStore.open(root, create=True).publish({"p": old}, [table])

        def publish(root: Path = root, at: int = at) -> None:
            disk = FailingDisk(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            setattr(durable, "os", disk)  # noqa: B010  (typed as a module)
            PromptStore.open(root).publish({"p": new}, [samples.table("p@1", Romance="p")])

        _, status = os.waitpid(fork(publish), 0)
        store = PromptStore.open(root)
        state = store.state()
        assert state == before or (state.generation == 2 and len(state.routes[0].clades) == 1)
        store.read(state.resolve("p")[2])
        after = store.publish({"p": new}, [samples.table("p@1", Romance="p")])
        assert after.generation == 2, "the change landed twice"
        assert store.read(after.resolve("p")[2]).digest == new.digest
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return at - 1
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError("publish never came to its end")


def write(root: Path | str, writer: int, publishes: int) -> None:
    """Publish distinct prompts under a name of one's own and under one that all share."""
    store = PromptStore.open(root)
    for number in range(publishes):
        prompt = samples.prompt(1000 * writer + number)
        store.publish({f"writer-{writer}": prompt, "shared": prompt})


def watch(root: Path | str, written: Path) -> None:
    """Read every state as it appears; every prompt of every state must be whole."""
    store, seen, checked = PromptStore.open(root), 0, set[str]()
    follower = Follower(store.generations)
    finished = False
    while not finished:
        finished = written.exists()  # asked first: nothing comes after it
        newest = follower.poll().newest.number
        assert newest >= seen, "a generation went away"
        for generation in range(seen + 1, newest + 1):
            state = store.state(generation)
            digests = {v.digest for entry in state.prompts.values() for v in entry.versions}
            for digest in digests - checked:
                store.read(digest)
            checked |= digests
        seen = newest


def race(folder: Path, address: str = "", publishes: int = PUBLISHES) -> int:
    """Several writers and two readers at once; return the number of generations."""
    root, end = address or folder / "store", folder / "written"
    PromptStore.open(root, create=True).publish({"first": samples.prompt(0)})
    readers = [fork(functools.partial(watch, root, end)) for _ in range(2)]
    numbers = range(1, WRITERS + 1)
    writers = [fork(functools.partial(write, root, number, publishes)) for number in numbers]
    written = [os.waitpid(writer, 0)[1] for writer in writers]
    end.touch()
    read = [os.waitpid(reader, 0)[1] for reader in readers]
    assert not any(written), "a writer failed"
    assert not any(read), "a reader failed"
    store = PromptStore.open(root)
    state = store.state()
    for name, entry in state.prompts.items():
        expected = {"shared": WRITERS * publishes, "first": 1}.get(name, publishes)
        assert len({version.digest for version in entry.versions}) == expected, name
        assert len(entry.versions) == expected, f"{name}: a publish landed twice"
    assert not [name for name in store.backend.folder("tmp").names() if name.startswith(".tmp-")]
    return state.generation


def start(root: Path, shipped: Path) -> int:
    """Open one default store in several processes at once; return its newest generation."""
    go = root.parent / "go"

    def open_at_once() -> None:
        while not go.exists():
            os.sched_yield()
        open_default(root, shipped)

    starting = [fork(open_at_once) for _ in range(WRITERS)]
    go.touch()
    ended = [os.waitpid(process, 0)[1] for process in starting]
    assert not any(ended), "a start failed"
    return PromptStore.open(root).latest()


if __name__ == "__main__":
    what, *folders = sys.argv[1:]
    if what == "start":
        print(start(Path(folders[0]), Path(folders[1])))
    elif what == "kill":
        print(kill_at_every_call(Path(folders[0])))
    else:
        address, publishes = folders[1:] or ("", PUBLISHES)
        print(race(Path(folders[0]), address, int(publishes)))
