"""The architectures that are read: a row each. docs/how-to/models.md says how one is added.

A row says where the checkpoint keeps its tensors and what it does that Llama does not. Sizes,
scales and rotations are read from the model that was loaded. Whatever a row gets wrong is found
then: the model's own answers are compared with ours before it is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class Architecture:
    """One row. Names of a layer's tensors follow `layer`; None: there is no such tensor."""

    model_class: str  # of transformers: what config.json's `architectures` names
    embedding: str = "model.embed_tokens"
    final_norm: str = "model.norm"
    layer: str = "model.layers.{}."
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    attention_out: str = "self_attn.o_proj"
    mlp_gate: str | None = "mlp.gate_proj"
    mlp_up: str = "mlp.up_proj"
    mlp_down: str = "mlp.down_proj"
    attention_norm: str | None = "input_layernorm"
    mlp_norm: str | None = "post_attention_layernorm"
    q_norm: str | None = None
    k_norm: str | None = None
    attention_out_norm: str | None = None
    mlp_out_norm: str | None = None
    embedding_norm: str | None = None
    positions: str | None = None  # learned
    xielu: str | None = None  # an activation with numbers of its own
    norm: Literal["layer", "rms"] = "rms"
    norm_offset: float = 0.0  # norms multiply by it plus what is stored
    norms_all_heads: bool = False  # queries and keys are normed as a whole, and not by head
    by_head: bool = False  # of each head q, k and v lie together
    transposed: bool = False  # linear layers are stored (in, out)
    fused_gate: bool = False  # the gate is the first half of `mlp_up`
    alibi: bool = False
    sinusoids: bool = False
    parallel: bool = False  # attention and MLP read the same rows
    rotates: Literal["all", "no_rope_layers", "windows"] = "all"  # layers that turn, if any do
    activation: str | None = None  # where the configuration does not name it
    norm_eps: float | None = None  # likewise


_LLAMA = Architecture("LlamaForCausalLM")
_QWEN3 = replace(
    _LLAMA, model_class="Qwen3ForCausalLM", q_norm="self_attn.q_norm", k_norm="self_attn.k_norm"
)
_GEMMA = replace(_LLAMA, model_class="GemmaForCausalLM", norm_offset=1.0)
_GEMMA2 = replace(
    _GEMMA,
    model_class="Gemma2ForCausalLM",
    attention_out_norm="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_out_norm="post_feedforward_layernorm",
)
_COHERE = replace(
    _LLAMA, model_class="CohereForCausalLM", norm="layer", parallel=True, mlp_norm=None
)
_NEOX = Architecture(
    "GPTNeoXForCausalLM",
    embedding="gpt_neox.embed_in",
    final_norm="gpt_neox.final_layer_norm",
    layer="gpt_neox.layers.{}.",
    qkv=("attention.query_key_value",),
    attention_out="attention.dense",
    mlp_gate=None,
    mlp_up="mlp.dense_h_to_4h",
    mlp_down="mlp.dense_4h_to_h",
    norm="layer",
    by_head=True,
)

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "bloom": replace(
            _NEOX,
            model_class="BloomForCausalLM",
            embedding="transformer.word_embeddings",
            embedding_norm="transformer.word_embeddings_layernorm",
            final_norm="transformer.ln_f",
            layer="transformer.h.{}.",
            qkv=("self_attention.query_key_value",),
            attention_out="self_attention.dense",
            alibi=True,
            activation="gelu_new",
        ),
        "xglm": Architecture(
            "XGLMForCausalLM",
            final_norm="model.layer_norm",
            attention_out="self_attn.out_proj",
            mlp_gate=None,
            mlp_up="fc1",
            mlp_down="fc2",
            attention_norm="self_attn_layer_norm",
            mlp_norm="final_layer_norm",
            norm="layer",
            norm_eps=1e-5,
            sinusoids=True,
        ),
        "llama": _LLAMA,
        "mistral": replace(_LLAMA, model_class="MistralForCausalLM"),
        "qwen2": replace(_LLAMA, model_class="Qwen2ForCausalLM"),
        "qwen3": _QWEN3,
        "gemma": _GEMMA,
        "gemma2": _GEMMA2,
        "gemma3_text": replace(
            _GEMMA2,
            model_class="Gemma3ForCausalLM",
            q_norm="self_attn.q_norm",
            k_norm="self_attn.k_norm",
        ),
        "smollm3": replace(_LLAMA, model_class="SmolLM3ForCausalLM", rotates="no_rope_layers"),
        "apertus": replace(
            _QWEN3,
            model_class="ApertusForCausalLM",
            attention_norm="attention_layernorm",
            mlp_norm="feedforward_layernorm",
            mlp_gate=None,
            xielu="mlp.act_fn",
        ),
        "olmo2": replace(
            _QWEN3,
            model_class="Olmo2ForCausalLM",
            norms_all_heads=True,
            attention_norm=None,
            attention_out_norm="post_attention_layernorm",
            mlp_norm=None,
            mlp_out_norm="post_feedforward_layernorm",
        ),
        "phi3": replace(
            _LLAMA,
            model_class="Phi3ForCausalLM",
            qkv=("self_attn.qkv_proj",),
            mlp_up="mlp.gate_up_proj",
            mlp_gate=None,
            fused_gate=True,
        ),
        "cohere": _COHERE,
        "cohere2": replace(_COHERE, model_class="Cohere2ForCausalLM", rotates="windows"),
        "gpt2": Architecture(
            "GPT2LMHeadModel",
            embedding="transformer.wte",
            positions="transformer.wpe",
            final_norm="transformer.ln_f",
            layer="transformer.h.{}.",
            qkv=("attn.c_attn",),
            attention_out="attn.c_proj",
            mlp_gate=None,
            mlp_up="mlp.c_fc",
            mlp_down="mlp.c_proj",
            attention_norm="ln_1",
            mlp_norm="ln_2",
            norm="layer",
            transposed=True,
        ),
        "gpt_neox": _NEOX,
    }
)
