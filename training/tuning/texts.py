"""The texts of a training as keys and values: encoded once, kept in memory and then on disk.

Nothing computed for a text depends on the prompt that follows it, so every epoch, every seed and
every prompt trained on it can read the same keys and values.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.problem import ASSIGNED, Problem
from isogloss.prompts.format.template import TextStart, around, check_room
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.decoder.text_kv import TextKV

_CHUNK = 32  # texts encoded at a time: bounds the activations held beside the cache
Texts = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class CacheBudget:
    """How much of the cache is in memory (the model's: a GPU's, if it is there) and where not."""

    memory_bytes: int = 4 * 2**30
    folder: Path | None = None  # of a file for what exceeds it; None: the system's temporary folder


class CachedTexts:
    """Every text encoded once: in memory up to a budget, and beyond it in a file.

    The file has no name from the start, so nothing is left of it however the process ends.
    """

    def __init__(
        self,
        model: Backbone,
        budget: CacheBudget,
        encoded: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._model = model
        self._budget = budget
        self._encoded = encoded  # told how many of the texts of an `add` are encoded
        self._rows: dict[tuple[int, ...], int] = {}
        self._blocks: list[Tensor | _OnDisk] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None

    @property
    def held_bytes(self) -> int:
        """Memory that keys and values take."""
        return self._held_bytes

    def add(self, texts: Texts) -> list[int]:
        """Encode the texts that are not there yet, and return the rows of all of them.

        Raises:
            InvalidInput: no space on disk for what exceeds the memory budget.
        """
        fresh = [t for t in dict.fromkeys(map(tuple, texts)) if t not in self._rows]
        for start in range(0, len(fresh), _CHUNK):
            chunk = fresh[start : start + _CHUNK]
            with torch.no_grad():
                blocks = self._model.encode(chunk).split()
            for text, block in zip(chunk, blocks, strict=True):
                self._blocks.append(self._keep(block))
                self._rows[text] = len(self._blocks) - 1
            self._encoded(start + len(chunk), len(fresh))
        return [self._rows[tuple(text)] for text in texts]

    def batch(self, rows: Sequence[int]) -> TextKV:
        """Copy keys and values of the texts in these rows out of the cache, in this order."""
        chosen = [self._blocks[row] for row in rows]
        blocks = [self._read(b) if isinstance(b, _OnDisk) else b for b in chosen]
        return TextKV.join(blocks, self._model.device)

    def _keep(self, block: Tensor) -> Tensor | _OnDisk:
        if self._held_bytes + block.nbytes <= self._budget.memory_bytes:
            self._held_bytes += block.nbytes
            return block
        try:
            return self._write(block)
        except OSError as error:
            raise InvalidInput(
                f"--cache-gb {self._budget.memory_bytes / 2**30:g}: {len(self._blocks)} encoded "
                f"texts fit, and the rest cannot be written to {self._folder()} "
                f"({error.strerror or error}); raise --cache-gb or free space there"
            ) from error

    def _folder(self) -> str:
        return str(self._budget.folder or tempfile.gettempdir())

    def _write(self, block: Tensor) -> _OnDisk:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder())  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # open for as long as the cache lives
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(_bytes_of(block.cpu()))
        self._file.flush()  # a full disk shows here, not in a later read
        return _OnDisk(offset, tuple(block.shape), block.dtype)

    def _read(self, written: _OnDisk) -> Tensor:
        assert self._file is not None
        block = torch.empty(written.shape, dtype=written.dtype)
        self._file.seek(written.offset)
        if self._file.readinto(_bytes_of(block)) < block.nbytes:  # type: ignore[attr-defined]
            raise InvalidInput(f"the file of encoded texts in {self._folder()} was cut short")
        return block


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """A text's block in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def _bytes_of(block: Tensor) -> memoryview:
    """The memory of a tensor on the CPU, to read or to fill."""
    return block.view(torch.uint8).numpy().reshape(-1).data


@dataclass(slots=True)
class FreshTexts:
    """Encodes each batch when asked: for weights that change, with gradients where they want them.

    Frozen texts are better served by `CachedTexts`.
    """

    model: Backbone
    ids: list[Sequence[int]] = field(default_factory=list)

    def add(self, texts: Texts) -> list[int]:
        """Remember the texts, and return their rows."""
        self.ids += texts
        return list(range(len(self.ids) - len(texts), len(self.ids)))

    def batch(self, rows: Sequence[int]) -> TextKV:
        """Encode the texts in these rows, in this order."""
        return self.model.encode([self.ids[row] for row in rows])


EncodedTexts = CachedTexts | FreshTexts


@dataclass(frozen=True, slots=True)
class EncodedExamples:
    """Rows of encoded texts, and the answers wanted to them, where the model is.

    As in torch's cross-entropy, `targets` are (texts,) int64 places of the labels, or (texts,
    labels) float32 probabilities: a teacher's. Of independent labels they are (texts, labels).
    """

    rows: tuple[int, ...]
    targets: Tensor
    problem: Problem = "single_label"

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, count: int) -> tuple[EncodedExamples, EncodedExamples]:
        """The first `count` of them, and the others."""
        return (
            EncodedExamples(self.rows[:count], self.targets[:count], self.problem),
            EncodedExamples(self.rows[count:], self.targets[count:], self.problem),
        )

    def loss(self, scores: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """Mean loss in nats of (texts, answers) over these places of `rows`; None: all of them.

        Cross-entropy with labels, KL(teacher || student) with probabilities. Of independent labels,
        whose scores are log odds, the mean over labels of the binary cross-entropy.
        """
        wanted = self.targets if places is None else self.targets[list(places)]
        if self.problem == "multi_label":
            return F.binary_cross_entropy_with_logits(scores, wanted)
        if wanted.ndim == 1:
            return F.nll_loss(scores, wanted)
        return F.kl_div(scores, wanted, reduction="batchmean")

    def rightness(self, scores: Tensor) -> float:
        """How right the answers of (texts, labels) are, summed over all the texts: `score_answer`.

        A teacher's answer counts as the right one.
        """
        if self.problem == "multi_label":
            return _f1_sum(scores > 0, self.targets >= ASSIGNED)
        wanted = self.targets if self.targets.ndim == 1 else self.targets.argmax(-1)
        answers = scores.argmax(-1)
        if self.problem == "ordered":
            off = (answers - wanted).abs().sum().item()
            return len(wanted) - off / (scores.shape[1] - 1)
        return int((answers == wanted).sum())


def _f1_sum(said: Tensor, right: Tensor) -> float:
    """(texts, labels) of what is assigned and what should be -> F1 of each text, summed."""
    both = (said & right).sum(-1)
    sizes = said.sum(-1) + right.sum(-1)
    return float(torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0).sum())


def tokenize(
    model: Backbone,
    texts: Sequence[str],
    max_tokens: int | None,
    start: TextStart = "model",
    template: str | None = None,
) -> Texts:
    """Token ids of each text, cut to `max_tokens` (the start among them) and what the model reads.

    Args:
        model: the backbone.
        texts: to read.
        max_tokens: where they are cut; None: where the model cuts them.
        start: what stands before them.
        template: what stands around them, which is never cut.

    Raises:
        InvalidPrompt: the template leaves a text too little room.
    """
    check_room(template, model)
    limit = min(max_tokens or model.max_text_tokens, model.max_text_tokens)
    read = model.tokenizer.encode(texts, limit, around(template))
    before = len(model.tokenizer.start) if start == "none" else 0
    return [text.ids[before:] for text in read]
