"""BLOOM's checkpoint tensors in the decoder's shape, and back (transformers' modeling_bloom)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.attention import alibi_slopes
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights, plain


def from_checkpoint(state: Mapping[str, Tensor], config: Any) -> DecoderWeights:
    """Weights of a `BloomForCausalLM` state dict (names with or without `transformer.`)."""
    prefix = "transformer."
    heads = config.n_head

    def affine(name: str) -> Affine:
        return Affine(state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"])

    def layer(index: int) -> LayerWeights:
        qkv = affine(f"h.{index}.self_attention.query_key_value")
        return LayerWeights(
            attention_norm=affine(f"h.{index}.input_layernorm"),
            qkv=Affine(_by_kind(qkv.weight, heads), _by_kind(qkv.bias, heads)),
            attention_out=affine(f"h.{index}.self_attention.dense"),
            mlp_norm=affine(f"h.{index}.post_attention_layernorm"),
            mlp_up=affine(f"h.{index}.mlp.dense_h_to_4h"),
            mlp_down=affine(f"h.{index}.mlp.dense_4h_to_h"),
        )

    embedding = state[f"{prefix}word_embeddings.weight"]
    return DecoderWeights(
        embedding=embedding,
        head=state.get("lm_head.weight", embedding),
        layers=tuple(layer(index) for index in range(config.n_layer)),
        final_norm=affine("ln_f"),
        heads=heads,
        norm_eps=config.layer_norm_epsilon,
        gelu="tanh",
        embedding_norm=affine("word_embeddings_layernorm"),
        slopes=alibi_slopes(heads).to(embedding.device),
        residual_after_norm=config.apply_residual_connection_post_layernorm,
    )


def to_checkpoint(weights: DecoderWeights) -> dict[str, Tensor]:
    """The inverse of `from_checkpoint`: a state dict `from_pretrained` reads."""
    state = {"transformer.word_embeddings.weight": weights.embedding}
    if weights.head is not weights.embedding:
        state["lm_head.weight"] = weights.head

    def put(name: str, layer: Linear) -> None:
        affine = plain(layer)
        state[f"transformer.{name}.weight"] = affine.weight
        state[f"transformer.{name}.bias"] = affine.bias

    assert weights.embedding_norm is not None
    put("word_embeddings_layernorm", weights.embedding_norm)
    put("ln_f", weights.final_norm)
    for index, layer in enumerate(weights.layers):
        qkv = plain(layer.qkv)
        mixed = Affine(_by_head(qkv.weight, weights.heads), _by_head(qkv.bias, weights.heads))
        put(f"h.{index}.input_layernorm", layer.attention_norm)
        put(f"h.{index}.self_attention.query_key_value", mixed)
        put(f"h.{index}.self_attention.dense", layer.attention_out)
        put(f"h.{index}.post_attention_layernorm", layer.mlp_norm)
        put(f"h.{index}.mlp.dense_h_to_4h", layer.mlp_up)
        put(f"h.{index}.mlp.dense_4h_to_h", layer.mlp_down)
    return state


def _by_kind(rows: Tensor, heads: int) -> Tensor:
    """BLOOM stores q, k and v of a head together; put all q first, then all k, then all v."""
    grouped: Tensor = rows.unflatten(0, (heads, 3, -1)).transpose(0, 1)
    return grouped.reshape(rows.shape).contiguous()


def _by_head(rows: Tensor, heads: int) -> Tensor:
    grouped = rows.unflatten(0, (3, heads, -1)).transpose(0, 1)
    return torch.clone(grouped.reshape(rows.shape))
