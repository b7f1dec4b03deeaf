"""The forward pass of serving on a processor: each row passes every weight once, nothing is kept.

It differs from `prompts.model.decoder.decoder.decode`, which training and evaluation use, in its
layout (whole sequences, attended to in place) and in that linear layers may be packed or quantized.

Linear layers are run with few different numbers of rows: oneDNN compiles a kernel for each number
that it meets, which takes several times as long as the product, and keeps it in memory (pocket
models: 20 to 150 ms and 2.4 MiB for each number of rows, of which a server meets thousands). Rows
of zeros fill up what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.prompts.model.decoder.decoder import (
    embed_tokens,
    enter,
    finish,
    normalize,
    project,
    turned_if_any,
)
from isogloss.prompts.model.decoder.rotation import Turns, turns
from isogloss.prompts.model.decoder.uploads import on_device
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights
from isogloss.prompts.model.packed import fused
from isogloss.prompts.model.packed.attention import SequenceAttention
from isogloss.prompts.model.packed.sequences import Layout

Texts = Sequence[Sequence[int]]
Prompts = Sequence[Sequence[Tensor]]

_FEWEST_ROWS = 8
_ROW_COUNTS_PER_DOUBLING = 16


def rounded_up(rows: int) -> int:
    """The number of rows to run instead of `rows`: at most a sixteenth more, or eight at least.

    >>> [rounded_up(rows) for rows in (1, 9, 64, 65, 1000, 1025)]
    [8, 16, 64, 72, 1024, 1088]
    """
    step = max(_FEWEST_ROWS, (1 << (rows - 1).bit_length()) // (2 * _ROW_COUNTS_PER_DOUBLING))
    return -(-rows // step) * step


def read_suffixed(weights: DecoderWeights, texts: Texts, prompts: Prompts) -> Tensor:
    """State at the last token of each prompt behind each text: (pairs, hidden), text by text."""
    lengths = [[prompt.shape[0] for prompt in row] for row in prompts]
    layout = Layout.of([len(text) for text in texts], lengths)
    embedded = _embed(weights, [texts[text] for text, _ in layout.order])
    rows = _rows_of(weights, prompts)
    parts: list[Tensor] = []
    for vectors, (text, slots) in zip(embedded, layout.order, strict=True):
        parts += [vectors, *(rows[id(prompts[text][slot])] for slot in slots)]
    return _read(weights, torch.cat(parts), layout)


def read_prefixed(weights: DecoderWeights, texts: Texts, prompts: Prompts) -> Tensor:
    """State at the last token of each text behind each of its prompts, in the same order."""
    pairs = [(text, prompt) for text, row in zip(texts, prompts, strict=True) for prompt in row]
    layout = Layout.of([prompt.shape[0] for _, prompt in pairs], [[len(text)] for text, _ in pairs])
    embedded = _embed(weights, [pairs[pair][0] for pair, _ in layout.order])
    rows = _rows_of(weights, prompts)
    parts: list[Tensor] = []
    for vectors, (pair, _) in zip(embedded, layout.order, strict=True):
        parts += [rows[id(pairs[pair][1])], vectors]
    return _read(weights, torch.cat(parts), layout)


def _embed(weights: DecoderWeights, texts: Texts) -> Sequence[Tensor]:
    """Of each text (tokens, hidden), looked up together."""
    ids = on_device([token for text in texts for token in text], weights.embedding.device)
    vectors: Sequence[Tensor] = embed_tokens(weights, ids).split([len(text) for text in texts])
    return vectors


def _rows_of(weights: DecoderWeights, prompts: Prompts) -> dict[int, Tensor]:
    """By identity: a prompt that follows many texts is moved and cast once."""
    device, dtype = weights.device, weights.embedding.dtype
    every = {id(prompt): prompt for row in prompts for prompt in row}
    return {key: prompt.to(device, dtype) for key, prompt in every.items()}


def _read(weights: DecoderWeights, vectors: Tensor, layout: Layout) -> Tensor:
    """(rows, hidden) in the layout's order -> final states: (pairs, hidden), text by text."""
    device = vectors.device
    positions = layout.position_ids().to(device)
    x = _filled_up(enter(weights, vectors, positions))
    turn = turns(weights, F.pad(positions, (0, x.shape[0] - len(positions))))
    attention = SequenceAttention(layout, weights)
    for layer in weights.layers[:-1]:
        x = _layer(weights, layer, x, turn, attention.of(layer))
    last, ends = weights.layers[-1], on_device(layout.ends(), device)
    x = _layer(weights, last, x, turn, attention.of(last), ends)
    states = normalize(weights, x, weights.final_norm)
    return states.index_select(0, on_device(layout.reads, device))


def _layer(
    weights: DecoderWeights,
    layer: LayerWeights,
    x: Tensor,
    turn: Turns,
    attention: SequenceAttention,
    ends: Tensor | None = None,
) -> Tensor:
    """One layer; of the last one only the rows that are read go past the keys and values."""
    is_fused = fused.fits(weights, layer)
    if is_fused:
        qkv, residual = turned_if_any(weights, layer, fused.project(weights, layer, x), turn), x
    else:
        h = normalize(weights, x, layer.attention_norm)
        qkv = project(weights, layer, h, turn)
        residual = h if weights.residual_after_norm else x
    if ends is None:
        mixed = attention.every_row(qkv)
    else:
        mixed, residual = (
            _filled_up(each) for each in (attention.ends(qkv), residual.index_select(0, ends))
        )
    if is_fused:
        return fused.finish(weights, layer, mixed, residual)
    rows = layer.mlp_up.rows_at_once
    if residual.shape[0] <= rows:
        return finish(weights, layer, mixed, residual)
    parts = zip(mixed.split(rows), residual.split(rows), strict=True)
    return torch.cat([finish(weights, layer, *part) for part in parts])


def _filled_up(x: Tensor) -> Tensor:
    """(rows, hidden) -> (rounded_up(rows), hidden), zeros below."""
    missing = rounded_up(x.shape[0]) - x.shape[0]
    return F.pad(x, (0, 0, 0, missing)) if missing else x
