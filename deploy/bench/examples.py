"""What a prompt learns from in `bench train`: few-shot examples of SIB-200's lengths.

Lengths are real, tokens and labels are random: they decide how long a step takes, not what is
learnt.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from isogloss.deploy.bench.texts import FIRST_ID, sib_lengths

LABELS = 7  # SIB-200's topics
SHOTS = 8  # texts a label (paper, Section 4.1), and a quarter of them for validation (A.3)
TRAIN, DEV = LABELS * SHOTS, LABELS * SHOTS // 4


@dataclass(frozen=True, slots=True)
class Examples:
    """One seed's texts as token ids, and the index of each one's label."""

    train: tuple[tuple[int, ...], ...]
    train_gold: tuple[int, ...]
    dev: tuple[tuple[int, ...], ...]
    dev_gold: tuple[int, ...]


def few_shot(seed: int, vocab_size: int) -> Examples:
    """8 texts a label to train on and 2 to validate on; no two seeds share a text."""
    drawn = torch.Generator().manual_seed(seed)
    lengths = sib_lengths(TRAIN + DEV)
    order: Sequence[int] = torch.randperm(TRAIN + DEV, generator=drawn).tolist()
    texts = [
        tuple(torch.randint(FIRST_ID, vocab_size, (lengths[i],), generator=drawn).tolist())
        for i in order
    ]
    gold = [i % LABELS for i in range(TRAIN + DEV)]
    return Examples(
        tuple(texts[:TRAIN]), tuple(gold[:TRAIN]), tuple(texts[TRAIN:]), tuple(gold[TRAIN:])
    )


def label_tokens(seed: int, vocab_size: int) -> tuple[int, ...]:
    """A random token for each label, none twice."""
    chosen = random.Random(seed).sample(range(FIRST_ID, vocab_size), LABELS)
    return tuple(chosen)


def batches(seed: int, epoch: int, size: int) -> list[list[int]]:
    """Indices in `train` of each step's examples: the order in which our own trainers learn."""
    order = list(range(TRAIN))
    random.Random(f"{seed} order {epoch}").shuffle(order)
    return [order[start : start + size] for start in range(0, TRAIN, size)]


def widest_batch(examples: Examples, seed: int, size: int) -> list[int]:
    """The batch of the first epoch that holds the longest text: the one that needs most memory."""
    return max(batches(seed, 1, size), key=lambda batch: max(len(examples.train[i]) for i in batch))
