"""Where a prompt starts: drawn with the run's seed at the scale of the model's embeddings, at a
text's own embeddings, or where another prompt ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.template import settled_template
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import START_PROMPT, START_WORDS, TrainingConfig
from isogloss.training.tuning.given_prompt import load_prompt
from isogloss.training.tuning.reparameterization import (
    MlpPrompt,
    PlainPrompt,
    ResidualPrompt,
    ScaledPrompt,
    TrainablePrompt,
)
from isogloss.training.tuning.scale import common_tokens, embedding_spread

_UNIFORM_BOUND = 0.5  # the paper's code


def initial_prompt(
    model: Backbone, label_ids: Sequence[int], config: TrainingConfig
) -> TrainablePrompt:
    """A prompt before its first step.

    `vocabulary`: embeddings of tokens sampled from the commonest. `label`: the labels' tokens in
    turn. `normal`: noise with the standard deviation of the commonest tokens' embeddings.
    `words:TEXT`: the text's tokens, cut or begun again where the prompt is shorter or longer. All
    go through the model's embedding module, since XGLM scales what its first layer receives.
    `prompt:FILE`: the vectors of a prompt. `uniform`: parameters in +-0.5, whatever the model's
    scale; all others say what the model reads first, and with a `prompt_scale` the parameters are
    that part of it.

    A residual prompt's p starts there and its network at its own start, so with a `norm_gain` above
    zero what the model reads first is not yet what it starts from.

    Raises:
        NotFound: there is no such prompt file.
        InvalidPrompt: the prompt to start from is for another backbone or stands before the text.
        InvalidInput: the prompt to start from has another length, or the text no tokens.
    """
    generator = torch.Generator().manual_seed(config.seed)
    scale = model.weights.embedding_scale if config.prompt_scale == "embedding" else 1.0
    vectors = _vectors(model, label_ids, config, generator)
    if config.init != "uniform" and scale != 1.0:
        vectors = vectors / scale
    prompt = _trainable(vectors, config, generator)
    return prompt if scale == 1.0 else ScaledPrompt(prompt, scale)


def _trainable(
    vectors: Tensor, config: TrainingConfig, generator: torch.Generator
) -> PlainPrompt | MlpPrompt:
    if config.bottleneck is None:
        return PlainPrompt(vectors)
    network = ResidualPrompt if config.reparameterization == "residual" else MlpPrompt
    return network(vectors, config.bottleneck, config.norm_gain, generator)


def start_length(model: Backbone, init: str | None, length: int | None) -> int | None:
    """How long a prompt is that starts in this way; None: as the model's defaults say.

    Raises: as `initial_prompt`.
    """
    if init is not None and init.startswith(START_PROMPT):
        return _start_of_prompt(model, init, length).shape[0]
    if init is not None and init.startswith(START_WORDS) and length is None:
        return len(_token_ids(model, init))
    return length


def start_template(model: Backbone, init: str | None, template: str | None) -> str | None:
    """What stands around the texts of a prompt that starts in this way: as around its start's.

    A template that was given wins, and so does `{text}`, which is none.

    Raises: as `initial_prompt`.
    """
    if template is not None or init is None or not init.startswith(START_PROMPT):
        return settled_template(template)
    return _given_start(model, init).card.template


def _vectors(
    model: Backbone,
    label_ids: Sequence[int],
    config: TrainingConfig,
    generator: torch.Generator,
) -> Tensor:
    """(length, hidden) float32, where the model is."""
    if config.init.startswith(START_PROMPT):
        return _start_of_prompt(model, config.starts_at, config.length).to(model.device)
    if config.init == "uniform":
        drawn = torch.rand(config.length, model.hidden_size, generator=generator)
        return (drawn - _UNIFORM_BOUND).to(model.device)
    if config.init == "label":
        ids = _in_turn(label_ids, config.length)
    elif config.init.startswith(START_WORDS):
        ids = _in_turn(_token_ids(model, config.init), config.length)
    else:
        ids = torch.randint(common_tokens(model), (config.length,), generator=generator).tolist()
    vectors = model.embed(ids)
    if config.init == "normal":
        noise = torch.randn(vectors.shape, generator=generator)
        vectors = noise.to(vectors) * embedding_spread(model)
    return vectors


def _start_of_prompt(model: Backbone, init: str, length: int | None) -> Tensor:
    """(length, hidden) float32 on the CPU."""
    prompt = _given_start(model, init)
    if length not in (None, prompt.length):
        raise InvalidInput(
            f"length {length}: --init {init} has {prompt.length} vectors; leave --length out"
        )
    return prompt.vectors


def _given_start(model: Backbone, init: str) -> SoftPrompt:
    return load_prompt(init.removeprefix(START_PROMPT), model, f"--init {START_PROMPT}")


def _token_ids(model: Backbone, init: str) -> list[int]:
    """The text's own tokens: nothing is put before or after them."""
    text = init.removeprefix(START_WORDS)
    ids = model.tokenizer.words(text)
    if not ids:
        raise InvalidInput(f"--init {init}: the text has no tokens; give some words")
    return ids


def _in_turn(ids: Sequence[int], length: int) -> list[int]:
    return [ids[i % len(ids)] for i in range(length)]
