"""Everybody who takes turns on one model: our precisions, the peers, and the machine's own rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from isogloss.deploy.bench.number_formats import SHORT, TOLERANCES
from isogloss.deploy.bench.peers import Contender, Isogloss, Peft, PeftLastLogits, Transformers
from isogloss.deploy.bench.rates import MatrixProducts, linear_weights, needed_operations
from isogloss.deploy.bench.texts import Batch, Workload
from isogloss.prompts.model.backbone import Backbone
from isogloss.serving.pipeline.engine import GRAPHED_TOKENS

Kind = Literal["ours", "peer", "rate"]


@dataclass(frozen=True, slots=True, eq=False)
class Player:
    """One who takes turns over batches of one workload."""

    name: str
    kind: Kind
    precision: str
    prepare: Callable[[Batch], Callable[[], Tensor | None]]
    """Makes one measured call; what the call returns are answers in the CPU's memory."""
    operations: Callable[[Batch], int]
    """Of a rate, all that it computes; of others, what the answers need of the linear layers."""
    judge: Callable[[Batch], Tensor] | None = None
    """Another's answers, which this one's must be."""
    tolerance: float = 0.0


class Players:
    """Makes them from the tensors of one transformers model.

    Args:
        model: in the peers' precision.
        name: the model's.
        dtypes: precisions of ours.
        device: where all of them run.
    """

    def __init__(
        self, model: Any, name: str, dtypes: Sequence[torch.dtype], device: torch.device
    ) -> None:
        self._model = model
        self._base: torch.dtype = model.get_input_embeddings().weight.dtype
        self._dtypes = tuple(dtypes)
        self._backbones = [make_backbone(model, name, dtype, device) for dtype in dtypes]
        self._weights = linear_weights(model)
        self._products = {
            dtype: MatrixProducts(self._weights, dtype)
            for dtype in dict.fromkeys([*dtypes, self._base])
        }

    @property
    def hidden_size(self) -> int:
        """Width of a prompt's vectors."""
        return self._backbones[0].hidden_size

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return self._backbones[0].vocab_size

    def ours(self, work: Workload) -> list[Player]:
        """Our forward pass in each precision; transformers is the judge."""
        judge = Transformers(self._model, work).score
        return [
            self._contender(
                Isogloss(backbone, work, f"isogloss_{SHORT[dtype]}"), work, "ours", dtype, judge
            )
            for dtype, backbone in zip(self._dtypes, self._backbones, strict=True)
        ]

    def transformers(self, work: Workload) -> Player:
        """The prompt concatenated by hand; nobody judges it but by agreeing with it."""
        return self._contender(Transformers(self._model, work), work, "peer", self._base, None)

    def peft(self, work: Workload) -> list[Player]:
        """Called as documented, and with care.

        Its prompts stand before the text, so its judge is our path that puts them there. Make one
        pair a model: PEFT warns of a model that it has wrapped before.
        """
        judge = Isogloss(self._backbones[0], work).score_prefixed
        peft = Peft(self._model, work)
        return [
            self._contender(each, work, "peer", self._base, judge)
            for each in (peft, PeftLastLogits(peft))
        ]

    def rates(self, work: Workload) -> list[Player]:
        """The matrix products alone, in every precision that somebody runs in."""
        return [self._rate(work, dtype) for dtype in self._products]

    def _contender(
        self,
        contender: Contender,
        work: Workload,
        kind: Kind,
        dtype: torch.dtype,
        judge: Callable[[Batch], Tensor] | None,
    ) -> Player:
        return Player(
            contender.name,
            kind,
            SHORT[dtype],
            # On a GPU the copy waits for the answers, as a caller would.
            lambda batch: lambda: contender.score(batch).cpu(),
            lambda batch: needed_operations(self._weights, work, batch),
            judge,
            max(TOLERANCES[dtype], TOLERANCES[self._base], TOLERANCES[self._dtypes[0]]),
        )

    def _rate(self, work: Workload, dtype: torch.dtype) -> Player:
        products = self._products[dtype]

        def prepare(batch: Batch) -> Callable[[], None]:
            inputs = products.inputs(work.tokens(batch))
            return lambda: products.run(inputs)

        return Player(
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
