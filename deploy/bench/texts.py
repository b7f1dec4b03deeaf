"""What the contenders read: texts of SIB-200's lengths, each with one of several prompts.

Lengths are real, tokens are random: no sentence of the data set is needed or kept here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

# Tokens of a text at every fifth per cent from 0 to 100: SIB-200's English test split (204
# sentences, mean 41.4) under pocket-bloom's byte-level BPE of 22,528 tokens.
SIB_LENGTHS = (
    *(15, 22, 25, 27, 29, 31, 33, 34, 36, 37, 39),
    *(41, 42, 44, 47, 49, 52, 57, 62, 65, 126),
)

# Texts that are measured: a batch of this size has exactly the distribution above, and smaller
# batches share these same texts among them.
POOL = 32
# Ids below this are special tokens in both families.
FIRST_ID = 10
PROMPT_STD = 0.3


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts as token ids, and the indices of their prompts in `Workload.prompts`."""

    texts: tuple[tuple[int, ...], ...]
    prompts: tuple[int, ...]  # text by text, `prompts_per_text` of each
    prompts_per_text: int = 1

    def first(self, texts: int) -> Batch:
        """Its first texts with their prompts."""
        prompts = self.prompts[: texts * self.prompts_per_text]
        return replace(self, texts=self.texts[:texts], prompts=prompts)


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything that all contenders are given: a pool of texts, prompts and label tokens."""

    texts: tuple[tuple[int, ...], ...]
    prompts: tuple[Tensor, ...]  # each (length, hidden), float32
    label_ids: tuple[int, ...]

    @property
    def prompt_length(self) -> int:
        """Tokens of each prompt."""
        return self.prompts[0].shape[0]

    def batches(self, size: int) -> Iterator[Batch]:
        """Cut the pool into batches of one size, over and over; prompts take turns."""
        for begin in itertools.count(step=size):
            yield Batch(
                tuple(self.texts[(begin + i) % len(self.texts)] for i in range(size)),
                tuple((begin + i) % len(self.prompts) for i in range(size)),
            )

    def tokens(self, batch: Batch) -> int:
        """Tokens a model must read for a batch: each text once, and each of its prompts."""
        return sum(map(len, batch.texts)) + len(batch.prompts) * self.prompt_length

    def resident(self, prompts: int) -> Workload:
        """The same texts with only the first prompts in memory."""
        return replace(self, prompts=self.prompts[:prompts])

    def drawn(self, texts: int, seed: int) -> Batch:
        """The first texts, each under a prompt drawn from all; with few prompts, in turn."""
        random = torch.Generator().manual_seed(seed)
        order: list[int] = torch.randperm(len(self.prompts), generator=random).tolist()
        return Batch(self.texts[:texts], tuple(order[i % len(order)] for i in range(texts)))

    def fanned(self, texts: int, prompts_per_text: int) -> Batch:
        """The first texts, each under several prompts, which differ from text to text."""
        prompts = [
            (i + j) % len(self.prompts) for i in range(texts) for j in range(prompts_per_text)
        ]
        return Batch(self.texts[:texts], tuple(prompts), prompts_per_text)


def sib_lengths(count: int) -> list[int]:
    """Lengths of `count` texts that stand for SIB-200's: the middles of equal shares, ascending.

    >>> sib_lengths(4)
    [28, 36, 43, 54]
    """
    middles = (np.arange(count) + 0.5) / count * (len(SIB_LENGTHS) - 1)
    lengths: list[int] = (
        np.rint(np.interp(middles, np.arange(len(SIB_LENGTHS)), SIB_LENGTHS)).astype(int).tolist()
    )
    return lengths


def workload(
    *,
    prompts: int,
    prompt_length: int,
    hidden_size: int,
    vocab_size: int,
    seed: int,
    pool: int = POOL,
    labels: int = 7,
    lengths: Sequence[int] = (),
) -> Workload:
    """Random texts in random order, random prompts, random label tokens.

    Texts have SIB-200's lengths, `pool` of them, unless other `lengths` are given.
    """
    random = torch.Generator().manual_seed(seed)
    lengths = lengths or sib_lengths(pool)
    order: Sequence[int] = torch.randperm(len(lengths), generator=random).tolist()
    ids = [
        torch.randint(FIRST_ID, vocab_size, (lengths[i],), generator=random).tolist() for i in order
    ]
    vectors = torch.randn(prompts, prompt_length, hidden_size, generator=random) * PROMPT_STD
    chosen = torch.randperm(vocab_size - FIRST_ID, generator=random)[:labels] + FIRST_ID
    return Workload(tuple(map(tuple, ids)), tuple(vectors), tuple(chosen.tolist()))
