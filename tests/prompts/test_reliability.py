"""Reliability bins and the calibration error, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from isogloss.prompts.reliability import Bin, calibration_error, reliability_bins


def error(confidence: Sequence[float], correct: Sequence[bool]) -> float:
    return calibration_error(reliability_bins(np.array(confidence), np.array(correct), 15))


def test_the_calibration_error_of_a_few_answers_by_hand() -> None:
    """Two of 0.9 are both right, of two of 0.5 one is: (2 x 0.1 + 2 x 0) / 4."""
    assert error([0.9, 0.9, 0.5, 0.5], [True, True, True, False]) == pytest.approx(0.05)
    assert error([1.0, 1.0], [True, False]) == 0.5
    # Too sure and too unsure do not make up for each other.
    assert error([0.9, 0.1], [False, True]) == pytest.approx(0.9)


def test_only_bins_that_hold_anything_are_there() -> None:
    found = reliability_bins(np.array([1.0, 0.05, 0.95]), np.array([True, False, False]), 10)
    assert found == [Bin(0.0, 0.1, 1, 0.05, 0.0), Bin(0.9, 1.0, 2, 0.975, 0.5)]
    assert calibration_error([]) == 0
