"""How right an answer is: less of a coin toss than right or wrong.

An answer that beats its best rival by a hair, or loses by one, says little about the prompt; right
or wrong counts it fully. So what is peculiar to a candidate in some languages is read from how
clearly it answers: the logistic function of the gold label's lead over the best other label, in
units of the candidate's median lead in the language. With one unit a candidate, a prompt that is
equally often right but surer of itself in some family would seem better there. How good a candidate
is everywhere is read from right and wrong, which is what the accuracy of a route will be measured
by.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isogloss.training.selection.evidence import Evidence

Scores = NDArray[np.float64]
_LOG_MEDIAN = 1.4  # variance of the logarithm of a median of n normal numbers' sizes, times n


def scores(evidence: Evidence) -> Scores:
    """(prompt, language, sentence): in units of accuracy; zero where a language lacks a sentence.

    A candidate's mean over a sentence's languages is its share of right answers.
    """
    right: Scores = evidence.correct * evidence.answered
    if evidence.leads is None:
        return right
    clear = _clearness(evidence.leads, right, evidence.answered)
    languages = np.maximum(evidence.answered.sum(axis=0), 1)  # of each sentence
    everywhere = (right - clear).sum(axis=1, keepdims=True) / languages
    mixed: Scores = (clear + everywhere) * evidence.answered
    return mixed


def _clearness(leads: Scores, right: Scores, answered: NDArray[np.bool_]) -> Scores:
    """The logistic function of leads, times the slope of right and wrong against it."""
    inside = np.broadcast_to(answered, leads.shape)
    units = _units(leads, answered)[:, :, None]
    clear = 1 / (1 + np.exp(-np.clip(leads / units, -30, 30)))
    around = clear[inside] - clear[inside].mean()
    spread = around @ around
    slope = around @ right[inside] / spread if spread > 0 else 0.0
    scaled: Scores = clear * answered * slope
    return scaled


def _units(leads: Scores, answered: NDArray[np.bool_]) -> Scores:
    """(prompt, language): how far leads usually are from zero.

    Medians, moved towards what the prompt and the language alone would make them by the part of
    their spread around that which is chance.
    """
    medians = np.nanmedian(np.where(answered, np.abs(leads), np.nan), axis=2)
    logs = np.log(np.where(medians > 0, medians, 1.0))
    expected = logs.mean(axis=0) + logs.mean(axis=1, keepdims=True) - logs.mean()
    rest = logs - expected
    free = max((len(logs) - 1) * (logs.shape[1] - 1), 1)
    chance = (_LOG_MEDIAN / answered.sum(axis=1)).mean()
    spread = (rest**2).sum() / free
    share = max(0.0, 1 - chance / spread) if spread > 0 else 0.0
    units: Scores = np.exp(expected + share * rest)
    return units
