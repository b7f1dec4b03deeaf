"""The forward pass: a causal decoder over packed rows, texts and prompts side by side.

In a layer, text rows and prompt rows share every matrix product; only attention tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.prompts.model.decoder.attention import (
    attend_text,
    causal_bias,
    in_effect,
    prompt_bias,
    text_bias,
)
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.decoder.packing import PromptLayout, TextLayout
from isogloss.prompts.model.decoder.prompt_attention import PromptBucket, attend_prompts
from isogloss.prompts.model.decoder.rotation import Turns, rms_scale, turned, turns
from isogloss.prompts.model.decoder.text_kv import KVBucket, TextKV
from isogloss.prompts.model.decoder.uploads import host_buffer, on_device
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights


def embed_tokens(weights: DecoderWeights, token_ids: Tensor) -> Tensor:
    """(tokens,) -> (tokens, hidden): where trained prompts live, before positions and norms.

    The ids must be where the embedding table is; the vectors are where the layers are.
    """
    return look_up(weights.embedding, token_ids, weights.device) * weights.embedding_scale


def look_up(table: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Rows of a table on `device`: (rows,) on the table's -> (rows, hidden).

    From a table on the host only these rows travel, and the host does not wait for them to arrive.
    """
    if table.device == device:
        return F.embedding(rows, table)
    host = host_buffer((len(rows), table.shape[1]), table.dtype, device)
    return torch.index_select(table, 0, rows, out=host).to(device, non_blocking=True)


def enter(weights: DecoderWeights, vectors: Tensor, positions: Tensor) -> Tensor:
    """Embeddings or prompt vectors (rows, hidden), positions (rows,) -> the first layer's input."""
    for table in (weights.sinusoids, weights.positions):
        if table is not None:
            vectors = vectors + table.index_select(0, positions)
    return normalize(weights, vectors, weights.embedding_norm)


def decode(
    weights: DecoderWeights,
    text: tuple[Tensor, TextLayout] | None,
    prompts: tuple[Tensor, PromptLayout] | None,
    kv: TextKV | None = None,
    keep_kv: bool = False,
) -> tuple[Tensor | None, TextKV | None]:
    """Run all layers over text rows, prompt rows, or both.

    Args:
        weights: the backbone.
        text: embedded rows (text tokens, hidden), with their layout.
        prompts: rows (prompt tokens, hidden), laid out over `text` or over `kv`.
        kv: keys and values of texts encoded before; exclusive with `text`.
        keep_kv: return the texts' keys and values.

    Returns:
        Final states, (pairs, hidden), at each prompt's last token, pairs ordered text by text; or,
        without prompts and unless only keys and values are kept, at each text's last token.
        The texts' keys and values, if kept.
    """
    rows = [part[0] for part in (text, prompts) if part is not None]
    positions = _positions(text, prompts, kv, rows[0].device)
    x = enter(weights, torch.cat(rows) if len(rows) > 1 else rows[0], positions)
    turn = turns(weights, positions)
    n_text = 0 if text is None else text[0].shape[0]
    attention = _Attention(weights, text, prompts, kv, x)
    kept: list[list[tuple[Tensor, Tensor]]] = []
    wants_states = prompts is not None or not keep_kv
    for index, layer in enumerate(weights.layers):
        h = normalize(weights, x, layer.attention_norm)
        qkv = project(weights, layer, h, turn)
        residual = h if weights.residual_after_norm else x
        is_last = index == len(weights.layers) - 1
        # Of the last layer's texts only keys and values are read, unless they stand alone.
        text_needed = not is_last or (prompts is None and wants_states)
        mixed, text_kv = attention(qkv, index, text_needed)
        if keep_kv:  # copies: the fused projection that these are views of is three times as large
            kept.append([(k.contiguous(), v.contiguous()) for k, v in text_kv])
        if is_last and not wants_states:
            break
        if is_last:
            wanted = attention.final_rows(n_text)
            residual = residual.index_select(0, wanted)
            mixed = mixed.index_select(0, wanted - (n_text if not text_needed else 0))
        x = finish(weights, layer, mixed, residual)
    states = normalize(weights, x, weights.final_norm) if wants_states else None
    return states, _collect(text, kept) if keep_kv else None


def _positions(
    text: tuple[Tensor, TextLayout] | None,
    prompts: tuple[Tensor, PromptLayout] | None,
    kv: TextKV | None,
    device: torch.device,
) -> Tensor:
    """(rows,) position of every row in its sequence."""
    parts = [] if text is None else [text[1].positions(device)]
    if prompts is not None:
        behind = kv if text is None else text[1]
        assert behind is not None
        parts.append(prompts[1].positions(behind.lengths, device))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def project(weights: DecoderWeights, layer: LayerWeights, h: Tensor, turn: Turns) -> Tensor:
    """Queries, keys and values as attention takes them, normed and turned where a model does so.

    (rows, hidden) -> (rows, (heads + 2 x kv_heads) x head_size).
    """
    return turned_if_any(weights, layer, layer.qkv.apply(h), turn)


def turned_if_any(weights: DecoderWeights, layer: LayerWeights, qkv: Tensor, turn: Turns) -> Tensor:
    """(rows, projection) -> same, queries and keys normed and turned where a model does so."""
    if layer.q_norm is None and layer.rotation is None:
        return qkv
    return turned(weights, layer, qkv, turn)


def finish(weights: DecoderWeights, layer: LayerWeights, mixed: Tensor, x: Tensor) -> Tensor:
    """A layer from its attention on: (rows, heads x head_size), (rows, hidden) -> (rows, hidden).

    `x` are the rows that attention adds to.
    """
    y = _add(weights, layer.attention_out, mixed, x, layer.attention_out_norm)
    shared = weights.parallel and layer.mlp_norm is None  # Cohere: one norm for both
    norm = layer.attention_norm if shared else layer.mlp_norm
    h = normalize(weights, x if weights.parallel else y, norm)
    if layer.mlp_gate is None:
        up = layer.mlp_up.apply_activated(h, layer.activation)
    else:
        up = layer.mlp_up.apply_mul(h, layer.mlp_gate.apply_activated(h, layer.activation))
    residual = h if weights.residual_after_norm else y
    return _add(weights, layer.mlp_down, up, residual, layer.mlp_out_norm)


def _add(
    weights: DecoderWeights, linear: Linear, x: Tensor, residual: Tensor, norm: Affine | None
) -> Tensor:
    """(rows, in), (rows, hidden) -> (rows, hidden): the residual and what a layer adds to it."""
    if norm is None:
        return linear.apply_add(x, residual)
    return residual + normalize(weights, linear.apply(x).to(residual.dtype), norm)


def normalize(weights: DecoderWeights, x: Tensor, norm: Affine | None) -> Tensor:
    """The model's kind of norm, none if None: (rows, hidden) -> same."""
    if norm is None:
        return x
    if weights.norm == "layer":
        return F.layer_norm(x, (x.shape[-1],), norm.weight, norm.bias, weights.norm_eps)
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return F.rms_norm(x, (x.shape[-1],), norm.weight, weights.norm_eps)
    scaled = x * rms_scale(x, weights.norm_eps)  # F.rms_norm takes 1.7 times as long
    return scaled.mul_(norm.weight).to(x.dtype)


class _Attention:
    """Attention of one `decode`: biases and indices are made once and serve every layer."""

    def __init__(
        self,
        weights: DecoderWeights,
        text: tuple[Tensor, TextLayout] | None,
        prompts: tuple[Tensor, PromptLayout] | None,
        kv: TextKV | None,
        like: Tensor,
    ) -> None:
        self.weights = weights
        self.n_text = 0 if text is None else text[0].shape[0]
        self.layout = None if text is None else text[1]
        self.prompts = None if prompts is None else prompts[1]
        self.kv = kv
        self.device = like.device
        self.spans = self._spans()
        longest = self._longest()
        self.windows = [in_effect(layer.window, longest) for layer in weights.layers]
        each = set(self.windows)
        self.text_biases = {window: self._text_biases(window, like.dtype) for window in each}
        self.prompt_buckets = {window: self._prompt_buckets(window) for window in each}

    def _spans(self) -> list[tuple[tuple[int, ...], int]]:
        """Of each bucket of texts, their lengths and its width."""
        if self.kv is not None:
            return [(bucket.lengths, bucket.keys[0].shape[2]) for bucket in self.kv.buckets]
        return [(bucket.lengths, bucket.width) for bucket in self._text_layout().buckets]

    def _longest(self) -> int:
        """Positions that the longest text and the longest prompt take together."""
        prompts = () if self.prompts is None else self.prompts.lengths
        return max(width for _, width in self.spans) + max(prompts, default=0)

    def _text_biases(self, window: int | None, dtype: torch.dtype) -> list[Tensor | None]:
        if self.layout is None:
            return []
        slopes = self.weights.slopes
        if slopes is None and window is None and self.weights.score_cap is None:
            return [None] * len(self.layout.buckets)
        flat = torch.zeros(1, device=self.device) if slopes is None else slopes
        return [causal_bias(flat, bucket.width, dtype, window) for bucket in self.layout.buckets]

    def _prompt_buckets(self, window: int | None) -> list[PromptBucket | None]:
        """Of each bucket of texts, its prompts; None where it has none."""
        if self.prompts is None:
            return []
        slopes, groups = self.weights.slopes, self.weights.heads // self.weights.kv_heads
        buckets: list[PromptBucket | None] = []
        for (lengths, width), padding in zip(self.spans, self.prompts.paddings, strict=True):
            if padding is None:
                buckets.append(None)
                continue
            counts, asking = on_device(lengths, self.device), padding.shape[2]
            behind = text_bias(slopes, counts, width, asking, window)
            if window is not None:
                behind = behind.repeat(1, 1, groups, 1)
            own = prompt_bias(slopes, asking, self.device, window).repeat(1, 1, groups, 1)
            buckets.append(PromptBucket(padding, behind, own))
        return buckets

    def _text_layout(self) -> TextLayout:
        assert self.layout is not None
        return self.layout

    def final_rows(self, n_text: int) -> Tensor:
        """Rows of x whose final state is asked for."""
        if self.prompts is not None:
            return on_device(self.prompts.last_rows(), self.device) + n_text
        return on_device(self._text_layout().last_rows(), self.device)

    def __call__(
        self, qkv: Tensor, layer: int, text_needed: bool
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """(rows, projection) -> (rows, heads x head_size), and each text bucket's keys and values.

        Text rows are left out of the result where they are not needed.
        """
        window = self.windows[layer]
        mixed: list[Tensor] = []
        text_kv: list[tuple[Tensor, Tensor]] = []
        if self.layout is not None:
            for bucket, bias in zip(self.layout.buckets, self.text_biases[window], strict=True):
                q, k, v = self._split(bucket.padding.pad(qkv))
                text_kv.append((k, v))
                if text_needed:
                    out = attend_text(q, k, v, bias, self.weights.score_cap).transpose(1, 2)
                    mixed.append(bucket.padding.unpad(out.flatten(2)))
        if self.kv is not None:
            text_kv = [(bucket.keys[layer], bucket.values[layer]) for bucket in self.kv.buckets]
        if self.prompts is not None:
            mixed.append(self._over_texts(qkv[self.n_text :], text_kv, window))
        return (torch.cat(mixed) if len(mixed) != 1 else mixed[0]) if mixed else qkv, text_kv

    def _over_texts(
        self, qkv: Tensor, text_kv: Sequence[tuple[Tensor, Tensor]], window: int | None
    ) -> Tensor:
        present = [
            (bucket, kv)
            for bucket, kv in zip(self.prompt_buckets[window], text_kv, strict=True)
            if bucket is not None
        ]
        buckets, pairs = zip(*present, strict=True)
        return attend_prompts(qkv, buckets, pairs, self.weights)

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(sequences, width, projection) -> q, k, v (sequences, heads or kv_heads, width, size)."""
        own = self.weights
        cells = qkv.unflatten(-1, (-1, own.head_size)).transpose(1, 2)
        q, k, v = cells.split([own.heads, own.kv_heads, own.kv_heads], dim=1)
        return q, k, v


def _collect(
    text: tuple[Tensor, TextLayout] | None, kept: Sequence[Sequence[tuple[Tensor, Tensor]]]
) -> TextKV:
    assert text is not None
    layout = text[1]
    buckets = []
    for index, bucket in enumerate(layout.buckets):
        keys = tuple(layer[index][0] for layer in kept)
        values = tuple(layer[index][1] for layer in kept)
        buckets.append(KVBucket(bucket.texts, bucket.lengths, keys, values))
    return TextKV(tuple(buckets), layout.lengths)
