"""Ways to make candidates, and what each effort spends on them.

A way's options are those of `isogloss train`. How long it trains follows from how much there is to
learn from: the same steps of the optimizer for thirty examples as for thousands, within bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Effort = Literal["quick", "full"]


@dataclass(frozen=True, slots=True)
class Way:
    """How prompts of one way are trained."""

    steps: int  # of the optimizer, about
    seeds: tuple[int, ...]
    lengths: tuple[int, ...]
    kinds: tuple[str, ...] = ("none",)
    least_epochs: int = 1
    rate: float | None = None  # None: the paper's
    small_rate: float | None = 0.03  # where examples are few and batches small

    def epochs(self, examples: int) -> int:
        """Passes over so many examples, at most 60."""
        wanted = round(self.steps * batch_size(examples) / max(examples, 1))
        return min(60, max(self.least_epochs, wanted))

    @property
    def prompts(self) -> int:
        """How many one grid trains."""
        return len(self.seeds) * len(self.lengths) * len(self.kinds)

    def options(self, examples: int) -> tuple[str, ...]:
        """Of `isogloss train`, for so many examples."""
        rate = self.rate if batch_size(examples) > 4 else self.rate or self.small_rate
        return (
            *("--epochs", str(self.epochs(examples)), "--batch-size", str(batch_size(examples))),
            *(("--learning-rate", f"{rate:g}") if rate else ()),
            *self._grid(),
        )

    def _grid(self) -> tuple[str, ...]:
        return (
            *("--reparameterization", *self.kinds, "--length", *map(str, self.lengths)),
            *("--seed", *map(str, self.seeds)),
        )


def batch_size(examples: int) -> int:
    """Examples a step: few of few, so that there are steps enough."""
    return 4 if examples < 100 else 8 if examples < 400 else 16


BOTH = ("none", "residual")


@dataclass(frozen=True, slots=True)
class Ways:
    """What one effort tries. None leaves a way out."""

    few: Way | None  # a few examples of the first language, as in the paper
    whole: Way | None  # all of its examples
    diverse: Way | None  # all examples of several languages
    tuned: Way | None  # a clade's own examples, from the diverse prompts
    taught: Way | None  # a clade without labels, from the first language's best prompt
    shots: int = 8  # a label, at most
    diverse_sources: int = 12
    clade_languages: int = 10  # a clade with more is cut into its branches
    pairs: int = 700  # sentences a taught prompt reads

    def few_shots(self, fewest: int) -> int:
        """Examples a label to train on where the rarest has so many: a fifth of them validates."""
        return min(self.shots, math.floor(fewest * 4 / 5)) if fewest >= 2 else 0


QUICK = Ways(
    few=Way(150, (0, 1), (4, 8), BOTH, least_epochs=20),
    whole=Way(500, (0, 1), (8,)),
    diverse=Way(900, (0, 1), (8,), BOTH),
    tuned=Way(200, (0, 1), (8,), least_epochs=3, rate=0.03),
    taught=Way(100, (0,), (8,), least_epochs=2, rate=0.003),
)
FULL = Ways(
    few=Way(150, (0, 1, 2, 3), (4, 8, 16), BOTH, least_epochs=20),
    whole=Way(530, (0, 1, 2, 3), (16,)),
    diverse=Way(950, (0, 1, 2, 3), (16,), BOTH),
    tuned=Way(250, (0, 1, 2, 3), (16,), least_epochs=6, rate=0.03),
    taught=Way(100, (0, 1), (16,), least_epochs=2, rate=0.003),
)
EFFORTS: dict[Effort, Ways] = {"quick": QUICK, "full": FULL}
