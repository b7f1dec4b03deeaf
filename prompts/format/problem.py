"""What kind of answer a task wants, how it is written down, and how right one is.

- `single_label`: one of the labels. A softmax over them.
- `multi_label`: any number of them, none too. A sigmoid for each.
- `ordered`: one of them, and they stand in an order: `low`, `medium`, `high`. A softmax over them,
  and an answer that is one level off is less wrong than one that is two off.

The first two are named as Hugging Face's `problem_type` names them. Several labels are written in
one cell, in any order, with "|" between them; an empty cell is none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

Problem = Literal["single_label", "multi_label", "ordered"]

SEPARATOR = "|"
ASSIGNED = 0.5
"""The probability at which a label is assigned, unless its route has a threshold of its own."""


def split_labels(cell: str) -> tuple[str, ...]:
    """The labels in a cell, sorted, each once.

    >>> split_labels("travel | sports|travel")
    ('sports', 'travel')
    """
    return tuple(sorted({label.strip() for label in cell.split(SEPARATOR)} - {""}))


def labels_in_cell(problem: Problem, cell: str) -> tuple[str, ...]:
    """The labels of a text, as its data have them: one, or any number of them."""
    return split_labels(cell) if problem == "multi_label" else (cell,)


def join_labels(labels: Iterable[str]) -> str:
    """Labels as one cell; equal sets give equal text.

    >>> join_labels(["travel", "sports"])
    'sports|travel'
    """
    return SEPARATOR.join(sorted(set(labels)))


def expected_level(shares: Iterable[float]) -> float:
    """The mean of levels' places, from 0, weighed by these shares of them: the lowest's first.

    >>> expected_level([0.25, 0.5, 0.25])
    1.0
    """
    return math.fsum(place * share for place, share in enumerate(shares))


def score_answer(problem: Problem, gold: str, predicted: str, labels: Sequence[str]) -> float:
    """How right an answer is, from 0 to 1.

    One of several labels is right or wrong. A set of labels has the F1 of its labels against the
    gold ones (two empty sets agree), whose mean over texts is example-based F1 (Tsoumakas et al.
    2010). A level loses the distance to the right one, in shares of the longest there is.

    Args:
        problem: of the task.
        gold: the right label, or labels in one cell.
        predicted: the answer, likewise.
        labels: of the task; levels in their order.

    >>> score_answer("multi_label", "a|b", "a", "abc")
    0.6666666666666666
    >>> score_answer("ordered", "low", "medium", ["low", "medium", "high"])
    0.5
    """
    if problem == "multi_label":
        right, said = set(split_labels(gold)), set(split_labels(predicted))
        return 2 * len(right & said) / (len(right) + len(said)) if right or said else 1.0
    if problem == "ordered":
        return 1 - abs(labels.index(gold) - labels.index(predicted)) / (len(labels) - 1)
    return float(gold == predicted)
