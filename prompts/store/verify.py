"""Reads a whole store and says what is damaged or missing; moves it aside and mends it if asked.

Damage is found by digest. A damaged file is not thrown away but moved to STORE/quarantine, under
the digest of what it now holds, for somebody to look at; servers go on with what they have loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from isogloss.prompts.errors import IsoglossError, NotFound, StoreError
from isogloss.prompts.format.soft_prompt import digest_of
from isogloss.prompts.store.filesystems import explained, is_store
from isogloss.prompts.store.generations import DamagedManifest, UnknownFormat
from isogloss.prompts.store.numbering import name_of
from isogloss.prompts.store.objects import file_of, what_is_wrong
from isogloss.prompts.store.seed import shipped_store
from isogloss.prompts.store.store import PromptStore, StoreState

_HEX_SHOWN = 12


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what was done about it (None: nothing)."""

    kind: Literal["damaged", "missing", "unreadable", "stray"]
    what: str  # path or address
    reason: str
    needed_by: tuple[str, ...] = ()  # name@version
    quarantined: str | None = None
    repaired: str | None = None


@dataclass(frozen=True)
class Report:
    """What a verification found. `unreferenced` counts files for `gc` to look at."""

    newest: int
    generations: int
    objects: int
    unreferenced: int
    problems: tuple[Problem, ...]

    @property
    def whole(self) -> bool:
        """Tell whether nothing is wrong any more."""
        return all(problem.repaired is not None for problem in self.problems)


def verify(
    store: PromptStore, *, repair: bool = False, copies: Sequence[PromptStore] | None = None
) -> Report:
    """Check every generation, and every file that one refers to against its digest.

    With `repair`, damaged files are moved to the quarantine, and so are those that only look like
    generations; a prompt file comes back from a store that has a copy, and a generation that cannot
    be read takes the content of the one before it.

    Args:
        store: which store.
        repair: mend what can be mended.
        copies: stores to take files from; by default what ships with Isogloss.

    Raises:
        StoreError: the store cannot be listed or, to repair it, written.
    """
    sources = _shipped() if copies is None else copies
    strays = [_stray(store, name) for name in store.generations.listing().strays]
    states, problems = _read_generations(store)
    if repair:
        with explained("repair", store.location):
            store.backend.prepare()
        strays = [_without_stray(store, problem) for problem in strays]
        problems = [_mended_generation(store, states, problem) for problem in problems]
    problems = [*strays, *problems]
    numbers = store.generations.numbers()
    needed = _needed(states)
    stored = store.objects.written_s()
    checked = [_check_object(store, digest, by) for digest, by in sorted(needed.items())]
    for digest, problem in zip(sorted(needed), checked, strict=True):
        if problem is not None:
            problems.append(_mended_object(store, sources, digest, problem) if repair else problem)
    return Report(
        newest=max(numbers, default=0),
        generations=len(numbers),
        objects=len(needed),
        unreferenced=len(set(stored) - set(needed)),
        problems=tuple(problems),
    )


def _read_generations(store: PromptStore) -> tuple[dict[int, StoreState], list[Problem]]:
    states: dict[int, StoreState] = {}
    problems = []
    numbers = store.generations.numbers()
    for number in range(numbers[0], numbers[-1] + 1) if numbers else ():
        where = store.generations.location_of(number)
        try:
            states[number] = store.state(number)
        except NotFound as error:
            problems.append(Problem("missing", where, str(error)))
        except UnknownFormat as error:  # whole, for those who can read it
            problems.append(Problem("unreadable", where, str(error)))
        except DamagedManifest as error:
            problems.append(Problem("damaged", where, str(error)))
        except StoreError as error:
            problems.append(Problem("unreadable", where, str(error)))
    return states, problems


def _stray(store: PromptStore, name: str) -> Problem:
    numbers = store.generations.numbers()
    counted = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
    reason = (
        "it is not counted as a generation: its name is none, or its number is far from the "
        f"others ({counted})"
    )
    return Problem("stray", f"{store.generations.folder.location}/{name}", reason)


def _without_stray(store: PromptStore, problem: Problem) -> Problem:
    """Move a file aside that only looks like a generation; one that cannot be read stays."""
    name = problem.what.rpartition("/")[2]
    try:
        data = store.generations.read_stray(name)
        aside = _quarantine(store, name, data)
        store.generations.remove_stray(name)
    except StoreError as error:
        return replace(problem, reason=f"{problem.reason}; it cannot be moved aside: {error}")
    return replace(problem, quarantined=aside, repaired="nobody counted it")


def _needed(states: dict[int, StoreState]) -> dict[str, tuple[str, ...]]:
    """Return what the readable generations refer to, by digest: the names and versions it is."""
    needed: dict[str, dict[str, None]] = {}
    for state in states.values():
        for name, entry in state.prompts.items():
            for version in entry.versions:
                needed.setdefault(version.digest, {})[f"{name}@{version.version}"] = None
    dropped = states[max(states)].dropped if states else frozenset()
    return {digest: tuple(by) for digest, by in needed.items() if digest not in dropped}


def _check_object(store: PromptStore, digest: str, by: tuple[str, ...]) -> Problem | None:
    where = store.objects.location_of(digest)
    try:
        data = store.objects.read_unchecked(digest)
    except StoreError as error:
        gone = isinstance(error.__cause__, FileNotFoundError)
        return Problem("missing" if gone else "unreadable", where, str(error), by)
    stored = digest_of(data)
    if stored == digest:
        return None
    reason = f"its content is {stored}, not {digest}{what_is_wrong(data)}"
    return Problem("damaged", where, reason, by)


def _mended_object(
    store: PromptStore, sources: Sequence[PromptStore], digest: str, problem: Problem
) -> Problem:
    if problem.kind == "damaged":
        data = store.objects.read_unchecked(digest)
        if digest_of(data) == digest:  # somebody published it again meanwhile
            return replace(problem, repaired="it is whole now")
        aside = _quarantine(store, file_of(digest), data)
        if store.objects.read_unchecked(digest) == data:
            store.objects.remove(digest)
        problem = replace(problem, quarantined=aside)
    for source in sources:
        try:
            copy = source.read_bytes(digest)
        except IsoglossError:  # it has none: the next may
            continue
        store.objects.write(digest, copy)
        return replace(problem, repaired=f"copied from {source.location}")
    return problem


def _mended_generation(
    store: PromptStore, states: dict[int, StoreState], problem: Problem
) -> Problem:
    """Put the content of the generation before in place of one that cannot be read.

    Of the newest, readers may have seen the lost content: a further generation takes them all on.
    """
    number = int(problem.what.rpartition("/")[2].removesuffix(".json"))
    before = states.get(number - 1)
    if problem.kind == "unreadable":
        return problem  # what it holds may be whole
    if before is None and (problem.kind == "missing" or not states):
        return problem  # there is nothing to put in its place
    aside = None
    if problem.kind == "damaged":
        data = store.generations.read_bytes(number)
        aside = _quarantine(store, name_of(number), data)
    if before is None:
        store.generations.remove(number)
        return replace(
            problem, quarantined=aside, repaired="it was the oldest: later ones do without it"
        )
    states[number] = _standing_in(before, f"stands in for generation {number}, {problem.kind}")
    store.generations.replace(states[number])
    if number == store.latest():
        moved_on = _standing_in(states[number], f"takes readers on from generation {number}")
        store.generations.append(moved_on)  # or somebody else's generation does
        states[store.latest()] = store.state()
    return replace(
        problem, quarantined=aside, repaired=f"took the content of generation {number - 1}"
    )


def _standing_in(before: StoreState, note: str) -> StoreState:
    return before.model_copy(
        update={
            "generation": before.generation + 1,
            "parent": before.generation,
            "restores": before.restores or before.generation,
            "note": note,
            "published_at": datetime.now(UTC),
        }
    )


def _quarantine(store: PromptStore, name: str, data: bytes) -> str:
    folder = store.backend.folder("quarantine")
    aside = f"{hashlib.sha256(data).hexdigest()[:_HEX_SHOWN]}-{name}"
    with explained("move a damaged file aside to", folder.location):
        folder.write(aside, data)
    return f"{folder.location}/{aside}"


def _shipped() -> list[PromptStore]:
    return [PromptStore(shipped_store())] if is_store(shipped_store()) else []
