"""Two short texts read under each prompt before it goes live.

A prompt may be finite and of no use all the same: too large for the precision that a model runs in,
its numbers overflow on the way, or drown the text, so that every text gets one and the same answer.
Only the model itself can tell, and by then the prompt must not answer for anybody yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from isogloss.prompts.errors import IsoglossError, Unavailable
from isogloss.prompts.model.backbone import label_log_probs
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.batching.isolation import run_isolating
from isogloss.serving.registry.loaded import LoadedPrompt, Unfit

logger = logging.getLogger(__name__)

Read = Callable[[Sequence[Sequence[int]], Sequence[Sequence[Tensor]]], Tensor]
Verdict = Unfit | Unavailable | None
"""That a prompt cannot answer, that this could not be found out, or that it can."""
Perform = Callable[[Callable[[], list[Verdict]]], list[Verdict]]
"""Runs something where the model may run, and waits for what it returns."""

ROWS_AT_A_TIME = 128
"""Vectors of prompts rehearsed at a time: others' batches wait for no more."""
_PLACES = ((0.5, 0.3, 0.2), (0.4,))
"""Of the two texts' tokens in the vocabulary: no matter which, but the texts differ."""


def texts(vocab_size: int) -> list[tuple[int, ...]]:
    """Return the texts that are read, as token ids."""
    return [tuple(int(place * vocab_size) for place in text) for text in _PLACES]


class Rehearsal:
    """Finds out whether prompts can answer on one backbone, as it is here."""

    def __init__(self, backbone: ServingBackbone, perform: Perform = lambda run: run()) -> None:
        self._backbone = backbone
        self.perform = perform

    def verdicts(self, prompts: Sequence[LoadedPrompt]) -> list[Verdict]:
        """Say of each prompt whether it can answer here."""
        found: list[Verdict] = []
        for few in _few_at_a_time(prompts):
            found += self.perform(partial(self._try, few))
        return found

    def _try(self, prompts: Sequence[LoadedPrompt]) -> list[Verdict]:
        outcome = run_isolating(self._verdicts, prompts)
        if outcome.failures:
            logger.error("the model failed on a new prompt", exc_info=outcome.failures[-1])
        return [
            Unavailable(f"it could not be tried: {verdict}")
            if isinstance(verdict, IsoglossError)
            else verdict
            for verdict in outcome.results
        ]

    def _verdicts(self, prompts: Sequence[LoadedPrompt]) -> list[Unfit | None]:
        suffixed, prefixed = (
            [each for each in prompts if each.card.position == position]
            for position in ("suffix", "prefix")
        )
        with torch.inference_mode():
            states = {
                **self._states(self._backbone.read_suffixed, suffixed),
                **self._states(self._backbone.read_prefixed, prefixed),
            }
            return [self._verdict(each, states[each]) for each in prompts]

    def _states(self, read: Read, prompts: Sequence[LoadedPrompt]) -> dict[LoadedPrompt, Tensor]:
        """What the texts leave under each prompt: (texts, hidden)."""
        if not prompts:
            return {}
        vectors, ids = [each.vectors for each in prompts], texts(self._backbone.vocab_size)
        states = read(ids, [vectors] * len(ids))  # (pairs, hidden), text by text
        return dict(zip(prompts, states.unflatten(0, (len(ids), -1)).unbind(1), strict=True))

    def _verdict(self, prompt: LoadedPrompt, states: Tensor) -> Unfit | None:
        scores = label_log_probs(states, prompt.label_rows)
        if not bool(states.isfinite().all() & scores.isfinite().all()):
            return self._unfit(prompt, "the model's numbers overflow")
        if torch.equal(*states):
            return self._unfit(prompt, "every text gets the same answer")
        return None

    def _unfit(self, prompt: LoadedPrompt, what: str) -> Unfit:
        dtype, precision = self._backbone.dtype, self._backbone.linear_dtype
        name = str(dtype).removeprefix("torch.")
        layers = "" if dtype == precision else f" with layers in {precision}".replace("torch.", "")
        return Unfit(
            f"under it {what} in {name}{layers}, and its numbers go up to {prompt.largest:g}; "
            "train it again with a smaller learning rate, or serve in a wider precision (--dtype)"
        )


def _few_at_a_time(prompts: Sequence[LoadedPrompt]) -> Iterator[list[LoadedPrompt]]:
    few: list[LoadedPrompt] = []
    rows = 0
    for prompt in prompts:
        if few and rows + prompt.vectors.shape[0] > ROWS_AT_A_TIME:
            yield few
            few, rows = [], 0
        few.append(prompt)
        rows += prompt.vectors.shape[0]
    if few:
        yield few
