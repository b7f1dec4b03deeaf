"""What every answer must be: the scores that its digest's prompt gives its text, and no others.

They are computed once, in this process, one text at a time, from the same weights. A server adds
its own rounding (batches sum in other orders, in bfloat16 more so), which is measured before the
storm, on that server: an answer may be off by twice the most that was seen. That only tells
prompts apart where they are further apart than that, so texts on which they are not are not asked.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from isogloss.deploy.load.clients import Question
from isogloss.prompts.errors import InvalidInput

Scores = Mapping[str, float]
"""Label -> probability."""

APART = 4
"""Tolerances that lie between any two prompts' scores of a text, at least."""

_LOWEST_SCORE = 1e-3
_LEAST_TOLERANCE = 1e-3
_MARGIN = 2  # times the largest rounding that was seen


def distance(a: Scores, b: Scores) -> float:
    """The largest difference of two answers' log-probabilities; tiny ones count as one in 1,000.

    >>> round(distance({"a": 0.5, "b": 0.5}, {"a": 0.6, "b": 0.4}), 3)
    0.223
    """
    if a.keys() != b.keys():
        return math.inf
    return max(
        abs(math.log(max(a[label], _LOWEST_SCORE) / max(b[label], _LOWEST_SCORE))) for label in a
    )


@dataclass(frozen=True)
class Judge:
    """Knows the right scores of every text under every digest that is published."""

    expected: Mapping[tuple[str, str], Scores]
    """(Text, digest) -> label -> probability."""
    tolerance: float = _LEAST_TOLERANCE
    settled: list[tuple[float, int]] = field(default_factory=list)
    """When publishes returned (`time.perf_counter`), and their generations; both ascend."""

    def calibrated(self, noise: float) -> Judge:
        """The same with a tolerance for rounding of this size."""
        return replace(self, tolerance=max(_LEAST_TOLERANCE, _MARGIN * noise))

    def publish_returned(self, at_s: float, generation: int) -> None:
        """From now on no request may be answered by an earlier generation."""
        self.settled.append((at_s, generation))

    def complaint(self, question: Question, body: bytes, began_s: float = 0.0) -> str | None:
        """What is wrong with an answer to a request sent at some time; None if nothing is."""
        try:
            answer = json.loads(body)
            results = answer["results"]
            if len(results) != len(question.texts):
                return f"{len(results)} results for {len(question.texts)} texts"
            for text, result in zip(question.texts, results, strict=True):
                if problem := self._problem(text, result):
                    return f"generation {answer['generation']}: {problem}"
            return self._staleness(answer, results, began_s)
        except (ValueError, KeyError, TypeError) as error:
            return f"not an answer ({type(error).__name__}: {error}): {body[:100]!r}"

    def noise(self, question: Question, body: bytes) -> float:
        """How far an answer is from what its digests' scores should be."""
        results = json.loads(body)["results"]
        return max(
            distance(scores_of(result), self.expected[text, result["prompt"]["digest"]])
            for text, result in zip(question.texts, results, strict=True)
        )

    def separation(self, text: str) -> float:
        """How far a text's two nearest prompts are apart."""
        known = [scores for (each, _), scores in self.expected.items() if each == text]
        return min(
            (distance(a, b) for a, b in itertools.combinations(known, 2)),
            default=math.inf,
        )

    def telling(self, texts: Iterable[str], least: int) -> tuple[str, ...]:
        """The texts on which the prompts are apart by several tolerances.

        Raises:
            InvalidInput: there are fewer than `least`.
        """
        telling = tuple(t for t in texts if self.separation(t) >= APART * self.tolerance)
        if len(telling) < least:
            raise InvalidInput(
                f"texts: on only {len(telling)} are the prompts further apart than {APART} times "
                f"the server's own rounding ({self.tolerance:.3g}), which shows too little; "
                "choose other prompts, or --dtype float32"
            )
        return telling

    def _problem(self, text: str, result: Mapping[str, Any]) -> str | None:
        digest = result["prompt"]["digest"]
        if (text, digest) not in self.expected:
            return f"digest {digest} was never published under this route"
        scores = scores_of(result)
        off = distance(scores, self.expected[text, digest])
        if off <= self.tolerance:
            return None
        others = {
            other: distance(scores, expected)
            for (each, other), expected in self.expected.items()
            if each == text and other != digest
        }
        nearest = min(others, key=lambda other: others[other], default="nothing else known")
        return (
            f"scores are {off:.3g} from those of their digest {digest}, {self.tolerance:.3g} is "
            f"allowed; they are {others.get(nearest, math.nan):.3g} from {nearest}'s"
        )

    def _staleness(
        self, answer: Mapping[str, Any], results: Sequence[Mapping[str, Any]], began_s: float
    ) -> str | None:
        digests = {result["prompt"]["digest"] for result in results}
        if len(digests) > 1:
            return f"one request answered from {len(digests)} prompts: {sorted(digests)}"
        before = bisect.bisect_left(self.settled, (began_s, 0)) - 1
        if before >= 0 and answer["generation"] < self.settled[before][1]:
            return (
                f"generation {answer['generation']}, though the publish of "
                f"{self.settled[before][1]} had returned before the request was sent"
            )
        return None


def scores_of(result: Mapping[str, Any]) -> dict[str, float]:
    """One result's scores."""
    return {each["label"]: each["score"] for each in result["scores"]}
