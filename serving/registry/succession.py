"""Which generation of the store a replica serves: the newest that can be served.

A replica that runs follows its store wherever it goes, forwards at once. What is not that plain may
be a copy under way: a store that went back, or whose newest generation cannot be served, is taken
at its word once it has stood still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from isogloss.prompts.errors import NotFound, StoreError, Unavailable
from isogloss.prompts.store.generations import DamagedManifest
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.registry.loader import PromptLoader
from isogloss.serving.registry.snapshot import Snapshot, SnapshotRefused, build_snapshot

STANDS_STILL_S = 2.0
"""So long must a store show the same newest generation before it is followed backwards."""
_TRIED = 50
"""Generations that are tried, newest first, before a store is given up."""


@dataclass(frozen=True)
class Choice:
    """A generation to serve, and why it is not the newest where it is not."""

    snapshot: Snapshot | None
    """None: none that is better than what is served already."""
    problem: str | None = None
    final: bool = True
    """Whether trying again is of no use while the newest generation stays the same."""


class Succession:
    """Decides for one replica; for one thread at a time."""

    def __init__(
        self, store: PromptStore, loader: PromptLoader, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._loader = loader
        self._clock = clock
        self._refused: dict[GenerationId, str] = {}
        self._stands: tuple[GenerationId, float] | None = None  # the newest, and since when

    def load(self, generation: int, previous: Snapshot | None) -> Snapshot:
        """Load a generation aside: the one place that says whether it can be served.

        Raises:
            SnapshotRefused: it cannot be, and only another generation can mend that.
            DamagedManifest: its manifest is none.
            StoreError, NotFound: it cannot be read now.
        """
        state = self._store.state(generation)
        if state.identity in self._refused:
            raise SnapshotRefused(self._refused[state.identity])
        try:
            return build_snapshot(state, self._loader, previous)
        except SnapshotRefused as refusal:
            self._refused[state.identity] = str(refusal)
            raise

    def first(self, newest: GenerationId) -> Choice:
        """Choose what a replica that starts begins with.

        Raises:
            StoreError: nothing in the store can be served.
        """
        if not newest.number:
            return Choice(build_snapshot(self._store.state(0), self._loader))
        choice = self._newest_servable(self._between(0, newest.number), None)
        if choice.snapshot is None:
            raise SnapshotRefused(
                f"no generation of prompt store {self._store.location} can be served: "
                f"{choice.problem}"
            )
        return choice

    def next(self, newest: GenerationId, served: Snapshot) -> Choice:
        """Choose what a replica serves that has not got the newest generation."""
        choice = self._straight_on(newest, served)
        if choice.snapshot is not None or not newest.number or not self._stand_still(newest):
            return choice if choice.snapshot is not None else replace(choice, final=False)
        above = self._above(served) if newest.number >= served.generation else 0
        other = self._newest_servable(self._between(above, newest.number), served)
        return other if other.problem or other.snapshot else choice

    def _straight_on(self, newest: GenerationId, served: Snapshot) -> Choice:
        """Take the newest generation, unless the store went back or it cannot be served."""
        if newest.number >= served.generation:
            return self._newest_servable([newest.number], served)
        left = f"its newest is {newest}" if newest.number else "it holds no generation"
        return Choice(
            None,
            f"prompt store {self._store.location} has lost {served.identity}, {left}: it was "
            "replaced or damaged; restore it, or leave it as it is to have that served",
            final=False,
        )

    def _newest_servable(self, newest_first: Sequence[int], served: Snapshot | None) -> Choice:
        problem, final = None, True
        for generation in newest_first[:_TRIED]:
            try:
                return Choice(self.load(generation, served), problem, final)
            except (Unavailable, NotFound) as error:
                final = final and isinstance(error, SnapshotRefused | DamagedManifest)
                problem = problem or f"generation {generation} cannot be served: {error}"
        return Choice(None, problem, final)

    def _above(self, served: Snapshot) -> int:
        """Return the number above which generations are better than the one that is served.

        Where the store still holds that, or a damaged file in its place: its own. Else the store is
        another one, and everything in it is.
        """
        try:
            found = self._store.state(served.generation)
        except NotFound:
            return 0
        except StoreError:
            return served.generation
        return served.generation if found.identity == served.identity else 0

    def _between(self, above: int, newest: int) -> list[int]:
        """Return the numbers of the store's generations, newest first."""
        numbers = self._store.generations.numbers()
        return [number for number in reversed(numbers) if above < number <= newest]

    def _stand_still(self, newest: GenerationId) -> bool:
        now_s = self._clock()
        if self._stands is None or self._stands[0] != newest:
            self._stands = newest, now_s
        return now_s - self._stands[1] >= STANDS_STILL_S
