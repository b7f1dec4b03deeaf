"""A checkpoint's tensors in the decoder's shape, and back.

What is a number in one model's code and another number in the next is multiplied into the tensors
here, so that the forward pass needs no case for it: the scale of scores goes into queries, that of
logits into the last norm, Gemma's 1 + w into w. Rows of queries and keys are sorted so that
dimensions that turn together lie side by side. Each of these can be undone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.architectures import Architecture
from isogloss.prompts.model.decoder.attention import alibi_slopes
from isogloss.prompts.model.decoder.linear import Affine, Linear, Xielu
from isogloss.prompts.model.decoder.sizes import Sizes
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights, plain

_HEAD = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class Fold:
    """What happens to the rows of a tensor; nothing by default."""

    order: Tensor | None = None  # (rows,): which row of the checkpoint's comes where
    scale: Tensor | float | None = None  # a number, or one for each row
    offset: float = 0.0
    transposed: bool = False

    def read(self, rows: Tensor) -> Tensor:
        """The checkpoint's -> ours; in float32 where numbers change, lest they be rounded."""
        if self.transposed and rows.dim() == 2:
            rows = rows.T.contiguous()
        if self.order is not None:
            rows = rows[self.order.to(rows.device)]
        if self.offset:
            rows = rows.float() + self.offset
        return rows if self.scale is None else rows.float() * self._scale(rows)

    def write(self, rows: Tensor) -> Tensor:
        """Ours -> the checkpoint's."""
        if self.scale is not None:
            rows = rows / self._scale(rows)
        if self.offset:
            rows = rows - self.offset
        if self.order is not None:
            rows = rows[self.order.to(rows.device).argsort()]
        return rows.T if self.transposed and rows.dim() == 2 else rows

    def of_bias(self) -> Fold:
        """What happens to the bias beside it."""
        return Fold(self.order, self.scale)

    def _scale(self, rows: Tensor) -> Tensor | float:
        if not isinstance(self.scale, Tensor):
            return self.scale or 1.0
        return self.scale.to(rows.device).view(-1, *[1] * (rows.dim() - 1))


_NORMS = ("attention_norm", "mlp_norm", "attention_out_norm", "mlp_out_norm")
_LINEARS = ("attention_out", "mlp_gate", "mlp_up", "mlp_down")
_XIELU = ("alpha_p", "alpha_n", "beta", "eps")

Part = tuple[str, tuple[str, ...], Fold]
"""A field of ours, the checkpoint's tensors that become it, rows below rows, and what happens."""


@dataclass(frozen=True)
class Folding:
    """Between the checkpoint of one model and its weights."""

    architecture: Architecture
    sizes: Sizes
    turned: int  # dimensions of a head that turn
    step: int  # 2 where those that turn together lie side by side, 1 where in two halves

    def read(self, state: Mapping[str, Tensor], **constants: Any) -> DecoderWeights:
        """Weights of a state dict; `constants` are what no tensor of it holds.

        Raises:
            InvalidInput: the state dict has tensors that this architecture has no use for.
        """
        left, own, sizes = dict(state), self.architecture, self.sizes
        embedding = left.pop(f"{own.embedding}.weight")
        norms: dict[str, Any] = {
            field: _taken(left, names, fold) for field, names, fold in self._ends()
        }
        weights = DecoderWeights(
            embedding=embedding,
            head=left.pop(_HEAD, embedding),
            layers=tuple(self._layer(left, index) for index in range(sizes.layers)),
            heads=sizes.heads,
            kv_heads=sizes.kv_heads,
            head_size=sizes.head_size,
            norm=own.norm,
            norm_eps=sizes.norm_eps,
            embedding_scale=sizes.embedding_scale,
            positions=left.pop(f"{own.positions}.weight") if own.positions else None,
            slopes=alibi_slopes(sizes.heads).to(embedding.device) if own.alibi else None,
            residual_after_norm=sizes.residual_after_norm,
            parallel=sizes.parallel,
            score_cap=sizes.score_cap,
            **norms,
            **constants,
        )
        if left:
            raise InvalidInput(
                f"its weights have {', '.join(sorted(left)[:3])}"
                f"{f' and {len(left) - 3} more' if len(left) > 3 else ''}, which this architecture "
                "has not as it is described here; choose a variant without"
            )
        return weights

    def write(self, weights: DecoderWeights) -> dict[str, Tensor]:
        """The inverse of `read`: a state dict `from_pretrained` reads."""
        own = self.architecture
        state = {f"{own.embedding}.weight": weights.embedding}
        if weights.head is not weights.embedding:
            state[_HEAD] = weights.head
        if weights.positions is not None:
            state[f"{own.positions}.weight"] = weights.positions
        for field, names, fold in self._ends():
            state |= self._named(names, getattr(weights, field), fold)
        for index, layer in enumerate(weights.layers):
            if own.fused_gate and layer.mlp_gate is not None:
                both = [plain(each).weight for each in (layer.mlp_gate, layer.mlp_up)]
                layer = replace(layer, mlp_up=Affine(torch.cat(both)))
            for field, names, fold in self._parts(index):
                state |= self._named(names, getattr(layer, field), fold)
            if isinstance(layer.activation, Xielu):
                prefix = own.layer.format(index) + str(own.xielu)
                state |= {f"{prefix}.{part}": getattr(layer.activation, part) for part in _XIELU}
        return state

    def _layer(self, left: dict[str, Tensor], index: int) -> LayerWeights:
        """A layer of what is left of a state dict, taken out of it."""
        own, sizes = self.architecture, self.sizes
        read: dict[str, Any] = {"attention_norm": None, "mlp_norm": None}
        read |= {field: _taken(left, names, fold) for field, names, fold in self._parts(index)}
        if own.fused_gate:
            gate, up = read["mlp_up"].weight.chunk(2)
            read |= {"mlp_gate": Affine(gate.contiguous()), "mlp_up": Affine(up.contiguous())}
        prefix = own.layer.format(index) + str(own.xielu)
        return LayerWeights(
            **read,
            activation=sizes.activation
            or Xielu(*(left.pop(f"{prefix}.{part}").float() for part in _XIELU)),
            rotation=sizes.rotations[index],
            window=sizes.windows[index],
        )

    def _named(self, names: Sequence[str], linear: Linear, fold: Fold) -> dict[str, Tensor]:
        """The checkpoint's tensors of one of our layers or norms."""
        loaded, sizes = plain(linear), self.sizes
        rows = [count * sizes.head_size for count in (sizes.heads, *[sizes.kv_heads] * 2)]
        parts = {"weight": fold.write(loaded.weight)}
        if loaded.bias is not None:
            parts["bias"] = fold.of_bias().write(loaded.bias)
        if len(names) == 1:
            return {f"{names[0]}.{part}": tensor for part, tensor in parts.items()}
        return {
            f"{name}.{part}": piece.clone()
            for part, tensor in parts.items()
            for name, piece in zip(names, tensor.split(rows), strict=True)
        }

    def _ends(self) -> Iterator[Part]:
        """Norms before and behind all layers."""
        own = self.architecture
        if own.embedding_norm is not None:
            yield "embedding_norm", (own.embedding_norm,), Fold(offset=own.norm_offset)
        scale = None if self.sizes.logit_scale == 1 else self.sizes.logit_scale
        yield "final_norm", (own.final_norm,), Fold(None, scale, own.norm_offset)

    def _parts(self, index: int) -> Iterator[Part]:
        """Layers and norms of one decoder layer; an architecture's names are our fields' names."""
        own, size, factor = self.architecture, self.sizes.head_size, self.sizes.score_scales[index]
        prefix = own.layer.format(index)
        folds = dict.fromkeys(_LINEARS, Fold(transposed=own.transposed))
        folds |= dict.fromkeys(_NORMS, Fold(offset=own.norm_offset))
        for field, heads, scale in (
            ("q_norm", self.sizes.heads, factor),
            ("k_norm", self.sizes.kv_heads, 1.0),
        ):
            rows = torch.arange(heads * size if own.norms_all_heads else size).view(-1, size)
            order = self._in_heads(rows, index).flatten()
            folds[field] = Fold(order, None if scale == 1 else scale, own.norm_offset)
        yield "qkv", tuple(prefix + name for name in own.qkv), self._qkv(index, factor)
        for field, fold in folds.items():
            if (name := getattr(own, field)) is not None:
                yield field, (prefix + name,), fold

    def _qkv(self, index: int, factor: float) -> Fold:
        """All queries, all keys, all values; within heads, what turns together."""
        own, sizes, scale = self.architecture, self.sizes, None
        cells = torch.arange((sizes.heads + 2 * sizes.kv_heads) * sizes.head_size)
        if own.by_head:
            cells = cells.view(sizes.heads, 3, sizes.head_size).transpose(0, 1)
        cells = cells.reshape(-1, sizes.head_size)
        turning = sizes.heads + sizes.kv_heads
        order = torch.cat([self._in_heads(cells[:turning], index), cells[turning:]]).flatten()
        if factor != 1 and own.q_norm is None:  # else the norm of queries takes it
            scale = torch.ones(len(order))
            scale[: sizes.heads * sizes.head_size] = factor
        in_order = torch.equal(order, torch.arange(len(order)))
        return Fold(None if in_order else order, scale, transposed=own.transposed)

    def _in_heads(self, cells: Tensor, index: int) -> Tensor:
        """(heads, head_size) -> same, with what turns together side by side."""
        if self.sizes.rotations[index] is None or self.step == 2:
            return cells
        halves = (part.unflatten(1, (2, -1)) for part in cells.split(self._widths(), dim=1))
        return torch.cat(list(halves), dim=2).transpose(1, 2).flatten(1)

    def _widths(self) -> list[int]:
        """Dimensions of a head that turn, and that do not."""
        return [self.turned, self.sizes.head_size - self.turned]

    def still(self, table: Tensor) -> Tensor:
        """A table for all of a head: dimensions that stay as they are turn by nothing.

        (positions, turned / 2, 2) -> (positions, head_size / 2, 2).
        """
        missing = self.sizes.head_size // 2 - table.shape[1]
        rest = torch.tensor([1.0, 0.0], device=table.device).expand(len(table), missing, 2)
        return torch.cat([table, rest], dim=1).contiguous()


def _taken(left: dict[str, Tensor], names: Sequence[str], fold: Fold) -> Affine:
    """Several layers as one, rows below rows, taken out of what is left of a state dict."""

    def joined(part: str, fold: Fold) -> Tensor:
        tensors = [left.pop(f"{name}.{part}") for name in names]
        return fold.read(tensors[0] if len(tensors) == 1 else torch.cat(tensors))

    has_bias = f"{names[0]}.bias" in left
    return Affine(joined("weight", fold), joined("bias", fold.of_bias()) if has_bias else None)


def sinusoids(config: Any) -> Tensor:
    """XGLM's (positions, hidden): row p is what the model adds at position p; float32."""
    half, hidden = config.d_model // 2, config.d_model
    rate = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    rows = config.max_position_embeddings + _FIRST_POSITION
    angle = torch.arange(rows).float()[:, None] * rate[None, :]
    table = torch.cat([angle.sin(), angle.cos(), torch.zeros(rows, hidden - 2 * half)], dim=1)
    if config.pad_token_id is not None and config.pad_token_id < rows:
        table[config.pad_token_id] = 0  # as in the model's code, even where it is a real position
    return table[_FIRST_POSITION:]


# XGLM's positions begin at row 2 of its table (XGLMSinusoidalPositionalEmbedding.offset).
_FIRST_POSITION = 2
