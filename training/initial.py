"""Where a prompt starts: drawn with the run's seed, at the scale of the model's embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from prompts.backbone import Backbone
from training.config import TrainingConfig
from training.reparameterization import PlainPrompt, ResidualPrompt, TrainablePrompt

_COMMON_TOKENS = 5000  # Lester et al. (2021); vocabularies list their commonest tokens first


def initial_prompt(
    model: Backbone, label_ids: Sequence[int], config: TrainingConfig
) -> TrainablePrompt:
    """A prompt before its first step.

    `vocabulary`: embeddings of tokens sampled from the commonest. `label`: the labels' tokens in
    turn. `normal`: noise with the standard deviation of the commonest tokens' embeddings. All go
    through the model's embedding module, since XGLM scales what its first layer receives.
    """
    generator = torch.Generator().manual_seed(config.seed)
    common = min(model.vocab_size, _COMMON_TOKENS)
    if config.init == "label":
        ids = [label_ids[i % len(label_ids)] for i in range(config.length)]
    else:
        ids = torch.randint(common, (config.length,), generator=generator).tolist()
    vectors = model.embed(ids).detach().float()
    if config.init == "normal":
        spread = model.embed(range(common)).detach().float().std()
        noise = torch.randn(vectors.shape, generator=generator)
        vectors = noise.to(vectors) * spread
    if config.bottleneck is None:
        return PlainPrompt(vectors)
    return ResidualPrompt(vectors, config.bottleneck, config.norm_gain, generator)
