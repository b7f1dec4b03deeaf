"""The forward pass: a causal pre-norm decoder over packed rows, texts and prompts side by side.

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
    prompt_bias,
    text_bias,
)
from isogloss.prompts.model.decoder.linear import Affine
from isogloss.prompts.model.decoder.packing import PromptLayout, TextLayout
from isogloss.prompts.model.decoder.prompt_attention import PromptBucket, attend_prompts
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
    if weights.sinusoids is not None:
        vectors = vectors + weights.sinusoids.index_select(0, positions)
    if weights.embedding_norm is not None:
        vectors = normalize(vectors, weights.embedding_norm, weights.norm_eps)
    return vectors


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
        text: rows (text tokens, hidden) from `enter`, with their layout.
        prompts: rows (prompt tokens, hidden) from `enter`, laid out over `text` or over `kv`.
        kv: keys and values of texts encoded before; exclusive with `text`.
        keep_kv: return the texts' keys and values.

    Returns:
        Final states, (pairs, hidden), at each prompt's last token, pairs ordered text by text; or,
        without prompts and unless only keys and values are kept, at each text's last token.
        The texts' keys and values, if kept.
    """
    rows = [part[0] for part in (text, prompts) if part is not None]
    x = torch.cat(rows) if len(rows) > 1 else rows[0]
    n_text = 0 if text is None else text[0].shape[0]
    attention = _Attention(weights, text, prompts, kv, x)
    kept: list[list[tuple[Tensor, Tensor]]] = []
    wants_states = prompts is not None or not keep_kv
    for index, layer in enumerate(weights.layers):
        residual, h = x, normalize(x, layer.attention_norm, weights.norm_eps)
        qkv = layer.qkv.apply(h)
        if weights.residual_after_norm:
            residual = h
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
        x = layer.attention_out.apply_add(mixed, residual)
        x = mlp(weights, layer, x)
    states = normalize(x, weights.final_norm, weights.norm_eps) if wants_states else None
    return states, _collect(text, kept) if keep_kv else None


def mlp(weights: DecoderWeights, layer: LayerWeights, x: Tensor) -> Tensor:
    """A layer's second half: (rows, hidden) -> same."""
    h = normalize(x, layer.mlp_norm, weights.norm_eps)
    up = layer.mlp_up.apply_gelu(h, weights.gelu)
    return layer.mlp_down.apply_add(up, h if weights.residual_after_norm else x)


def normalize(x: Tensor, affine: Affine, eps: float) -> Tensor:
    """Layer norm of rows: (rows, hidden) -> same."""
    return F.layer_norm(x, (x.shape[-1],), affine.weight, affine.bias, eps)


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
        self.heads = weights.heads
        self.n_text = 0 if text is None else text[0].shape[0]
        self.layout = None if text is None else text[1]
        self.prompts = None if prompts is None else prompts[1]
        self.kv = kv
        self.device = like.device
        self.text_biases = self._text_biases(weights.slopes, like.dtype)
        self.prompt_buckets = self._prompt_buckets(weights.slopes)

    def _text_biases(self, slopes: Tensor | None, dtype: torch.dtype) -> list[Tensor | None]:
        if self.layout is None:
            return []
        if slopes is None:
            return [None] * len(self.layout.buckets)
        return [causal_bias(slopes, bucket.width, dtype) for bucket in self.layout.buckets]

    def _prompt_buckets(self, slopes: Tensor | None) -> list[PromptBucket | None]:
        """Of each bucket of texts, its prompts; None where it has none."""
        if self.prompts is None:
            return []
        spans = (
            [(bucket.lengths, bucket.keys[0].shape[2]) for bucket in self.kv.buckets]
            if self.kv is not None
            else [(bucket.lengths, bucket.width) for bucket in self._text_layout().buckets]
        )
        buckets: list[PromptBucket | None] = []
        for (lengths, width), padding in zip(spans, self.prompts.paddings, strict=True):
            if padding is None:
                buckets.append(None)
                continue
            counts = on_device(lengths, self.device)
            bias = prompt_bias(slopes, padding.shape[2], self.device)
            buckets.append(PromptBucket(padding, text_bias(slopes, counts, width), bias))
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
        """(rows, 3 x hidden) -> (rows, hidden), and each text bucket's keys and values.

        Text rows are left out of the result where they are not needed.
        """
        mixed: list[Tensor] = []
        text_kv: list[tuple[Tensor, Tensor]] = []
        if self.layout is not None:
            for bucket, bias in zip(self.layout.buckets, self.text_biases, strict=True):
                q, k, v = self._split(bucket.padding.pad(qkv))
                text_kv.append((k, v))
                if text_needed:
                    out = attend_text(q, k, v, bias).transpose(1, 2)
                    mixed.append(bucket.padding.unpad(out.flatten(2)))
        if self.kv is not None:
            text_kv = [(bucket.keys[layer], bucket.values[layer]) for bucket in self.kv.buckets]
        if self.prompts is not None:
            mixed.append(self._over_texts(qkv[self.n_text :], text_kv))
        return (torch.cat(mixed) if len(mixed) != 1 else mixed[0]) if mixed else qkv, text_kv

    def _over_texts(self, qkv: Tensor, text_kv: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        present = [
            (bucket, kv)
            for bucket, kv in zip(self.prompt_buckets, text_kv, strict=True)
            if bucket is not None
        ]
        return attend_prompts(qkv, [kv[0] for kv in present], [kv[1] for kv in present], self.heads)

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(sequences, width, 3 x hidden) -> three of (sequences, heads, width, head_size)."""
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
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
