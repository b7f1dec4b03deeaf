"""Measures what batches cost on this machine, once: the table is kept for the next start.

Synthetic texts of usual lengths are run in batches of one, two, four, ... texts, and some long
texts, until the time is over: what is not reached is extrapolated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise

from isogloss.serving.batching.costs import CostTable, Measured
from isogloss.serving.batching.isolation import is_out_of_memory

Run = Callable[[Sequence[Sequence[int]]], object]
"""Runs a batch of texts, given as token ids, to the end: what it returns is on the host."""

# Tokens of a text at every tenth per cent from 0 to 100: sentences of news, under pocket-bloom.
_USUAL_LENGTHS = (15, 25, 29, 33, 36, 39, 42, 47, 52, 62, 126)
# (texts, tokens of each; None: usual ones), by what they cost.
_LADDER: tuple[tuple[int, int | None], ...] = (
    *((1, None), (2, None), (1, 16), (4, None), (8, None), (1, 512), (16, None)),
    *((1, 1024), (32, None), (64, None), (128, None), (8, 512), (256, None)),
)
_LEAST_RUNGS = 3
"""Measured however long they take: less says nothing of what grows with a batch."""
_REPEATS = 4
_RUNG_PART = 0.08
"""Of the time: a rung that took more is not repeated again."""
_MUCH_FASTER = 1.5
_FIRST_ID = 10
"""Lower ids are special tokens in both families."""


def measure_costs(
    run: Run,
    *,
    vocab_size: int,
    max_text_tokens: int,
    prompt_length: int,
    limit_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable:
    """Fit a table to as many batches as the time allows.

    Args:
        run: runs a batch.
        vocab_size: of the model, for synthetic tokens.
        max_text_tokens: of the model; no text is longer.
        prompt_length: tokens that `run` adds to every text.
        limit_s: when to stop; what is under way is finished.
        clock: in seconds.

    Raises:
        MemoryError, OutOfMemoryError: not even the smallest batches fit into memory.
    """
    end_s = clock() + limit_s
    measured: list[Measured] = []
    most_tokens = None
    for texts in _batches(vocab_size, max_text_tokens):
        tokens = tuple(len(text) + prompt_length for text in texts)
        if len(measured) >= _LEAST_RUNGS:
            predicted_s = CostTable.fit(measured).batch_s(tokens)
            if clock() + 2 * predicted_s > end_s:  # it is run twice at least
                break
        try:
            seconds = _fastest(run, texts, _RUNG_PART * limit_s, clock)
        except BaseException as error:
            if not is_out_of_memory(error) or len(measured) < _LEAST_RUNGS:
                raise
            most_tokens = sum(tokens) // 2
            break
        measured.append(Measured(tokens, seconds))
    return CostTable.fit(measured, most_tokens)


def seems_slow(
    table: CostTable,
    run: Run,
    *,
    vocab_size: int,
    max_text_tokens: int,
    prompt_length: int,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Whether the machine is much faster than a table says, which was measured on a busy one then.

    Two texts tell; that they take longer than the table says may be for what else runs now.
    """
    texts = list(islice(_batches(vocab_size, max_text_tokens), 2))[1]
    seconds = _fastest(run, texts, 0.0, clock)
    return seconds * _MUCH_FASTER < table.batch_s(len(text) + prompt_length for text in texts)


def usual_lengths(count: int) -> list[int]:
    """Lengths of so many usual texts: the middles of equal shares of the distribution.

    >>> usual_lengths(2)
    [31, 50]
    """
    steps = list(pairwise(_USUAL_LENGTHS))
    lengths = []
    for rank in range(count):
        step, part = divmod((rank + 0.5) / count * len(steps), 1)
        low, high = steps[int(step)]
        lengths.append(round(low + (high - low) * part))
    return lengths


def _batches(vocab_size: int, max_text_tokens: int) -> Iterator[list[list[int]]]:
    """The ladder's batches, in random order within each and the same each time."""
    draw = random.Random(0)
    for count, length in _LADDER:
        lengths = usual_lengths(count) if length is None else [length] * count
        draw.shuffle(lengths)
        yield [
            draw.choices(range(min(_FIRST_ID, vocab_size - 1), vocab_size), k=tokens)
            for tokens in (min(each, max_text_tokens) for each in lengths)
        ]


def _fastest(
    run: Run, texts: Sequence[Sequence[int]], enough_s: float, clock: Callable[[], float]
) -> float:
    """Seconds of the fastest of some runs: what else the machine does only ever adds to them.

    The first run of a shape may set things up, and does not count.
    """
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) <= _REPEATS and sum(seconds) < enough_s):
        started_s = clock()
        run(texts)
        seconds.append(clock() - started_s)
    return min(seconds[1:])
