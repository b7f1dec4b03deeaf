"""Takes out of a store what nothing needs any more: old generations, files nothing refers to.

What goes is older than an hour (`LEFTOVER_AGE_S`), so that no publish under way loses a file that
its generation is about to name; one that takes longer finds its file gone and writes it again. A
generation goes only that long after a newer one took its place: readers, who poll every second or
so, have moved on. Whatever a kept generation refers to stays, in all versions. A crash at any point
leaves a store that is whole, and the next collection goes on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from isogloss.prompts.errors import NotFound, StoreError
from isogloss.prompts.store.filesystems import LEFTOVER_AGE_S, explained
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore

KEPT_GENERATIONS = 20
_LEFTOVER = ".tmp-"


@dataclass(frozen=True)
class Collected:
    """What went, or would go: generations, digests of prompt files, names of leftovers."""

    newest: int
    oldest_kept: int
    generations: tuple[int, ...]
    objects: tuple[str, ...]
    leftovers: tuple[str, ...]


def collect(
    store: PromptStore,
    *,
    keep: int = KEPT_GENERATIONS,
    older_than_s: float = 0.0,
    now_s: float | None = None,
    dry_run: bool = False,
) -> Collected:
    """Remove generations beyond the newest `keep`, files nothing refers to, and leftovers.

    Args:
        store: where.
        keep: how many generations stay at least; from 1.
        older_than_s: a generation goes only when a newer one took its place this long ago.
        now_s: as in `time.time()`; tests have another.
        dry_run: only say what would go.

    Raises:
        StoreError: the store cannot be read or written. A kept generation that cannot be read may
            need any file, so nothing goes while there is one.
    """
    now = time.time() if now_s is None else now_s
    old = _superseded(store, keep, now - max(older_than_s, LEFTOVER_AGE_S))
    kept = [number for number in store.generations.numbers() if number not in set(old)]
    unused, newest = _unused(store, kept, now - LEFTOVER_AGE_S)
    leftovers = _leftovers(store, now - LEFTOVER_AGE_S)
    if not dry_run:
        for generation in old:  # the oldest first: there is never a gap
            store.generations.remove(generation)
        unused = _remove_objects(store, unused, newest)
        _remove_leftovers(store, leftovers)
    return Collected(
        newest=kept[-1] if kept else 0,
        oldest_kept=kept[0] if kept else 0,
        generations=tuple(old),
        objects=tuple(unused),
        leftovers=tuple(leftovers),
    )


def free_deleted(store: PromptStore) -> tuple[str, ...]:
    """Remove the files of deleted prompts at once, and return their digests.

    Call it when every reader serves the generation that `PromptStore.delete` published.

    Raises:
        StoreError: the store cannot be read or written.
    """
    state = store.state()
    return tuple(_remove_objects(store, sorted(state.dropped), state.identity))


def _superseded(store: PromptStore, keep: int, before_s: float) -> list[int]:
    """Return the generations that may go: the oldest, up to the first that may not."""
    written_s = store.generations.written_s()
    numbers = sorted(written_s)
    old: list[int] = []
    for number, following in itertools.pairwise(numbers):
        if len(numbers) - len(old) <= max(keep, 1) or written_s[following] >= before_s:
            break
        old.append(number)
    return old


def _unused(
    store: PromptStore, kept: Iterable[int], before_s: float
) -> tuple[list[str], GenerationId]:
    """Return the old files that no kept generation refers to, but for those of deleted prompts.

    With them comes the newest generation that was asked.
    """
    written_s = store.objects.written_s()  # asked first: what comes later is young
    states = [store.state(generation) for generation in kept]
    needed = frozenset[str]().union(*(state.digests for state in states))
    if states:
        needed -= states[-1].dropped
    unused = (d for d, when_s in written_s.items() if d not in needed and when_s < before_s)
    return sorted(unused), states[-1].identity if states else GenerationId(0, "")


def _remove_objects(
    store: PromptStore, digests: Collection[str], newest: GenerationId
) -> list[str]:
    """Remove files; one that another generation than `newest` needs after all is put back.

    Whoever publishes looks for its files once its generation is there, and this looks for another
    generation once the file is gone: one of the two sees the other.
    """
    removed = []
    for digest in digests:
        if not store.objects.has(digest):
            continue  # somebody else collects at the same time
        data = store.objects.read_unchecked(digest)
        store.objects.remove(digest)
        if _is_needed(store, digest, newest):
            store.objects.restore(digest, data)
        else:
            removed.append(digest)
    return removed


def _is_needed(store: PromptStore, digest: str, newest: GenerationId) -> bool:
    """Tell whether the store went on from `newest` to what needs a file, or cannot be read."""
    latest = store.latest()
    try:
        if not latest or store.generations.identity(latest) == newest:
            return False
        return digest in store.state(latest).digests
    except (NotFound, StoreError):
        return True


def _leftovers(store: PromptStore, before_s: float) -> list[str]:
    folder = store.backend.folder("tmp")
    with explained("read", folder.location):
        try:
            written_s = folder.written_s()
        except FileNotFoundError:  # a copied store may lack it
            return []
    return sorted(
        n for n, when_s in written_s.items() if n.startswith(_LEFTOVER) and when_s < before_s
    )


def _remove_leftovers(store: PromptStore, names: Iterable[str]) -> None:
    folder = store.backend.folder("tmp")
    with explained("clean", folder.location):
        for name in names:
            folder.remove(name)
