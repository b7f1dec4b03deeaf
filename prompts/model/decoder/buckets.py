"""Batches in buckets of similar length: what `encode` and `read` run, and a GPU without graphs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.decoder import decode, embed_tokens
from isogloss.prompts.model.decoder.packing import PromptLayout, TextLayout
from isogloss.prompts.model.decoder.text_kv import TextKV
from isogloss.prompts.model.decoder.uploads import on_device
from isogloss.prompts.model.decoder.weights import DecoderWeights

Texts = Sequence[Sequence[int]]
Prompts = Sequence[Sequence[Tensor]]


def read_suffixed(weights: DecoderWeights, texts: Texts, prompts: Prompts) -> Tensor:
    """State at the last token of each prompt behind each text: (pairs, hidden), text by text.

    Differentiable in the prompts.
    """
    text = text_rows(weights, texts)
    states, _ = decode(weights, text, prompt_rows(weights, text[1], prompts))
    assert states is not None
    return states


def text_rows(weights: DecoderWeights, texts: Texts) -> tuple[Tensor, TextLayout]:
    """Texts embedded, (tokens, hidden), and where they lie."""
    layout = TextLayout.of([len(text) for text in texts], weights.device)
    ids = [token for index in layout.order for token in texts[index]]
    vectors = embed_tokens(weights, on_device(ids, weights.embedding.device))
    return vectors, layout


def prompt_rows(
    weights: DecoderWeights, texts: TextLayout | TextKV, prompts: Prompts
) -> tuple[Tensor, PromptLayout]:
    """Prompts behind texts, (tokens, hidden), and where they lie."""
    lengths = [[prompt.shape[0] for prompt in row] for row in prompts]
    buckets = [bucket.texts for bucket in texts.buckets]
    layout = PromptLayout.of(buckets, lengths, weights.device)
    chosen = [prompts[text][slot] for text, slot in layout.pairs]
    # A prompt that follows many texts is moved and cast once.
    rows = {
        key: prompt.to(weights.device, weights.embedding.dtype)
        for key, prompt in {id(prompt): prompt for prompt in chosen}.items()
    }
    vectors = torch.cat([rows[id(prompt)] for prompt in chosen])
    return vectors, layout
