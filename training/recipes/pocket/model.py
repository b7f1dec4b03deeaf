"""The two architectures, small, and what pretraining reads from them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BloomConfig, BloomForCausalLM, XGLMConfig, XGLMForCausalLM
from transformers.models.bloom.modeling_bloom import BloomMLP

from isogloss.training.recipes.pocket.batches import Batch
from isogloss.training.recipes.pocket.corpus import Floats
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.tokenizer import MAX_POSITIONS

Model = BloomForCausalLM | XGLMForCausalLM
_SPECIAL_TOKENS: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def embedding(model: Model) -> nn.Embedding:
    """The table that tokens are looked up in and logits are read against."""
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    return table


def new_model(recipe: Recipe, token_vectors: Floats) -> Model:
    """Random layers around an embedding table of `token_vectors` (vocabulary, hidden), rows of 1.

    XGLM scales embeddings up by the root of the hidden size and its table stays as it is. BLOOM
    normalizes them; its rows are made 4 long, and the last norm shrinks the logits back, so that
    a step of the optimizer is as small a part of a BLOOM prompt as one would wish.
    """
    torch.manual_seed(recipe.seed)
    bloom = recipe.model_type == "bloom"
    model = _bloom(recipe) if bloom else _xglm(recipe)
    row_length = 4.0 if bloom else 1.0
    with torch.no_grad():
        embedding(model).weight.copy_(torch.from_numpy(token_vectors) * row_length)
        if isinstance(model, BloomForCausalLM):
            model.transformer.ln_f.weight.fill_(1 / row_length)
    return model


def _bloom(recipe: Recipe) -> Model:
    config = BloomConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        initializer_range=0.04,
        **_SPECIAL_TOKENS,
    )
    config.update({"seq_length": MAX_POSITIONS})
    model = BloomForCausalLM(config)
    for module in list(model.modules()):
        if isinstance(module, BloomMLP):
            # The same function as theirs, which is written out in Python and takes a quarter of
            # the time of a step.
            module.add_module("gelu_impl", nn.GELU(approximate="tanh"))
    return model


def _xglm(recipe: Recipe) -> Model:
    config = XGLMConfig(
        vocab_size=recipe.vocabulary,
        d_model=recipe.hidden,
        ffn_dim=4 * recipe.hidden,
        num_layers=recipe.layers,
        attention_heads=recipe.heads,
        init_std=0.04,
        max_position_embeddings=MAX_POSITIONS,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        layerdrop=0.0,
        scale_embedding=True,
        **_SPECIAL_TOKENS,
    )
    return XGLMForCausalLM(config)


class Pretraining(nn.Module):
    """The model and the free vectors of the pseudo-tasks, which are thrown away afterwards."""

    def __init__(self, model: Model, free_vectors: int):
        super().__init__()
        self.model = model
        table = embedding(model).weight
        self.spread = float(table.detach().std())
        self.free = nn.Parameter(torch.randn(free_vectors, table.shape[1]) * self.spread)
        self.scale = 1.0
        if isinstance(model, XGLMForCausalLM):
            self.scale = math.sqrt(table.shape[1])

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
        if isinstance(self.model, BloomForCausalLM):
            output = self.model.transformer(inputs_embeds=vectors, use_cache=False)
        else:
            positions = torch.arange(vectors.shape[1], device=vectors.device)[None]
            output = self.model.model(
                inputs_embeds=vectors, position_ids=positions, use_cache=False
            )
        states: Tensor = output.last_hidden_state
        return states
