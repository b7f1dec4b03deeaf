"""Label probabilities of a mixed batch: any texts, any prompts, any tasks, one forward pass.

A text read under several prompts is encoded once; what its prompts say is mixed by their weights.
A candidate on trial is one more prompt of a text's reading, which is kept out of the mixture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.model.backbone import label_log_probs
from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.serving.batching.isolation import is_out_of_memory
from isogloss.serving.registry.loaded import HostsPrompts, ServedPrompt

logger = logging.getLogger(__name__)


class EncodesTexts(Protocol):
    """What serving needs of a tokenizer."""

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[TokenizedText]:
        """Token ids, at most `max_tokens` each."""


class ServingBackbone(HostsPrompts, Protocol):
    """What serving needs of a frozen model: a `prompts.model.backbone.Backbone`, or a fake."""

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


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """One prompt that a text is read under, and how much of the answer is its."""

    prompt: ServedPrompt
    temperature: float = 1.0  # of its scores, before they are mixed
    weight: float = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """One text to be read under one prompt, or several of one position, the heaviest first.

    `candidate` is scored beside them, on the same keys and values, and counts for nothing in what
    they say together.
    """

    ids: tuple[int, ...]
    parts: tuple[Part, ...]
    candidate: Part | None = None

    @property
    def prompt(self) -> ServedPrompt:
        """The heaviest: answers are in its labels' order."""
        return self.parts[0].prompt

    @property
    def read_under(self) -> tuple[Part, ...]:
        """All that the text is read under."""
        return self.parts if self.candidate is None else (*self.parts, self.candidate)

    @property
    def tokens(self) -> int:
        """Positions of the model that it takes."""
        return len(self.ids) + sum(p.prompt.loaded.vectors.shape[0] for p in self.read_under)

    @property
    def position(self) -> str:
        """Whether the prompts stand after the text or before it."""
        return self.prompt.loaded.card.position


class Unscorable(IsoglossError):
    """The model's answer to one text is not a number."""


Probabilities = list[float]
"""One for each label."""


class Scores(NamedTuple):
    """What was found for one reading."""

    routed: Probabilities | Unscorable
    """Of its parts, in the order of the heaviest one's labels; Unscorable only beside a candidate
    that is not."""
    candidate: Probabilities | None = None
    """In the order of its own labels; None where there is none or it failed."""


def score_batch(
    backbone: ServingBackbone, readings: Sequence[Reading]
) -> list[Scores | Unscorable]:
    """`score_readings`, and once more without the candidates where it fails with them.

    So nothing that a candidate does to the model costs a text its answer. Where memory is short a
    smaller batch is tried first, with them.
    """
    try:
        return score_readings(backbone, readings)
    except Exception as error:
        no_candidates = all(each.candidate is None for each in readings)
        if no_candidates or (is_out_of_memory(error) and len(readings) > 1):
            raise
        spared = [replace(each, candidate=None) for each in readings]
        logger.warning("a batch failed with candidates on trial; trying without", exc_info=error)
        return score_readings(backbone, spared)


def score_readings(
    backbone: ServingBackbone, readings: Sequence[Reading]
) -> list[Scores | Unscorable]:
    """Probabilities of each reading's labels, in the order of its heaviest prompt's.

    A row that overflows fails alone: its neighbours are answered.
    """
    scores: dict[int, Scores | Unscorable] = {}
    with torch.inference_mode():
        for position, read in (
            ("suffix", backbone.read_suffixed),
            ("prefix", backbone.read_prefixed),
        ):
            rows = [i for i, reading in enumerate(readings) if reading.position == position]
            if rows:
                chosen = [readings[i] for i in rows]
                states = read(  # (pairs, hidden)
                    [reading.ids for reading in chosen],
                    [[p.prompt.loaded.vectors for p in own.read_under] for own in chosen],
                )
                scores.update(zip(rows, _answers(states, chosen), strict=True))
    return [scores[i] for i in range(len(readings))]


def free_memory(device: torch.device) -> None:
    """Give memory back that is kept for later and not in use, so that a smaller batch finds some.

    On the host there is nothing to do: what a failed batch held is freed already.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _answers(states: Tensor, readings: Sequence[Reading]) -> Iterator[Scores | Unscorable]:
    """(pairs, hidden), reading by reading -> the scores of each reading."""
    found = iter(_probabilities(states, [part for own in readings for part in own.read_under]))
    for reading in readings:
        routed = _mix(reading, [next(found) for _ in reading.parts])
        candidate = None if reading.candidate is None else next(found)
        if candidate is not None and not _finite(candidate):
            candidate = None
        if candidate is None and isinstance(routed, Unscorable):
            yield routed
        else:
            yield Scores(routed, candidate)


def _finite(values: Probabilities) -> bool:
    return all(map(math.isfinite, values))


def _mix(reading: Reading, found: Sequence[Probabilities]) -> Probabilities | Unscorable:
    """Weigh what each part says, label by label, in the order of the heaviest one's labels."""
    for part, values in zip(reading.parts, found, strict=True):
        if not _finite(values):
            return _overflow(part.prompt)
    if len(found) == 1:
        return found[0]
    mixed = dict.fromkeys(reading.prompt.loaded.labels, 0.0)
    for part, values in zip(reading.parts, found, strict=True):
        for label, value in zip(part.prompt.loaded.labels, values, strict=True):
            mixed[label] += part.weight * value
    return list(mixed.values())


def _probabilities(states: Tensor, parts: Sequence[Part]) -> list[Probabilities]:
    """(pairs, hidden) -> probabilities of each pair, verbalizer by verbalizer."""
    verbalizers: dict[int, list[int]] = {}
    for row, part in enumerate(parts):
        verbalizers.setdefault(id(part.prompt.loaded.label_rows), []).append(row)
    found: dict[int, Probabilities] = {}
    for rows in verbalizers.values():
        label_rows = parts[rows[0]].prompt.loaded.label_rows
        own = states if len(rows) == len(parts) else states[rows]
        log_probs = label_log_probs(own, label_rows)  # (rows, labels): logits, but for a constant
        temperatures = log_probs.new_tensor([[parts[row].temperature] for row in rows])
        found.update(zip(rows, (log_probs / temperatures).softmax(-1).tolist(), strict=True))
    return [found[row] for row in range(len(parts))]


def _overflow(prompt: ServedPrompt) -> Unscorable:
    return Unscorable(
        f"prompt {prompt.name}@{prompt.version} makes the model's numbers overflow on this text; "
        "roll it back, or serve with --dtype float32"
    )
