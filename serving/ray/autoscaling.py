"""How many replicas of a model there should be, from the tokens that wait at them.

Ray Serve scales by requests, and one of ours holds between one text and 256. So each replica
reports `isogloss_queue_tokens`, and Ray's controller asks `QueueTokens` how many replicas that
takes. Bounds and delays stay Ray's (`AutoscalingConfig`).

Ray pickles this module into its controller, so it imports nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

QUEUE_TOKENS = "isogloss_queue_tokens"
"""Under which a replica reports; the name of the metric that says the same at `/metrics`."""


class Load(Protocol):
    """What is used of Ray's `AutoscalingContext`."""

    @property
    def target_num_replicas(self) -> int:
        """How many replicas there are to be as things stand."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Metric -> replica -> its mean over the last while."""


class QueueTokens:
    """Ray's autoscaling policy for one deployment."""

    def __init__(self, target_queue_tokens: float) -> None:
        self._target = target_queue_tokens

    def __call__(self, load: Load) -> tuple[float, dict[Hashable, Any]]:
        """Return how many replicas there should be, and no state; Ray rounds up."""
        waiting = (load.aggregated_metrics or {}).get(QUEUE_TOKENS, {})
        return wanted_replicas([*waiting.values()], self._target, load.target_num_replicas), {}


def wanted_replicas(waiting: Sequence[float], target: float, now: int) -> float:
    """Return how many replicas bring what waits down to the target at each.

    Args:
        waiting: tokens at each replica that has reported.
        target: tokens that one replica should have.
        now: how many there are to be as things stand: they stay, while none has reported.
    """
    return sum(waiting) / target if waiting else now
