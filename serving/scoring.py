"""Label probabilities of a mixed batch: any texts, any prompts, any tasks, one forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from prompts.backbone import label_log_probs
from prompts.errors import IsoglossError
from prompts.tokenizer import TokenizedText
from serving.bank import HostsPrompts, ServedPrompt


class EncodesTexts(Protocol):
    """What serving needs of a tokenizer."""

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[TokenizedText]:
        """Token ids, at most `max_tokens` each."""


class ServingBackbone(HostsPrompts, Protocol):
    """What serving needs of a frozen model: `prompts.backbone.Backbone`, or a fake in tests."""

    @property
    def revision(self) -> str | None:
        """Commit of the hub's snapshot, where known."""

    @property
    def architecture(self) -> Literal["bloom", "xglm"]:
        """Which of the two."""

    @property
    def max_text_tokens(self) -> int:
        """Longer texts are cut here."""

    @property
    def tokenizer(self) -> EncodesTexts:
        """The model's own."""

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Hidden state at each prompt's last position: (pairs, hidden)."""

    def read_prefixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Hidden state at each text's last token, the prompt before it: (pairs, hidden)."""


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """One text to be read under one prompt."""

    ids: tuple[int, ...]
    prompt: ServedPrompt

    @property
    def tokens(self) -> int:
        """Positions of the model that it takes."""
        return len(self.ids) + self.prompt.resident.vectors.shape[0]

    @property
    def position(self) -> str:
        """Whether the prompt stands after the text or before it."""
        return self.prompt.resident.card.position


class Unscorable(IsoglossError):
    """The model's answer to one text is not a number."""


Probabilities = list[float]
"""One for each of the prompt's labels, in their order."""


def score_readings(
    backbone: ServingBackbone, readings: Sequence[Reading]
) -> list[Probabilities | Unscorable]:
    """Probabilities of each reading's labels, in order.

    A row that overflows fails alone: its neighbours are answered.
    """
    scores: dict[int, Probabilities | Unscorable] = {}
    with torch.inference_mode():
        for position, read in (
            ("suffix", backbone.read_suffixed),
            ("prefix", backbone.read_prefixed),
        ):
            rows = [i for i, reading in enumerate(readings) if reading.position == position]
            if rows:
                chosen = [readings[i] for i in rows]
                states = read(  # (rows, hidden)
                    [reading.ids for reading in chosen],
                    [[reading.prompt.resident.vectors] for reading in chosen],
                )
                scores.update(zip(rows, _probabilities(states, chosen), strict=True))
    return [scores[i] for i in range(len(readings))]


def _probabilities(states: Tensor, readings: Sequence[Reading]) -> list[Probabilities | Unscorable]:
    """(rows, hidden) -> probabilities of each row, verbalizer by verbalizer."""
    verbalizers: dict[int, list[int]] = {}
    for row, reading in enumerate(readings):
        verbalizers.setdefault(id(reading.prompt.resident.label_rows), []).append(row)
    found: dict[int, Probabilities | Unscorable] = {}
    for rows in verbalizers.values():
        label_rows = readings[rows[0]].prompt.resident.label_rows
        own = states if len(rows) == len(readings) else states[rows]
        probabilities = label_log_probs(own, label_rows).exp().tolist()  # (rows, labels)
        for row, values in zip(rows, probabilities, strict=True):
            found[row] = values if all(map(math.isfinite, values)) else _overflow(readings[row])
    return [found[row] for row in range(len(readings))]


def _overflow(reading: Reading) -> Unscorable:
    prompt = reading.prompt
    return Unscorable(
        f"prompt {prompt.name}@{prompt.version} makes the model's numbers overflow on this text; "
        "roll it back, or serve with --dtype float32"
    )
