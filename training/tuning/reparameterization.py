"""A prompt as it is trained: its vectors directly, or through a network, residual or not.

All end as one matrix (length, hidden): at serving time there is no difference.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainPrompt(nn.Module):
    """The prompt's vectors are the parameters."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors.clone())  # (length, hidden)

    def forward(self) -> Tensor:
        """(length, hidden) as the model reads it."""
        return self.vectors


class MlpPrompt(nn.Module):
    """p' = LayerNorm(W_up ReLU(W_down p)): what the paper's code does, without the residual.

    One network is shared by all positions. The projections have no biases, as in the paper's
    formula; LayerNorm has its gain and bias. Both projections start uniform in +-1/sqrt(fan in),
    as torch's linear layers do.

    Args:
        vectors: (length, hidden) what p starts as.
        bottleneck: width m of the network.
        norm_gain: what LayerNorm's gain starts as.
        generator: draws the projections' first values.
    """

    def __init__(
        self, vectors: Tensor, bottleneck: int, norm_gain: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        hidden = vectors.shape[1]
        self.vectors = nn.Parameter(vectors.clone())  # (length, d)
        self.down = nn.Parameter(_uniform(hidden, bottleneck, generator).to(vectors))  # (d, m)
        self.up = nn.Parameter(_uniform(bottleneck, hidden, generator).to(vectors))  # (m, d)
        self.gain = nn.Parameter(torch.full_like(vectors[0], norm_gain))  # (d,)
        self.bias = nn.Parameter(torch.zeros_like(vectors[0]))  # (d,)

    def forward(self) -> Tensor:
        """(length, hidden) as the model reads it: what the network makes of the vectors."""
        through = F.relu(self.vectors @ self.down) @ self.up  # (length, d)
        return F.layer_norm(through, (through.shape[1],), self.gain, self.bias)


class ResidualPrompt(MlpPrompt):
    """p' = LayerNorm(W_up ReLU(W_down p)) + p (paper, Appendix C; Razdaibiedina et al., 2023).

    The network and its start are those of `MlpPrompt`.
    """

    def forward(self) -> Tensor:
        """(length, hidden) as the model reads it: the network folded into the vectors."""
        return super().forward() + self.vectors


class ScaledPrompt(nn.Module):
    """What a prompt comes to, times a constant, as a model multiplies its embeddings.

    Args:
        prompt: what is trained.
        scale: the constant. A step of the same rate moves what the model reads so much farther.
    """

    def __init__(self, prompt: PlainPrompt | MlpPrompt, scale: float) -> None:
        super().__init__()
        self.prompt, self.scale = prompt, scale

    @property
    def vectors(self) -> nn.Parameter:
        """(length, hidden) the parameters, before anything is done to them."""
        return self.prompt.vectors

    def forward(self) -> Tensor:
        """(length, hidden) as the model reads it: the scale folded into the vectors."""
        vectors: Tensor = self.prompt()
        return vectors * self.scale


TrainablePrompt = PlainPrompt | MlpPrompt | ScaledPrompt


def _uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    bound = 1 / math.sqrt(rows)
    return (torch.rand(rows, columns, generator=generator) * 2 - 1) * bound
