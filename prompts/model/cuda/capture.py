"""From a forward pass to a CUDA graph of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.weights import DecoderWeights

Run = Callable[[], Tensor]
"""Reads its inputs, returns the same tensor every time it is called, written anew."""

OLDEST_CAPABILITY = (8, 0)
SMALLEST_HEAD = 16
WARM_UPS = 3
"""Runs before a capture: kernels are compiled and loaded, and libraries take their workspaces."""


class Captures(Protocol):
    """Makes a forward pass repeatable."""

    def missing(self, weights: DecoderWeights) -> str | None:
        """What keeps it from doing so with these weights; None if nothing does."""

    def __call__(self, run: Run) -> Run:
        """What does the same as `run` whenever it is called, on the same tensors."""


class GraphCapture:
    """Captures forward passes that never run at the same time, all in one pool of memory."""

    def __init__(self) -> None:
        self._pool: Any = None  # the first graph makes it

    def missing(self, weights: DecoderWeights) -> str | None:
        """A GPU, a compiler for it, or a model large enough."""
        if weights.device.type != "cuda":
            return f"the weights are on {weights.device.type!r}, not on a GPU"
        if find_spec("triton") is None:
            return "the package triton, which compiles kernels, is not installed"
        capability = torch.cuda.get_device_capability(weights.device)
        if capability < OLDEST_CAPABILITY:
            return f"compute capability {capability} is below {OLDEST_CAPABILITY}"
        size = weights.head_size
        return None if size >= SMALLEST_HEAD else f"head size {size} is below {SMALLEST_HEAD}"

    def __call__(self, run: Run) -> Run:
        """Compile, warm up and capture; what is returned replays."""
        self._warm(run)
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may go on using the GPU.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            states = run()
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return states

        return replay

    def _warm(self, run: Run) -> None:
        """On another stream, as torch's notes on CUDA graphs ask for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
