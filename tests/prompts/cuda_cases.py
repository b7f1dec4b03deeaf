"""Runs the GPU's forward pass on the CPU: no compiler and no graph, but the same buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import flex_attention

from isogloss.prompts.model.cuda.capture import Run
from isogloss.prompts.model.cuda.forward import Layers, inner_layer, last_layer
from isogloss.prompts.model.cuda.graphed import GraphedDecoder
from isogloss.prompts.model.decoder.weights import DecoderWeights

LAYERS = Layers(inner_layer, last_layer)
"""What runs as it is written, compiled by nobody."""

needs_gpu = (not torch.cuda.is_available(), "needs a GPU: torch sees none")
"""Arguments of `pytest.mark.skipif`."""


class Rerun:
    """Stands in for a CUDA graph: the same function object, on the same buffers, run again."""

    def missing(self, weights: DecoderWeights) -> str | None:
        return None

    def __call__(self, run: Run) -> Run:
        with uncompiled_attention():
            states = run()

        def again() -> torch.Tensor:
            with uncompiled_attention():
                states.copy_(run())
            return states

        return again


@contextmanager
def uncompiled_attention() -> Iterator[None]:
    """FlexAttention as torch defines it, in plain operations; its own switch for debugging."""
    before = flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
    flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True
    try:
        yield
    finally:
        flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = before


def ready(weights: DecoderWeights, max_rows: int) -> GraphedDecoder:
    """A warmed-up decoder on the CPU."""
    decoder = GraphedDecoder(weights, lambda: LAYERS, Rerun())
    decoder.warm_up(max_rows)
    assert decoder.rungs, "the warm-up failed; its warning says why"
    return decoder
