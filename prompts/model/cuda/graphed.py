"""The forward pass as CUDA graphs: one launch for a batch instead of three hundred.

    graphed = GraphedDecoder(weights)
    graphed.warm_up(16_384)               # compiles and captures every rung, the largest first
    graphed.read(texts, prompts)          # fills a rung's buffers and replays its graph

`read` returns before the GPU is done: whoever looks at the states waits. Meanwhile the host may lay
out the next batch and send it, for a batch takes its host memory anew (see `uploads`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isogloss.prompts.model.cuda.capture import Captures, GraphCapture, Run
from isogloss.prompts.model.cuda.forward import Layers, compiled_layers, forward
from isogloss.prompts.model.cuda.inputs import Inputs
from isogloss.prompts.model.cuda.ladder import Rung, choose, cut, ladder
from isogloss.prompts.model.cuda.plan import Batch, Plan
from isogloss.prompts.model.decoder.uploads import Uploads, host_buffer
from isogloss.prompts.model.decoder.weights import DecoderWeights

logger = logging.getLogger(__name__)

RECOMPILES = 64
"""Shapes and models that one process may compile; torch gives up at 8 unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Program:
    """One rung, ready to run."""

    inputs: Inputs
    run: Run


class GraphedDecoder:
    """The decoder over packed rows at a few fixed sizes. Empty until `warm_up`."""

    def __init__(
        self,
        weights: DecoderWeights,
        layers: Callable[[], Layers] = compiled_layers,
        capture: Captures | None = None,
    ) -> None:
        """Tests give plain layers and a capture that does without a GPU."""
        self._weights = weights
        self._make_layers = layers
        self._capture = GraphCapture() if capture is None else capture
        self._uploads = Uploads(weights.device)
        self._programs: dict[Rung, Program] = {}
        self._lock = threading.Lock()  # one batch at a time writes to the buffers

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Sizes that are ready, smallest first."""
        return tuple(sorted(self._programs))

    def warm_up(self, max_rows: int) -> None:
        """Make every rung up to `max_rows` rows ready; larger batches will be cut.

        Where that is not possible the decoder stays empty, and a warning says why: batches then
        take the way they take without it. Takes from seconds to a minute or two; torch keeps what
        it compiled on disk, so the second start is quicker.
        """
        reason = self._capture.missing(self._weights)
        if reason is None:
            try:
                with self._lock, torch.inference_mode(False), torch.no_grad():
                    self._programs = self._prepare(max_rows)
                return
            except Exception as error:  # compilers, drivers and memory fail in as many classes
                reason = f"{type(error).__name__}: {error}"
                logger.debug("compiling or capturing failed", exc_info=error)
        logger.warning(
            "the forward pass runs kernel by kernel, without CUDA graphs, which is slower for "
            "small batches: %s",
            " ".join(reason.split())[:500],
        )

    def read(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor | None:
        """Final states at each prompt's last row, (pairs, hidden), text by text.

        Returns:
            None where no rung is ready or one text with its prompts is more than the largest holds.
        """
        if not self._programs:
            return None
        distinct = {id(prompt): prompt for row in prompts for prompt in row}
        index = {key: number for number, key in enumerate(distinct)}
        vectors = list(distinct.values())
        batch = Batch(
            [len(text) for text in texts],
            [[index[id(prompt)] for prompt in row] for row in prompts],
            [prompt.shape[0] for prompt in vectors],
        )
        rows, pairs = batch.rows_of_texts(), [len(row) for row in batch.prompts]
        pieces = cut(rows, pairs, self.rungs[-1])
        if pieces is None:
            return None
        states = [
            self._run(texts[piece.start : piece.stop], batch.part(piece), vectors)
            for piece in pieces
        ]
        return states[0] if len(states) == 1 else torch.cat(states)

    def _run(
        self, texts: Sequence[Sequence[int]], batch: Batch, prompts: Sequence[Tensor]
    ) -> Tensor:
        rung = choose(self.rungs, batch.rows, batch.pairs)
        assert rung is not None
        inputs, run = self._programs[rung].inputs, self._programs[rung].run
        # All that the host does comes first: then the GPU does not wait for it.
        packed = self._uploads.send(inputs.pack(Plan.of(batch, rung), self._weights.device))
        rows = torch.cat([self._embed(texts), *(self._as_rows(prompt) for prompt in prompts)])
        with self._lock:
            torch.index_select(rows, 0, inputs.overwrite(packed), out=inputs.vectors)
            return run()[: batch.pairs].clone()

    def _embed(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """(texts' tokens, hidden) on the device, from a table that is there or on the host."""
        table, device = self._weights.embedding, self._weights.device
        ids = host_buffer((sum(map(len, texts)),), torch.long, device)
        np.concatenate(texts, out=ids.numpy())
        if table.device == device:
            rows = table.index_select(0, self._uploads.send(ids))
        else:
            host = host_buffer((len(ids), table.shape[1]), table.dtype, device)
            rows = self._uploads.send(torch.index_select(table, 0, ids, out=host))
        return rows * self._weights.embedding_scale

    def _as_rows(self, prompt: Tensor) -> Tensor:
        return prompt.to(self._weights.device, self._weights.embedding.dtype)

    def _prepare(self, max_rows: int) -> dict[Rung, Program]:
        """Largest first: the smaller graphs then live in the memory that it asked for."""
        rungs = ladder(max_rows)
        vectors = torch.zeros(
            (rungs[-1].rows, self._weights.hidden_size),
            dtype=self._weights.embedding.dtype,
            device=self._weights.device,
        )
        layers = self._make_layers()
        programs = {}
        with torch._dynamo.config.patch(recompile_limit=RECOMPILES):
            for rung in reversed(rungs):
                inputs = Inputs(rung, vectors)
                programs[rung] = Program(inputs, self._capture(self._pass(layers, inputs)))
        return programs

    def _pass(self, layers: Layers, inputs: Inputs) -> Run:
        weights = self._weights

        def run() -> Tensor:
            return forward(
                layers, weights, inputs.vectors, inputs.positions, inputs.sight, inputs.last
            )

        return run
