"""Two short texts read under each prompt before it goes live.

A prompt may be finite and of no use all the same: too large for the precision that a model runs in,
its numbers overflow on the way, or drown the text, so that every text gets one and the same answer.
Only the model itself can tell, and by then the prompt must not answer for anybody yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from isogloss.prompts.errors import IsoglossError, Unavailable
from isogloss.prompts.model.backbone import label_log_probs
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.batching.batcher import run_isolating
from isogloss.serving.registry.loaded import LoadedMember, LoadedPrompt, Unfit

logger = logging.getLogger(__name__)

Read = Callable[[Sequence[Sequence[int]], Sequence[Sequence[Tensor]]], Tensor]
Verdict = Unfit | Unavailable | None
"""That a prompt cannot answer, that this could not be found out, or that it can."""
Perform = Callable[[Callable[[], list[Verdict]]], list[Verdict]]
"""Runs something where the model may run, and waits for what it returns."""

ROWS_AT_A_TIME = 128
"""Vectors of prompts rehearsed at a time: others' batches wait for no more."""
_PARTS = ((0.5, 0.3, 0.2), (0.4,))
"""Of the two texts' tokens in the vocabulary: no matter which, but the texts differ."""


def texts(vocab_size: int) -> list[tuple[int, ...]]:
    """Return the texts that are read, as token ids."""
    return [tuple(int(part * vocab_size) for part in text) for text in _PARTS]


@dataclass(frozen=True, eq=False)
class _Part:
    """One prompt as the model reads it, and what it answers for."""

    prompt: LoadedPrompt
    member: LoadedMember


class Rehearsal:
    """Finds out whether prompts can answer on one backbone, as it is here."""

    def __init__(self, backbone: ServingBackbone, perform: Perform = lambda run: run()) -> None:
        self._backbone = backbone
        self.perform = perform

    def verdicts(self, prompts: Sequence[LoadedPrompt]) -> list[Verdict]:
        """Say of each prompt whether it can answer here; an ensemble can if all its members can."""
        parts = [_Part(prompt, member) for prompt in prompts for member in prompt.members]
        said = (
            verdict
            for few in _few_at_a_time(parts)
            for verdict in self.perform(partial(self._try, few))
        )
        return [_first([next(said) for _ in prompt.members]) for prompt in prompts]

    def _try(self, parts: Sequence[_Part]) -> list[Verdict]:
        outcome = run_isolating(self._verdicts, parts)
        if outcome.failures:
            logger.error("the model failed on a new prompt", exc_info=outcome.failures[-1])
        return [
            Unavailable(f"it could not be tried: {verdict}")
            if isinstance(verdict, IsoglossError)
            else verdict
            for verdict in outcome.results
        ]

    def _verdicts(self, parts: Sequence[_Part]) -> list[Unfit | None]:
        suffixed, prefixed = (
            [each for each in parts if each.member.position == position]
            for position in ("suffix", "prefix")
        )
        with torch.inference_mode():
            states = {
                **self._states(self._backbone.read_suffixed, suffixed),
                **self._states(self._backbone.read_prefixed, prefixed),
            }
            return [self._verdict(each, states[each]) for each in parts]

    def _states(self, read: Read, parts: Sequence[_Part]) -> dict[_Part, Tensor]:
        """What the texts leave under each prompt: (texts, hidden)."""
        if not parts:
            return {}
        vectors, ids = [each.member.vectors for each in parts], texts(self._backbone.vocab_size)
        states = read(ids, [vectors] * len(ids))  # (pairs, hidden), text by text
        return dict(zip(parts, states.unflatten(0, (len(ids), -1)).unbind(1), strict=True))

    def _verdict(self, part: _Part, states: Tensor) -> Unfit | None:
        scores = label_log_probs(states, part.prompt.label_rows)
        if not bool(states.isfinite().all() & scores.isfinite().all()):
            return self._unfit(part.member, "the model's numbers overflow")
        if torch.equal(*states):
            return self._unfit(part.member, "every text gets the same answer")
        return None

    def _unfit(self, member: LoadedMember, what: str) -> Unfit:
        dtype, precision = self._backbone.dtype, self._backbone.linear_dtype
        name = str(dtype).removeprefix("torch.")
        layers = "" if dtype == precision else f" with layers in {precision}".replace("torch.", "")
        which = f"its member {member.reference!r}" if member.reference else "it"
        return Unfit(
            f"under {which} {what} in {name}{layers}, and its numbers go up to {member.largest:g}; "
            "train it again with a smaller learning rate, or serve in a wider precision (--dtype)"
        )


def _first(verdicts: Sequence[Verdict]) -> Verdict:
    """What keeps one of some members from answering, and so all of them."""
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _few_at_a_time(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    few: list[_Part] = []
    rows = 0
    for part in parts:
        length = part.member.vectors.shape[0]
        if few and rows + length > ROWS_AT_A_TIME:
            yield few
            few, rows = [], 0
        few.append(part)
        rows += length
    if few:
        yield few
