"""Processes killed while they change a store; run by test_store_killing.py.

    python -m tests.prompts.store_killing every FOLDER STRIDE
    python -m tests.prompts.store_killing storm FOLDER KILLS

Both print how many processes were killed. Afterwards the store must be whole, and nothing may be
left once it was verified and collected.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from isogloss.prompts.errors import NotFound
from isogloss.prompts.files import durable
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.collect import collect, free_deleted
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from tests.prompts import samples
from tests.prompts.failing_disk import FailingDisk
from tests.prompts.store_processes import fork, watch

LATER_S = 7200.0
NEW = samples.prompt(9)
SPARE, CANDIDATE = samples.prompt(4), samples.prompt(8)


def prepare(root: Path) -> None:
    """Make a store with history, a file that nothing refers to, and a leftover."""
    store = PromptStore.open(root, create=True)
    store.publish({"p": samples.prompt(1)}, [samples.table("p")])
    store.publish({"q": samples.prompt(2)})
    store.publish({"p": samples.prompt(3)})
    store.objects.write(SPARE.digest, SPARE.to_bytes())
    (root / "tmp" / ".tmp-left").write_bytes(b"half")


def publish(root: Path) -> None:
    PromptStore.open(root).publish({"p": NEW, "r": SPARE}, [samples.table("p@1", Romance="p")])


def again(root: Path) -> None:
    PromptStore.open(root).publish({"p": samples.prompt(3), "q": samples.prompt(2)})


def rollback(root: Path) -> None:
    PromptStore.open(root).rollback(to=1)


def once(root: Path) -> None:
    """Whoever was killed asks again, after others' changes."""
    store = PromptStore.open(root)
    state = store.rollback(to=1, request_id="same")
    assert state.generation_of("same") == 4
    assert sum(own.restores == 1 for own in store.history()) == 1, "it was done twice"
    if state.generation == 4:
        store.publish({"p": samples.prompt(7)})
    assert store.state().resolve("p")[2] == samples.prompt(7).digest, "others' change is undone"


def delete(root: Path) -> None:
    store = PromptStore.open(root)
    try:
        store.delete("q")
    except NotFound:
        assert "q" in store.state().deleted  # a killed process came that far
    free_deleted(store)


def begin(root: Path) -> None:
    store = PromptStore.open(root)
    store.begin_trial("q", CANDIDATE, kind="canary", share=0.5, clades=["universal"])


def promote(root: Path) -> None:
    store = PromptStore.open(root)
    try:
        store.promote("q")
    except NotFound:
        assert not store.state().trials  # a killed process came that far
    assert store.state().digest_of(store.state().routes[0].universal) == CANDIDATE.digest


def end(root: Path) -> None:
    assert not PromptStore.open(root).end_trial("q", candidate="q@2").trials


def gc(root: Path) -> None:
    collect(PromptStore.open(root), keep=1, now_s=time.time() + LATER_S)


def repair(root: Path) -> None:
    verify(PromptStore.open(root), repair=True, copies=[PromptStore(root.parent / "copy")])


ACTIONS: dict[str, Callable[[Path], None]] = {
    own.__name__: own
    for own in (publish, again, rollback, once, delete, begin, promote, end, gc, repair)
}


def killed(action: Callable[[Path], None], root: Path, at: int, after: bool) -> bool:
    """Run an action in a process that dies at system call `at`; False if it ended before."""

    def work() -> None:
        disk = FailingDisk(at, lambda: os.kill(os.getpid(), signal.SIGKILL), after=after)
        setattr(durable, "os", disk)  # noqa: B010  (typed as a module)
        action(root)

    _, status = os.waitpid(fork(work), 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, f"{action.__name__} failed"
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def every(folder: Path, stride: int) -> int:
    """Kill each action before and behind every `stride`th system call."""
    prepare(folder / "copy")
    kills = 0
    for name, action in ACTIONS.items():
        for after in (False, True):
            for at in range(1, 1000, stride):
                root = folder / f"{name}-{after}-{at}"
                prepare(root)
                if name in BEFORE:
                    BEFORE[name](root)
                if not killed(action, root, at, after):
                    break
                kills += 1
                check_whole(root, spoiled=name == "repair")
                action(root)
                check_clean(root)
    return kills


def spoil(root: Path) -> None:
    """Damage a prompt file, remove one, and damage the newest manifest."""
    objects = root / "objects"
    digests = [samples.prompt(seed).digest.removeprefix("sha256:") for seed in (1, 2)]
    (objects / f"{digests[0]}.safetensors").write_bytes(b"rot")
    (objects / f"{digests[1]}.safetensors").unlink()
    (root / "generations" / "00000003.json").write_bytes(b"rot")


BEFORE = {"repair": spoil, "promote": begin, "end": begin}
"""What happens to the store before the action."""


def check_whole(root: Path, *, spoiled: bool) -> None:
    """What a reader sees is one whole generation; a spoiled store at least is no worse."""
    store = PromptStore.open(root)
    assert store.latest() >= 3
    if spoiled:
        assert store.state(2).generation == 2
        return
    state = store.state()
    for digest in state.digests:
        store.read(digest)
    assert (state.routes[0].clades == {"Romance": "p"}) == ("r" in state.prompts)
    promoted = state.digest_of(state.routes[0].universal) == CANDIDATE.digest
    assert not (promoted and state.trials)
    assert not state.trials or state.digest_of("q@2") == CANDIDATE.digest


def check_clean(root: Path) -> None:
    """Verified and collected, a store holds what its generations refer to and nothing else."""
    store = PromptStore.open(root)
    assert verify(store, copies=()).whole
    collect(store, now_s=time.time() + LATER_S)
    report = verify(store, copies=())
    assert report.whole
    assert report.unreferenced == 0
    assert not any((root / "tmp").iterdir())
    assert len(list((root / "objects").iterdir())) == report.objects
    assert len(list((root / "generations").iterdir())) == report.generations


def storm(folder: Path, kills: int) -> int:
    """Kill publishers one after the other while others publish and read."""
    root, chance = folder / "store", random.Random(5)
    PromptStore.open(root, create=True).publish({"p": samples.prompt(0)}, [samples.table("p")])
    readers = [fork(functools.partial(watch, root, folder / "written")) for _ in range(2)]
    publisher = fork(functools.partial(_publish_until_told, root))
    died = 0
    while died < kills:
        prompt = samples.prompt(10_000 + chance.randrange(10**6))

        def change(root: Path, prompt: SoftPrompt = prompt) -> None:
            PromptStore.open(root).publish({"p": prompt, "killed": prompt})

        died += killed(change, root, chance.randrange(1, 28), chance.random() < 0.5)
    (folder / "enough").touch()
    assert os.waitpid(publisher, 0)[1] == 0, "a publisher failed"
    (folder / "written").touch()
    assert [os.waitpid(reader, 0)[1] for reader in readers] == [0, 0], "a reader failed"
    numbers = PromptStore.open(root).generations.numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    check_clean(root)
    return died


def _publish_until_told(root: Path) -> None:
    store, number = PromptStore.open(root), 0
    while not (root.parent / "enough").exists():
        number += 1
        store.publish({"healthy": samples.prompt(number)})
        time.sleep(0.01)


if __name__ == "__main__":
    what, where, count = sys.argv[1:]
    print({"every": every, "storm": storm}[what](Path(where), int(count)))
