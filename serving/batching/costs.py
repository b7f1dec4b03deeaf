"""What batches cost on this machine: pure, fitted to what was measured (see `measure_costs`).

A batch of texts of t1, t2, ... tokens (prompts included) takes

    fixed_s + token_s x (t1 + t2 + ...) + square_s x (t1^2 + t2^2 + ...)

seconds: starting the model's kernels, matrix products, attention. A text's own part of that does
not depend on its neighbours, so it can be the text's price in a queue, which a table of batch sizes
could not give; and it predicts what was not measured no worse: mixed batches of 3 to 96 texts of 10
to 890 tokens within 14 % in the mean, a table interpolated over tokens within 15 % (pocket-bloom),
11 and 11 % (BLOOM-560M; both fitted to batches of like texts, 2 cores).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from isogloss.serving.config import ServingSettings

WITHIN = 0.05
"""A batch is large enough whose throughput is that share below the best there can be."""
LEAST_TOKENS = 8 * 57
"""Of a batch, eight texts of a usual length, however little a fixed part was found: such a batch is
never long, and a fixed part that noise hid would cost most where batches are of single texts."""
LONG_TOKENS = 250
"""Texts of so many tokens tell what attention costs."""
LONG_PART = 4
"""A text is long that takes more than one part in so many of a batch: it waits in a line apart."""
UNMEASURED_BUDGET_TOKENS = 4096
"""Of a batch, before anything was measured."""
_US = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """One batch that was run: tokens of each text with its prompt, and its seconds."""

    tokens: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class CostTable:
    """What the parts of a batch cost, in seconds."""

    fixed_s: float
    token_s: float
    square_s: float = 0.0
    most_tokens: int | None = None
    """Batches of more tokens do not fit into memory; None: all that were tried did."""

    @classmethod
    def fit(cls, measured: Sequence[Measured], most_tokens: int | None = None) -> CostTable:
        """Fit to measured batches, by least squares of relative errors; no part is below zero.

        Attention is what long texts take beyond their tokens' part: among texts of like lengths,
        tokens and their squares cannot be told apart.
        """
        usual = [each for each in measured if max(each.tokens) < LONG_TOKENS]
        seconds = np.array([each.seconds for each in usual])
        parts = np.array([(1.0, sum(each.tokens)) for each in usual])
        (fixed_s, token_s), *_ = np.linalg.lstsq(parts / seconds[:, None], np.ones(len(usual)))
        if fixed_s < 0 or token_s <= 0:  # noise hid one of them: the largest batch knows best
            fixed_s, token_s = 0.0, seconds[-1] / parts[-1, 1]
        squares = [
            (each.seconds - fixed_s - token_s * sum(each.tokens)) / sum(t * t for t in each.tokens)
            for each in measured
            if max(each.tokens) >= LONG_TOKENS
        ]
        square_s = max(0.0, float(np.mean(squares))) if squares else 0.0
        return cls(float(fixed_s), float(token_s), square_s, most_tokens)

    def text_s(self, tokens: int) -> float:
        """A text's own part of its batch's seconds; its tokens include its prompts'."""
        return self.token_s * tokens + self.square_s * tokens * tokens

    def batch_s(self, tokens: Iterable[int]) -> float:
        """Seconds of a batch of texts of so many tokens."""
        return self.fixed_s + sum(map(self.text_s, tokens))

    def price(self, tokens: int) -> int:
        """What a text costs in a queue: its own part, in whole microseconds."""
        return max(1, round(self.text_s(tokens) * _US))

    def budget_s(self, goal_s: float) -> float:
        """What the texts of one batch may take, fixed part apart.

        The least with which throughput is within 5 % of the best: of texts that take w seconds,
        w / (fixed_s + w) of the time is theirs. Never so much that the batch exceeds the goal or
        the memory.
        """
        enough_s = self.fixed_s * (1 - WITHIN) / WITHIN
        least_s = self.token_s * LEAST_TOKENS
        in_memory_s = math.inf if self.most_tokens is None else self.token_s * self.most_tokens
        return max(0.0, min(max(enough_s, least_s), goal_s - self.fixed_s, in_memory_s))

    def budget(self, goal_s: float) -> int:
        """`budget_s` in a queue's whole microseconds."""
        return max(1, round(self.budget_s(goal_s) * _US))

    def patience_s(self, cost: int, waiting: int, coming: int) -> float:
        """How long it pays texts that wait to wait for company that is known to come.

        Company saves whoever comes a batch's fixed part, and costs whoever waits the waiting and
        the company's own time in their batch: with k waiting, m coming and c seconds for each, it
        pays for m fixed_s - k m c = (k + m) wait.

        Args:
            cost: of all that waits, as `price` has it.
            waiting: texts.
            coming: texts; each is taken to cost what those that wait cost in the mean.
        """
        each_s = cost / _US / max(1, waiting)
        saved_s = coming * self.fixed_s - waiting * coming * each_s
        return max(0.0, saved_s / max(1, waiting + coming))


@dataclass(frozen=True, slots=True)
class Pricing:
    """What texts cost in one model's scoring queue, and how much one batch may cost.

    With a cost table prices are predicted microseconds, so that a long text counts its attention
    too, and a batch is as large as pays on this machine. Without one, or where the settings name a
    budget, prices are tokens. `budget` is in the prices' unit.
    """

    budget: int
    table: CostTable | None = None

    @classmethod
    def of(cls, settings: ServingSettings, table: CostTable | None = None) -> Pricing:
        """Price by the table, unless the settings name a budget in tokens."""
        if settings.budget_tokens is not None or table is None:
            return cls(settings.budget_tokens or UNMEASURED_BUDGET_TOKENS)
        return cls(table.budget(settings.batch_goal_s), table)

    def price(self, tokens: int) -> int:
        """What a text of so many tokens, its prompts' included, takes of the budget."""
        return tokens if self.table is None else self.table.price(tokens)

    def flow(self, prompt: str, tokens: int) -> str:
        """The line of its client in which a text waits.

        Each prompt's is its own, and long texts wait apart: short ones are not stuck behind a row
        of them, for the lines take turns by what their texts cost.
        """
        long = "long " if self.price(tokens) * LONG_PART > self.budget else ""
        return f"{long}{prompt}"

    @property
    def patience_s(self) -> Callable[[int, int, int], float] | None:
        """How long it pays to wait for company, as `BatchQueue` asks; None: not known."""
        return None if self.table is None else self.table.patience_s

    def predicted_s(self, tokens: Iterable[int]) -> float | None:
        """Seconds that a batch of such texts should take; None: not known."""
        return None if self.table is None else self.table.batch_s(tokens)
