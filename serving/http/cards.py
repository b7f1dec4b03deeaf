"""What is to be known of prompts: their cards, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from isogloss.prompts.store import listing
from isogloss.prompts.store.listing import Description, describe
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.serving.registry.loaded import LoadedPrompt
from isogloss.serving.registry.loader import Recent
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.store_calls import StoreCalls
from isogloss.serving.schemas import PromptDetails, PromptsAnswer

DESCRIPTIONS_KEPT = 1024
"""Prompts whose cards are remembered: every publish brings a new one, and a server lives long."""


class PromptCards:
    """Answers from memory, and asks the store for the rest, for as long as a caller waits."""

    def __init__(self, store: PromptStore, live: Registry) -> None:
        self._store = store
        self._live = live
        self._calls = StoreCalls("isogloss-cards")
        self._recent: Recent[Description] = Recent(DESCRIPTIONS_KEPT)

    async def details(self, state: StoreState, reference: str, wait_s: float) -> PromptDetails:
        """Describe one prompt: `name`, or `name@version`.

        Raises:
            NotFound: there is none.
            StoreSilent: the store has not answered in time.
        """
        digest = state.digest_of(reference)
        return _details(state, reference, (await self._describe([digest], wait_s))[digest])

    async def list(self, state: StoreState, served: set[str], wait_s: float) -> PromptsAnswer:
        """Describe the current prompts of these models, by fingerprint.

        Raises:
            StoreSilent: the store has not answered in time.
        """
        current = [name for name, entry in state.prompts.items() if entry.current is not None]
        digests = {name: state.digest_of(name) for name in sorted(current)}
        known = await self._describe(digests.values(), wait_s)
        details = [_details(state, name, known[digest]) for name, digest in digests.items()]
        return PromptsAnswer(
            generation=state.generation,
            generation_digest=state.identity.digest,
            prompts=[d for d in details if d.card is None or d.card.model.fingerprint in served],
        )

    async def file(self, state: StoreState, reference: str, wait_s: float) -> tuple[str, bytes]:
        """Return the digest and the bytes of one prompt's file.

        Raises:
            NotFound: there is none.
            StoreError: it cannot be read.
            StoreSilent: the store has not answered in time.
        """
        digest = state.digest_of(reference)
        read = partial(self._store.read_bytes, digest)
        return digest, await self._calls.call(("file", digest), read, wait_s)

    def forget(self) -> None:
        """Let go of what was read, for some prompts were deleted."""
        self._recent.clear()

    async def _describe(self, digests: Iterable[str], wait_s: float) -> Mapping[str, Description]:
        known = {digest: self._in_memory(digest) for digest in digests}
        found = {digest: own for digest, own in known.items() if own is not None}
        if missing := tuple(digest for digest in known if digest not in found):
            read = partial(self._read_all, missing)
            found |= await self._calls.call(("cards", missing), read, wait_s)
        return found

    def _in_memory(self, digest: str) -> Description | None:
        resident = self._live.current.loaded.get(digest)
        if isinstance(resident, LoadedPrompt):
            hidden_size = resident.members[0].vectors.shape[1]
            return Description(resident.length, hidden_size, resident.card)
        return self._recent.get(digest)

    def _read_all(self, digests: Iterable[str]) -> Mapping[str, Description]:
        return {digest: self._read(digest) for digest in digests}

    def _read(self, digest: str) -> Description:
        cleared = self._recent.cleared
        about = describe(self._store, digest)
        if about.problem is None:  # else it may be mended
            self._recent.put(digest, about, cleared)
        return about


def _details(state: StoreState, reference: str, about: Description) -> PromptDetails:
    return PromptDetails.model_validate(listing.details(state, reference, about))
