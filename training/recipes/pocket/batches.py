"""Training sequences as padded tensors, of like length inside a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.targets import Sampler, Sequence

_CHUNK = 768  # sequences drawn at once, then cut into batches


@dataclass(frozen=True)
class Batch:
    """Padded sequences (B, T), and N states to read with a bag (N, BAG_SIZE) each."""

    tokens: Tensor
    rows: Tensor
    positions: Tensor
    bags: Tensor
    weights: Tensor


def collate(sequences: list[Sequence], device: torch.device) -> Batch:
    """One batch of sequences about as long."""
    longest = max(len(sequence.tokens) for sequence in sequences)
    bags = [bag for sequence in sequences for bag in sequence.bags]
    widest = max(len(bag.tokens) for bag in bags)
    tokens = np.zeros((len(sequences), longest), np.int64)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence.tokens)] = sequence.tokens
    ids, weights = np.zeros((len(bags), widest), np.int64), np.zeros((len(bags), widest), "f4")
    for row, bag in enumerate(bags):
        ids[row, : len(bag.tokens)], weights[row, : len(bag.tokens)] = bag.tokens, bag.weights
    rows = [row for row, sequence in enumerate(sequences) for _ in sequence.positions]
    positions = [position for sequence in sequences for position in sequence.positions]
    arrays = (tokens, np.array(rows), np.array(positions), ids, weights)
    return Batch(*(torch.from_numpy(array).to(device) for array in arrays))


def batches(sampler: Sampler, recipe: Recipe, chunk: int, device: torch.device) -> Iterator[Batch]:
    """One chunk's batches: of like length inside, in random order."""
    rng = np.random.default_rng([recipe.seed, chunk])
    sequences = sorted(sampler.draw(_CHUNK, rng), key=lambda sequence: len(sequence.tokens))
    groups: list[list[Sequence]] = [[]]
    for sequence in sequences:
        if (len(groups[-1]) + 1) * len(sequence.tokens) > recipe.batch_tokens and groups[-1]:
            groups.append([])
        groups[-1].append(sequence)
    for group in rng.permutation(len(groups)):
        yield collate(groups[group], device)
