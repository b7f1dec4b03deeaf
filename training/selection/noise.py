"""How much of the difference between two candidates is the luck of which sentences were drawn.

Sentences are drawn, and with a sentence come its translations: answers to one sentence go together
across languages, and candidates that are alike err alike. Both are estimated, as one matrix over
candidates times one over languages (a matrix normal): the full matrix has thousands of rows, and
from a hundred sentences it would look free of noise in most directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_COIN = 0.25  # variance of an answer that is right every other time


@dataclass(frozen=True, slots=True)
class Noise:
    """The covariance of two accuracies is `candidates[c, d] * languages[l, m]`."""

    candidates: Matrix  # (candidate, candidate), of one sentence's answers
    languages: Matrix  # (language, language), a share of that: 1 / sentences on the diagonal


def sampling_noise(answers: Matrix, answered: NDArray[np.bool_]) -> Noise:
    """Estimate the noise of mean scores around each language's mean over candidates.

    One made-up sentence, answered by tossing coins, is added: a handful of sentences on which all
    candidates happen to agree does not prove that they always do.

    Args:
        answers: (candidate, language, sentence), how right each answer is.
        answered: (language, sentence), which there are.
    """
    counts = answered.sum(axis=1)  # (language,)
    centred = (answers - answers.mean(axis=0)) * answered
    spread = (centred - centred.sum(axis=2, keepdims=True) / counts[:, None]) * answered
    coins = np.eye(len(answers)) * _COIN
    together = np.einsum("cls,dls->cd", spread, spread, optimize=True) / len(counts)
    candidates = (together + coins) / max(counts.mean() - 1, 1)
    return Noise(candidates, _language_noise(spread, answered, coins.trace()))


def _language_noise(spread: Matrix, answered: NDArray[np.bool_], coins: float) -> Matrix:
    """(language, language): correlations of sentences, over the sentences each language has."""
    shared = answered.astype(np.float64) @ answered.T  # sentences in both languages
    products = np.einsum("cls,cms->lm", spread, spread, optimize=True)
    products[np.diag_indices_from(products)] += coins
    per_sentence = products / np.maximum(shared, 1)
    relative = per_sentence / per_sentence.diagonal().mean()
    counts = shared.diagonal()
    return _positive(relative * shared / np.outer(counts, counts))


def _positive(matrix: Matrix) -> Matrix:
    """The nearest covariance: pairs estimated on different sentences need not fit together."""
    values, vectors = np.linalg.eigh(matrix)
    floor = values.max() * 1e-9
    positive: Matrix = (vectors * np.maximum(values, floor)) @ vectors.T
    return positive
