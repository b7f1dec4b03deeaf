"""Takes prompts out of the store and onto one backbone's device, and tries them there."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from torch import Tensor

from isogloss.prompts.errors import InvalidPrompt, StoreError, Unavailable
from isogloss.prompts.format.ensemble import Member
from isogloss.prompts.format.prompt import Prompt, members_of
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.template import check_room
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.registry.loaded import LoadedMember, LoadedPrompt, Unfit
from isogloss.serving.registry.rehearsal import Rehearsal

Kept = TypeVar("Kept")

OLDER_VERSIONS_KEPT = 64
Read = LoadedPrompt | Unfit | Unavailable
"""A prompt that can answer here, why it never can, or why that is not known now."""


class Recent(Generic[Kept]):
    """Keeps what was put or asked for last; may be used from any thread.

    Unlike `functools.lru_cache` it can be asked whether it has something, so that nobody waits in
    a queue for what is there, and what was got before it was cleared does not come back into it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.cleared = 0
        """How often; to be noted before something is got, and given back with it."""

    def get(self, name: str) -> Kept | None:
        """Return what is kept under a name."""
        with self._lock:
            if name not in self._kept:
                return None
            self._kept.move_to_end(name)
            return self._kept[name]

    def put(self, name: str, value: Kept, cleared: int) -> None:
        """Keep something, unless all was cleared since it was begun with."""
        with self._lock:
            if cleared == self.cleared:
                self._kept[name] = value
                self._kept.move_to_end(name)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing of what was put, or is being got."""
        with self._lock:
            self._kept.clear()
            self.cleared += 1


class PromptLoader:
    """Reads prompts for one backbone. What it returns has been rehearsed there."""

    def __init__(self, store: PromptStore, backbone: ServingBackbone) -> None:
        self.backbone = backbone
        self.rehearsal = Rehearsal(backbone)
        self.recent: Recent[LoadedPrompt] = Recent(OLDER_VERSIONS_KEPT)
        """The last that were read or tried, and that no snapshot may hold."""
        self._store = store
        self._label_rows = functools.lru_cache(backbone.label_rows)

    def read_all(
        self, digests: Iterable[str], known: Mapping[str, LoadedPrompt | Unfit]
    ) -> dict[str, Read]:
        """Read prompts, but for those that are known or were tried lately; the new ones together.

        A prompt that does not fit this backbone, or cannot answer on it, is returned as the reason
        why, one that cannot be read or tried now as that problem.
        """
        read: dict[str, Read] = {}
        new: dict[str, LoadedPrompt] = {}
        for digest in digests:
            here = known.get(digest) or self.recent.get(digest)
            read[digest] = here or self._read(digest)
            if here is None and isinstance(prompt := read[digest], LoadedPrompt):
                new[digest] = prompt
        verdicts = self.rehearsal.verdicts(list(new.values()))
        return read | {
            digest: verdict
            for digest, verdict in zip(new, verdicts, strict=True)
            if verdict is not None
        }

    def recall(self, digest: str) -> LoadedPrompt:
        """Read one prompt, and remember it for a while.

        Raises:
            InvalidPrompt: it does not fit this backbone, or cannot answer on it, now or ever.
            Unavailable: it cannot be read or tried now.
        """
        cleared = self.recent.cleared
        prompt = usable(self.read_all([digest], {})[digest])
        self.recent.put(digest, prompt, cleared)
        return prompt

    def try_new(self, prompt: Prompt) -> None:
        """Try a prompt that is not in the store yet, and remember it for when it is.

        Raises:
            InvalidPrompt, Unavailable: as `recall`.
        """
        cleared, loaded = self.recent.cleared, self._load(prompt)
        (verdict,) = self.rehearsal.verdicts([loaded])
        usable(verdict or loaded)
        self.recent.put(prompt.digest, loaded, cleared)

    def _read(self, digest: str) -> Read:
        try:
            return self._load(self._store.read(digest))
        except InvalidPrompt as unfit:
            return Unfit(str(unfit))
        except StoreError as problem:
            return problem

    def _load(self, prompt: Prompt) -> LoadedPrompt:
        prompt.check_fits(self.backbone)
        prompt.check_served()
        for member in members_of("", prompt):
            check_room(member.prompt.card.template, self.backbone)
        verbalizer = prompt.card.verbalizer
        return LoadedPrompt(
            card=prompt.card,
            members=tuple(map(self._load_member, members_of("", prompt))),
            label_rows=self._rows(prompt),
            labels=tuple(label.label for label in verbalizer.labels),
            problem=verbalizer.problem,
        )

    def _rows(self, prompt: Prompt) -> Tensor:
        """(labels, hidden): the prompt's own, or the model's at the labels' tokens."""
        if isinstance(prompt, SoftPrompt) and prompt.label_rows is not None:
            return prompt.label_rows.to(self.backbone.device)
        verbalizer = prompt.card.verbalizer
        return self._label_rows(verbalizer.token_ids, verbalizer.none_id)

    def _load_member(self, member: Member) -> LoadedMember:
        vectors = member.prompt.vectors
        return LoadedMember(
            reference=member.reference,
            position=member.prompt.card.position,
            vectors=vectors.to(self.backbone.device, self.backbone.dtype),
            largest=float(vectors.abs().max()),
            template=member.prompt.card.template,
        )


def usable(read: Read) -> LoadedPrompt:
    """Return a prompt that can run.

    Raises:
        InvalidPrompt: this one cannot.
        Unavailable: nobody knows yet.
    """
    if isinstance(read, Unfit):
        raise InvalidPrompt(read.reason)
    if isinstance(read, Unavailable):
        raise read
    return read
