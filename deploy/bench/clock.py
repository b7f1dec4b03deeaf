"""How long the parts of a training run take."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


class Clock:
    """Sums the seconds of a run's parts: what is done once, steps, validations.

    On a GPU every reading waits for what was launched, which is once an epoch and part: within
    one, a contender may run ahead of the GPU as it likes.
    """

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self._device, self._now = device, now
        self.once_s = self.steps_s = self.validations_s = 0.0
        self._since = self._reading()

    def prepared(self) -> None:
        """What is done once is done."""
        self.once_s += self._lap()

    def steps_done(self) -> None:
        """All steps of an epoch are taken."""
        self.steps_s += self._lap()

    def validated(self) -> None:
        """An epoch's validation is over."""
        self.validations_s += self._lap()

    def _lap(self) -> float:
        before, self._since = self._since, self._reading()
        return self._since - before

    def _reading(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._now()
