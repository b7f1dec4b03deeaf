"""Everybody who is measured on one model: our precisions, the peers, and the machine's own rate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from isogloss.deploy.bench.engine_settings import CurveName
from isogloss.deploy.bench.number_formats import SHORT, TOLERANCES
from isogloss.deploy.bench.peers import Isogloss, Peer, Transformers, together
from isogloss.deploy.bench.rates import MatrixProducts, linear_weights, needed_operations
from isogloss.deploy.bench.texts import Batch, Workload
from isogloss.prompts.model.backbone import Backbone
from isogloss.serving.pipeline.engine import GRAPHED_TOKENS

Score = Callable[[Batch], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One that is measured on batches of one workload."""

    name: str
    kind: Literal["ours", "peer", "rate"]
    precision: str
    prepare: Callable[[Batch], Callable[[], Tensor | None]]
    """Makes one measured call; what the call returns are answers in the CPU's memory."""
    operations: Callable[[Batch], int]
    """Of a rate, all that it computes; of others, what the answers need of the linear layers."""
    reference: Score | None = None
    """Another's answers, which this one's must be."""
    tolerance: float = 0.0
    suffixed: bool = True
    """Whether its answers are to be those of transformers."""


class Contenders:
    """Makes them from the tensors of one transformers model.

    Args:
        model: in the peers' precision.
        name: the model's.
        dtypes: precisions of ours.
        device: where all of them run.
        peers: those that are measured.
        peer_dtypes: what they run in, besides those that make a precision of their own; none: the
            model's.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        dtypes: Sequence[torch.dtype],
        device: torch.device,
        peers: Sequence[type[Peer]],
        peer_dtypes: Sequence[torch.dtype] = (),
    ) -> None:
        self._model, self._peers = model, peers
        self._ours = {dtype: make_backbone(model, name, dtype, device) for dtype in dtypes}
        self._first = next(iter(self._ours.values()))
        self._weights = linear_weights(model)
        self.unable = [
            kind
            for kind in peers
            if kind.model_types is not None and model.config.model_type not in kind.model_types
        ]
        """Peers that do not run the model's architecture."""
        base: torch.dtype = model.get_input_embeddings().weight.dtype
        self._loosest = max(TOLERANCES[base], TOLERANCES[dtypes[0]])
        self._base = base
        self._models = {
            dtype: model if dtype == base else copy.deepcopy(model).to(dtype)
            for dtype in peer_dtypes or (base,)
        }
        fixed = [peer.fixed for peer in peers if peer.fixed is not None]
        self._products = {
            dtype: MatrixProducts(self._weights, dtype)
            for dtype in dict.fromkeys([*dtypes, base, *self._models, *fixed])
        }

    @property
    def hidden_size(self) -> int:
        """Width of a prompt's vectors."""
        return self._first.hidden_size

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return self._first.vocab_size

    def ours(self, work: Workload) -> list[Contender]:
        """Our forward pass in each precision; transformers' answers are the reference."""
        reference = Transformers(self._model, work).score
        return [
            self._contender(
                f"isogloss_{SHORT[dtype]}",
                "ours",
                dtype,
                Isogloss(backbone, work).score,
                work,
                reference,
            )
            for dtype, backbone in self._ours.items()
        ]

    def ensembles(self, work: Workload) -> list[Contender]:
        """As `ours`, where the prompts of a text answer it together."""
        by_hand = Transformers(self._model, work)
        return [
            self._contender(
                f"isogloss_{SHORT[dtype]}",
                "ours",
                dtype,
                Isogloss(backbone, work).score_together,
                work,
                lambda batch: together(by_hand.score(batch), batch),
            )
            for dtype, backbone in self._ours.items()
        ]

    def peers(self, work: Workload, curve: CurveName) -> list[Contender]:
        """The peers of a curve, in the precisions that they are asked for in.

        All are compared with transformers in the model's precision, which needs no reference
        itself. Prompts before the text are compared with our forward pass that puts them there.
        Those that do not run the model's architecture are left out.
        """
        return [
            self._peer(kind, dtype, work)
            for kind in self._peers
            if curve in kind.curves and kind not in self.unable
            for dtype in ([self._base] if kind.fixed else self._models)
        ]

    def _peer(self, kind: type[Peer], dtype: torch.dtype, work: Workload) -> Contender:
        peer = kind(self._models.get(dtype, self._model), work)
        suffixed = kind.position == "suffix"
        reference: Score | None = Isogloss(self._first, work).score_prefixed
        if suffixed:
            reference = Transformers(self._model, work).score
        if dtype == self._base and kind.name == Transformers.name:
            reference = None
        name = kind.name if dtype == self._base else f"{kind.name}_{SHORT[dtype]}"
        made = self._contender(name, "peer", peer.dtype, peer.score, work, reference)
        coarser = 0.0 if kind.rounding is None else TOLERANCES[kind.rounding]
        return replace(made, suffixed=suffixed, tolerance=max(made.tolerance, coarser))

    def rates(self, work: Workload) -> list[Contender]:
        """The matrix products alone, in every precision that somebody runs in."""
        return [self._rate(work, dtype) for dtype in self._products]

    def _contender(
        self,
        name: str,
        kind: Literal["ours", "peer"],
        dtype: torch.dtype,
        score: Score,
        work: Workload,
        reference: Score | None,
    ) -> Contender:
        return Contender(
            name,
            kind,
            SHORT[dtype],
            # On a GPU the copy waits for the answers, as a caller would.
            lambda batch: lambda: score(batch).cpu(),
            lambda batch: needed_operations(self._weights, work, batch),
            reference,
            max(TOLERANCES[dtype], self._loosest),
        )

    def _rate(self, work: Workload, dtype: torch.dtype) -> Contender:
        products = self._products[dtype]

        def prepare(batch: Batch) -> Callable[[], None]:
            inputs = products.inputs(work.tokens(batch))
            return lambda: products.run(inputs)

        return Contender(
            f"rate_{SHORT[dtype]}",
            "rate",
            SHORT[dtype],
            prepare,
            lambda batch: products.operations(work.tokens(batch)),
        )


def make_backbone(model: Any, name: str, dtype: torch.dtype, device: torch.device) -> Backbone:
    """Ours as it serves: on a CPU with linear layers packed in one precision, the rest float32."""
    if device.type != "cpu":
        there = Backbone.from_transformers(model, None, model_id=name, device=device, dtype=dtype)
        there.warm_up(GRAPHED_TOKENS)
        return there
    return Backbone.from_transformers(model, None, model_id=name, device=device).for_serving(dtype)
