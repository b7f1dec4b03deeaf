"""Small random models of both architectures, with transformers' own module as the oracle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM, XGLMConfig, XGLMForCausalLM

from isogloss.prompts.model import full_size
from isogloss.prompts.model.backbone import Backbone

ARCHITECTURES = ("bloom", "xglm")
VOCABULARY = 311  # prime: nothing divides it by accident


def random_model(architecture: str, seed: int, **changes: Any) -> Any:
    """A random configuration with weights large enough that attention and logits are not flat."""
    pick = random.Random(f"{architecture}{seed}")
    heads = pick.choice([1, 3, 4, 6])
    hidden = heads * pick.choice([8, 10, 12])
    torch.manual_seed(seed)
    model: Any
    if architecture == "bloom":
        config = BloomConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            n_head=heads,
            n_layer=pick.choice([1, 2, 3]),
            initializer_range=0.3,
            apply_residual_connection_post_layernorm=pick.random() < 0.3,
        )
        config.update({"seq_length": 64} | changes)
        model = BloomForCausalLM(config)
    else:
        xglm = XGLMConfig(
            vocab_size=VOCABULARY,
            d_model=hidden,
            attention_heads=heads,
            num_layers=pick.choice([1, 2, 3]),
            ffn_dim=pick.choice([33, 64]),
            max_position_embeddings=64,
            init_std=0.3,
            scale_embedding=pick.random() < 0.7,
            pad_token_id=pick.choice([1, 5]),
        )
        xglm.update(changes)
        model = XGLMForCausalLM(xglm)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # transformers starts them at zero, which hides mistakes
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Case:
    """A model, ours and theirs, with a ragged batch: texts, prompts for each, label tokens."""

    oracle: Any
    backbone: Backbone
    texts: list[list[int]]
    prompts: list[list[Tensor]]
    labels: list[int]

    @property
    def rows(self) -> Tensor:
        return self.backbone.label_rows(self.labels)

    def expected(self, position: str = "suffix") -> Tensor:
        """Label log-probabilities of every pair, each alone through transformers' forward."""
        found = [
            oracle_log_probs(self.oracle, text, prompt, self.labels, position)
            for text, own in zip(self.texts, self.prompts, strict=True)
            for prompt in own
        ]
        return torch.stack(found)


def random_case(
    architecture: str,
    seed: int,
    text_lengths: Sequence[int],
    prompt_lengths: Sequence[Sequence[int]],
) -> Case:
    model = random_model(architecture, seed)
    return case_of(model, architecture, seed, text_lengths, prompt_lengths)


def case_of(
    model: Any,
    architecture: str,
    seed: int,
    text_lengths: Sequence[int],
    prompt_lengths: Sequence[Sequence[int]],
) -> Case:
    """A model with random texts and prompts of these lengths."""
    backbone = Backbone.from_transformers(model, None, model_id=f"random-{architecture}-{seed}")
    draw = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return torch.randint(6, VOCABULARY, (count,), generator=draw).tolist()

    def prompt(length: int) -> Tensor:
        return torch.randn(length, backbone.hidden_size, generator=draw)

    return Case(
        model,
        backbone,
        [tokens(count) for count in text_lengths],
        [[prompt(length) for length in own] for own in prompt_lengths],
        tokens(5),
    )


@torch.no_grad()
def oracle_log_probs(
    model: Any, text: Sequence[int], prompt: Tensor, labels: Sequence[int], position: str
) -> Tensor:
    """Transformers' full forward over one concatenated sequence: (labels,)."""
    embedded = model.get_input_embeddings()(torch.tensor([list(text)]))
    parts = [embedded, prompt[None].to(embedded)]
    sequence = torch.cat(parts if position == "suffix" else parts[::-1], dim=1)
    logits = model(inputs_embeds=sequence, use_cache=False).logits
    chosen: Tensor = logits[0, -1, list(labels)].float().log_softmax(-1)
    return chosen


def full_size_backbone(
    name: str, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Backbone:
    """A model of Table 2 with random weights and no tokenizer."""
    config = full_size.full_size_config(name)
    model = full_size.random_model(config, 0, device=device, dtype=dtype)
    return Backbone.from_transformers(model, None, model_id=name, device=device, dtype=dtype)
