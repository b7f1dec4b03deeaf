"""Takes prompts out of the store and onto one backbone's device, and tries them there."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from isogloss.prompts.errors import InvalidPrompt, StoreError, Unavailable
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.registry.recent import Recent
from isogloss.serving.registry.rehearsal import Rehearsal
from isogloss.serving.registry.residents import HostsPrompts, ResidentPrompt, Unfit

OLDER_VERSIONS_KEPT = 64
Found = ResidentPrompt | Unfit | Unavailable
"""A prompt that can answer here, why it never can, or why that is not known now."""


class PromptReader:
    """Reads prompts for one backbone. What it returns has been rehearsed there."""

    def __init__(self, store: PromptStore, backbone: HostsPrompts) -> None:
        self.backbone = backbone
        self.rehearsal = Rehearsal(backbone)
        self.recent: Recent[ResidentPrompt] = Recent(OLDER_VERSIONS_KEPT)
        """The last that were read or tried, and that no bank may hold."""
        self._store = store
        self._label_rows = functools.lru_cache(backbone.label_rows)

    def read_all(
        self, digests: Iterable[str], known: Mapping[str, ResidentPrompt | Unfit]
    ) -> dict[str, Found]:
        """Read prompts, but for those that are known or were tried lately; the new ones together.

        A prompt that does not fit this backbone, or cannot answer on it, is returned as the reason
        why, one that cannot be read or tried now as that problem.
        """
        found: dict[str, Found] = {}
        new: dict[str, ResidentPrompt] = {}
        for digest in digests:
            here = known.get(digest) or self.recent.get(digest)
            found[digest] = here or self._read(digest)
            if here is None and isinstance(prompt := found[digest], ResidentPrompt):
                new[digest] = prompt
        verdicts = self.rehearsal.verdicts(list(new.values()))
        return found | {
            digest: verdict
            for digest, verdict in zip(new, verdicts, strict=True)
            if verdict is not None
        }

    def recall(self, digest: str) -> ResidentPrompt:
        """Read one prompt, and remember it for a while.

        Raises:
            InvalidPrompt: it does not fit this backbone, or cannot answer on it, now or ever.
            Unavailable: it cannot be read or tried now.
        """
        cleared = self.recent.cleared
        prompt = usable(self.read_all([digest], {})[digest])
        self.recent.put(digest, prompt, cleared)
        return prompt

    def audition(self, prompt: SoftPrompt) -> None:
        """Try a prompt that is not in the store yet, and remember it for when it is.

        Raises:
            InvalidPrompt, Unavailable: as `recall`.
        """
        cleared, resident = self.recent.cleared, self._place(prompt)
        (verdict,) = self.rehearsal.verdicts([resident])
        usable(verdict or resident)
        self.recent.put(prompt.digest, resident, cleared)

    def _read(self, digest: str) -> Found:
        try:
            return self._place(self._store.read(digest))
        except InvalidPrompt as unfit:
            return Unfit(str(unfit))
        except StoreError as problem:
            return problem

    def _place(self, prompt: SoftPrompt) -> ResidentPrompt:
        prompt.check_fits(self.backbone)
        labels = prompt.card.labels
        return ResidentPrompt(
            card=prompt.card,
            vectors=prompt.vectors.to(self.backbone.device, self.backbone.dtype),
            label_rows=self._label_rows(tuple(label.token_id for label in labels)),
            labels=tuple(label.label for label in labels),
            largest=float(prompt.vectors.abs().max()),
        )


def usable(found: Found) -> ResidentPrompt:
    """Return a prompt that can run.

    Raises:
        InvalidPrompt: this one cannot.
        Unavailable: nobody knows yet.
    """
    if isinstance(found, Unfit):
        raise InvalidPrompt(found.reason)
    if isinstance(found, Unavailable):
        raise found
    return found
