"""XGLM's checkpoint tensors in the decoder's shape, and back (transformers' modeling_xglm)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights, plain

# XGLM's positions begin at row 2 of its table (XGLMSinusoidalPositionalEmbedding.offset).
FIRST_POSITION = 2


def from_checkpoint(state: Mapping[str, Tensor], config: Any) -> DecoderWeights:
    """Weights of an `XGLMForCausalLM` state dict.

    Raises:
        InvalidInput: the configuration asks for an activation other than GELU.
    """
    if config.activation_function != "gelu":
        raise InvalidInput(
            f"activation_function {config.activation_function!r}: only XGLM's 'gelu' is supported"
        )

    def affine(name: str) -> Affine:
        return Affine(state[f"model.{name}.weight"], state[f"model.{name}.bias"])

    def layer(index: int) -> LayerWeights:
        prefix = f"layers.{index}"
        parts = [affine(f"{prefix}.self_attn.{kind}_proj") for kind in ("q", "k", "v")]
        qkv = Affine(torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]))
        return LayerWeights(
            attention_norm=affine(f"{prefix}.self_attn_layer_norm"),
            qkv=qkv,
            attention_out=affine(f"{prefix}.self_attn.out_proj"),
            mlp_norm=affine(f"{prefix}.final_layer_norm"),
            mlp_up=affine(f"{prefix}.fc1"),
            mlp_down=affine(f"{prefix}.fc2"),
        )

    embedding = state["model.embed_tokens.weight"]
    return DecoderWeights(
        embedding=embedding,
        head=state.get("lm_head.weight", embedding),
        layers=tuple(layer(index) for index in range(config.num_layers)),
        final_norm=affine("layer_norm"),
        heads=config.attention_heads,
        norm_eps=1e-5,
        gelu="none",
        embedding_scale=math.sqrt(config.d_model) if config.scale_embedding else 1.0,
        sinusoids=sinusoids(config).to(embedding),
    )


def to_checkpoint(weights: DecoderWeights) -> dict[str, Tensor]:
    """The inverse of `from_checkpoint`: a state dict `from_pretrained` reads."""
    state = {"model.embed_tokens.weight": weights.embedding}
    if weights.head is not weights.embedding:
        state["lm_head.weight"] = weights.head

    def put(name: str, layer: Linear) -> None:
        affine = plain(layer)
        state[f"model.{name}.weight"] = affine.weight
        state[f"model.{name}.bias"] = affine.bias

    put("layer_norm", weights.final_norm)
    for index, layer in enumerate(weights.layers):
        prefix = f"layers.{index}"
        put(f"{prefix}.self_attn_layer_norm", layer.attention_norm)
        qkv = plain(layer.qkv)
        kinds = zip("qkv", qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True)
        for kind, weight, bias in kinds:
            put(f"{prefix}.self_attn.{kind}_proj", Affine(weight.clone(), bias.clone()))
        put(f"{prefix}.self_attn.out_proj", layer.attention_out)
        put(f"{prefix}.final_layer_norm", layer.mlp_norm)
        put(f"{prefix}.fc1", layer.mlp_up)
        put(f"{prefix}.fc2", layer.mlp_down)
    return state


def sinusoids(config: Any) -> Tensor:
    """(positions, hidden): row p is what the model adds at position p; float32."""
    half, hidden = config.d_model // 2, config.d_model
    rate = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    rows = config.max_position_embeddings + FIRST_POSITION
    angle = torch.arange(rows).float()[:, None] * rate[None, :]
    table = torch.cat([angle.sin(), angle.cos(), torch.zeros(rows, hidden - 2 * half)], dim=1)
    if config.pad_token_id is not None and config.pad_token_id < rows:
        table[config.pad_token_id] = 0  # as in the model's code, even where it is a real position
    return table[FIRST_POSITION:]
