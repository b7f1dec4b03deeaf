"""The architectures, small, and what pretraining reads from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.bloom.modeling_bloom import BloomMLP

from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.training.recipes.pocket.batches import Batch
from isogloss.training.recipes.pocket.corpus import Floats
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.tokenizer import MAX_POSITIONS

_SPECIAL_TOKENS: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
_INITIAL_SPREAD = 0.04
# Of a row of the embedding table. XGLM and Gemma scale rows up by the root of the hidden size.
# BLOOM normalizes them; its rows are made so long that a step of the optimizer is as small a part
# of a BLOOM prompt as one would wish. The others read rows as they are, whose numbers these
# families begin at 0.02: times 16, the root of the hidden size.
_ROW_LENGTH = {"bloom": 4.0, "xglm": 1.0, "gemma3_text": 1.0}
_OTHERS_ROW_LENGTH = 0.32


def embedding(model: PreTrainedModel) -> nn.Embedding:
    """The table that tokens are looked up in and logits are read against."""
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    return table


def new_model(recipe: Recipe, token_vectors: Floats) -> PreTrainedModel:
    """Random layers around an embedding table of `token_vectors` (vocabulary, hidden), rows of 1.

    Where rows are made longer or shorter, the last norm makes up for it: logits stay as they are.
    """
    torch.manual_seed(recipe.seed)
    named = AutoConfig.for_model(recipe.model_type, **_shape(recipe), **_SPECIAL_TOKENS)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(named)
    for module in list(model.modules()):
        if isinstance(module, BloomMLP):
            # The same function as theirs, which is written out in Python and takes a quarter of
            # the time of a step.
            module.add_module("gelu_impl", nn.GELU(approximate="tanh"))
    row_length = _ROW_LENGTH.get(recipe.model_type, _OTHERS_ROW_LENGTH)
    norm = model.get_submodule(ARCHITECTURES[recipe.model_type].final_norm)
    with torch.no_grad():
        embedding(model).weight.copy_(torch.from_numpy(token_vectors) * row_length)
        if row_length != 1:
            norm.get_parameter("weight").fill_(1 / row_length)
    return model


def _shape(recipe: Recipe) -> dict[str, Any]:
    """The configuration's fields, under the architecture's own names."""
    hidden, layers, heads = recipe.hidden, recipe.layers, recipe.heads
    own: dict[str, Any] = {"vocab_size": recipe.vocabulary}
    if recipe.model_type == "bloom":
        sizes = {"hidden_size": hidden, "n_layer": layers, "n_head": heads}
        return own | sizes | {"initializer_range": _INITIAL_SPREAD, "seq_length": MAX_POSITIONS}
    if recipe.model_type == "xglm":
        off = dict.fromkeys(
            ("dropout", "attention_dropout", "activation_dropout", "layerdrop"), 0.0
        )
        sizes = {"d_model": hidden, "num_layers": layers, "attention_heads": heads}
        own |= off | sizes | {"ffn_dim": 4 * hidden, "init_std": _INITIAL_SPREAD}
        return own | {"max_position_embeddings": MAX_POSITIONS, "scale_embedding": True}
    own["initializer_range"] = _INITIAL_SPREAD
    if recipe.model_type == "gpt2":
        off = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        sizes = {"n_embd": hidden, "n_layer": layers, "n_head": heads}
        return own | off | sizes | {"n_positions": MAX_POSITIONS}
    return own | {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "head_dim": hidden // heads,
        "query_pre_attn_scalar": hidden // heads,
        "intermediate_size": 3 * hidden,
        "max_position_embeddings": MAX_POSITIONS,
        "sliding_window": MAX_POSITIONS // 2 if recipe.model_type == "gemma3_text" else None,
        "tie_word_embeddings": True,
    }


class Pretraining(nn.Module):
    """The model and the free vectors of the pseudo-tasks, which are thrown away afterwards."""

    def __init__(self, model: PreTrainedModel, free_vectors: int):
        super().__init__()
        self.model = model
        table = embedding(model).weight
        self.spread = float(table.detach().std())
        self.free = nn.Parameter(torch.randn(free_vectors, table.shape[1]) * self.spread)
        # As a model multiplies its embeddings, which are looked up in the table already multiplied.
        self.scale = float(getattr(embedding(model), "embed_scale", 1.0))

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the states read with their bags."""
        table = embedding(self.model).weight  # (V, H)
        is_free = batch.tokens >= len(table)
        tokens = batch.tokens.masked_fill(is_free, 0)
        vectors = embedding(self.model)(tokens)  # (B, T, H)
        free = self.free[(batch.tokens - len(table)).clamp(min=0)] * self.scale
        vectors = torch.where(is_free[..., None], free, vectors)
        # Products in bfloat16 take a quarter of the time where the processor has units for them.
        with torch.autocast(vectors.device.type, torch.bfloat16):
            # Rows are padded at their ends, which a causal model never sees from before.
            states = self._body(vectors)[batch.rows, batch.positions]  # (N, H)
            logits = states @ table.T  # (N, V)
        logits = logits.float()
        wanted = (logits.gather(1, batch.bags) * batch.weights).sum(dim=1)
        return (logits.logsumexp(dim=1) - wanted).mean()

    def _body(self, vectors: Tensor) -> Tensor:
        told = {}
        if self.model.config.model_type == "xglm":  # which cannot count vectors
            told["position_ids"] = torch.arange(vectors.shape[1], device=vectors.device)[None]
        output = self.model.base_model(inputs_embeds=vectors, use_cache=False, **told)
        states: Tensor = output.last_hidden_state
        return states
