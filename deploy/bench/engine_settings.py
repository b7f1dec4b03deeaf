"""What `isogloss bench engine` measures, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch

from isogloss.deploy.bench.contest import DEFAULT_MODELS, refuse_below_one
from isogloss.deploy.bench.number_formats import SHORT
from isogloss.prompts.errors import InvalidInput

CurveName = Literal["batch_size", "resident_prompts", "prompts_per_text", "text_length"]
CURVES: tuple[CurveName, ...] = get_args(CurveName)
HEADLINE_BATCH = 32


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The curves' places, the contenders' precisions, and how often each is measured."""

    models: tuple[str, ...] = DEFAULT_MODELS
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    """Of ours, each a contender. The peers run in the first that is not int8."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    curves: tuple[CurveName, ...] = CURVES
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    prompts: int = 8
    """Different prompts of a mixed batch."""
    prompt_length: int = 10
    residents: tuple[int, ...] = (1, 10, 100, 1000)
    resident_batch: int = 32
    prompts_per_text: tuple[int, ...] = (1, 2, 4, 8, 16)
    fanned_texts: int = 8
    """Texts that are each read under several prompts."""
    text_lengths: tuple[int, ...] = (16, 64, 256, 1024)
    length_tokens: int = 1024
    """Text tokens of a batch of the length curve: `length_tokens / length` texts, at least one."""
    rounds: int = 4
    """Turns of each contender at the headline's batch size; fewer elsewhere, more where a cost of
    a few per cent is to be told from noise."""
    seconds: float = 8.0
    """Quick places are repeated until their turns have taken this long."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers below one, and nothing to measure.

        Raises:
            InvalidInput: naming the field.
        """
        refuse_below_one(
            **{
                name: getattr(self, name)
                for name in ("prompts", "prompt_length", "resident_batch", "fanned_texts")
            },
            **{name: min(getattr(self, name), default=0) for name in _PLACES.values()},
            length_tokens=self.length_tokens,
            rounds=self.rounds,
        )
        for name in ("models", "dtypes", "curves"):
            if not getattr(self, name):
                raise InvalidInput(f"{name}: name at least one")

    @property
    def fewer_rounds(self) -> int:
        """Turns where nothing but a curve is at stake; quick places have more in `seconds`."""
        return max(1, self.rounds - 2)

    @property
    def close_rounds(self) -> int:
        """Turns where a cost of a few per cent is to be told from noise."""
        return max(3, self.rounds + 1)

    @property
    def headline_batch(self) -> int:
        """The batch size whose ratios stand for the model's: 32, or the largest that is asked."""
        return HEADLINE_BATCH if HEADLINE_BATCH in self.batch_sizes else max(self.batch_sizes)

    def places(self, curve: CurveName) -> tuple[int, ...]:
        """Where a curve is measured, ascending; the mixed batch is one number of residents."""
        chosen = set(getattr(self, _PLACES[curve]))
        if curve == "resident_prompts":
            chosen.add(min(self.prompts, self.resident_batch))
        return tuple(sorted(chosen))

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "models": list(self.models),
            "dtypes": [SHORT[dtype] for dtype in self.dtypes],
            "device": self.device.type,
            "curves": {curve: list(self.places(curve)) for curve in self.curves},
            "prompts": self.prompts,
            "prompt_length": self.prompt_length,
            "resident_batch": self.resident_batch,
            "fanned_texts": self.fanned_texts,
            "length_tokens": self.length_tokens,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "seed": self.seed,
            "ratios_at_batch_size": self.headline_batch,
            **_WORDS,
        }


_PLACES: Mapping[CurveName, str] = MappingProxyType(
    {
        "batch_size": "batch_sizes",
        "resident_prompts": "residents",
        "prompts_per_text": "prompts_per_text",
        "text_length": "text_lengths",
    }
)

# What `--quick` changes: a result in about two minutes, of one model.
QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "models": DEFAULT_MODELS[:1],
        "batch_sizes": (1, 8, 32),
        "residents": (1, 1000),
        "resident_batch": 8,
        "prompts_per_text": (1, 8),
        "fanned_texts": 2,
        "text_lengths": (16, 256),
        "length_tokens": 256,
        "rounds": 1,
        "seconds": 2.0,
    }
)

_WORDS = {
    "weights": "random, the same tensors for all contenders",
    "text_lengths": "SIB-200, English test split; on the text_length curve all alike",
    "ratios": "medians of ratios between neighbours in time; above 1 ours is faster, except "
    "prompts_*_vs_* and mixed_vs_single, which are costs: the first's time over the second's",
    "first_round": "counts only where there is no other: memory is measured and answers are "
    "compared in it",
    "interval": "95 %, by bootstrap over the rounds; of few rounds it is no wider than they are",
    "share_of_rate": "operations of the linear layers that the answers need (all text and prompt "
    "tokens through every layer; of the last layer keys and values of all, the rest only of the "
    "rows that are read) / seconds / rate; the rate is that of F.linear (int8: torch._int_mm) over "
    "all linear layers of the model with as many rows as the batch has tokens, in the contender's "
    "precision, in the same rounds",
    "label_agreement": "share of texts with the same best label as transformers; random weights "
    "make near-ties of them (median_margin: log-probability of the best label over the next), so "
    "this understates what trained weights would show",
}
