"""The prompt store: whether it opens, whether its newest generation is whole, who may write."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from isogloss.deploy.doctor.finding import Asked, Finding, fail, ok, warn
from isogloss.deploy.doctor.machine import there
from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.store.filesystems import address_of, is_store
from isogloss.prompts.store.seed import default_store_path
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.store import PromptStore

_VERIFY = "run isogloss prompts verify --repair"


def store(asked: Asked) -> Iterator[Finding]:
    """Open it as it is; one that a server would make is not made here."""
    path = asked.settings.store or default_store_path()
    if address_of(path) is None and asked.settings.store is None and not is_store(path):
        yield to_be_made(path)
        return
    try:
        opened = PromptStore.open(path)
        yield newest(opened)
    except IsoglossError as error:
        yield fail("store", str(error).partition(";")[0], f"name another --store, or {_VERIFY}")
        return
    if address_of(path) is None:
        yield writable(Path(path))


def to_be_made(path: Path) -> Finding:
    """The user's own, which begins with the shipped prompts."""
    said = f"{path} is not there yet: the first server makes it, with the shipped prompts"
    if problem := why_not_writable(there(path)):
        remedy = "give this user the folder, or another ISOGLOSS_STORE"
        return fail("store", f"{path} cannot be made ({problem})", remedy)
    return ok("store", said)


def newest(opened: PromptStore) -> Finding:
    """Read the files that the newest generation answers with: they are checked by digest."""
    state = opened.state()
    said = f"{opened.location}, generation {state.generation}, {len(state.prompts)} prompts"
    if not state.prompts:
        return warn("store", f"{said}: nothing answers", "publish one, or leave --store out")
    for reference in answering(state):
        try:
            opened.read_bytes(state.digest_of(reference))
        except IsoglossError as error:
            return fail("store", f"{said}; {reference} cannot be read ({error})", _VERIFY)
    return ok("store", f"{said}; all of them are whole")


def answering(state: StoreState) -> list[str]:
    """What may answer: what bare names mean, what routes choose, and candidates on trial.

    An ensemble's file has its members in it.
    """
    current, tables = state.answering
    routed = (each for table in tables for each in table.references)
    tried = (trial.candidate for trial in state.trials)
    return list(dict.fromkeys([*current, *routed, *tried]))


def writable(path: Path) -> Finding:
    """Whether this user may publish."""
    if problem := why_not_writable(path):
        remedy = "give this user the folder, if prompts are to be published from here"
        return warn("store, publishing", f"{path} cannot be written ({problem})", remedy)
    return ok("store, publishing", f"{path} can be written")


def why_not_writable(folder: Path) -> str:
    """Try it, with a file that goes at once; empty: it can be written."""
    with contextlib.suppress(FileNotFoundError):
        folder = (folder / "tmp").resolve(strict=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
