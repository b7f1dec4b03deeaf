"""Cross-lingual latent semantic indexing: co-occurrence of tokens with meanings, made vectors.

A token's vector says in which meanings it occurs, whatever their language, so tokens of all
languages that share meanings end up close: the embedding table starts with sense in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack

from training.pocket.corpus import Corpus, Floats

# Parallel text ties the languages together; with more weight the many synsets, English for the
# most part, would take nearly all directions of the space.
_WEIGHT_OF_SINGLES = 0.05
_SPECTRUM_POWER = 0.75
_OVERSAMPLING, _ITERATIONS = 32, 5


def pointwise_information(counts: csr_matrix) -> csr_matrix:
    """Positive pointwise mutual information of row and column, in nats: same shape."""
    rows = np.asarray(counts.sum(axis=1)).ravel()
    columns = np.asarray(counts.sum(axis=0)).ravel()
    entries = counts.tocoo()
    expected = rows[entries.row] * columns[entries.col] / columns.sum()
    information = np.log(np.maximum(entries.data / expected, 1.0))
    return csr_matrix((information.astype(np.float32), (entries.row, entries.col)), counts.shape)


@dataclass(frozen=True)
class Vectors:
    """Tokens (vocabulary, hidden), rows of length 1, and meanings (meanings, hidden)."""

    tokens: Floats
    meanings: Floats


def embed_tokens(corpus: Corpus, hidden: int, seed: int) -> Vectors:
    """Vectors of tokens and meanings in one space.

    Columns are parallel sentences, their documents (which know more of topics), and all other
    meanings. A token that never occurs gets a random vector.
    """
    counts = corpus.counts()
    parallel = corpus.document >= 0
    sentences, singles = counts[:, parallel], counts[:, ~parallel]
    document = corpus.document[parallel]
    member = csr_matrix(
        (np.ones(len(document), np.float32), (np.arange(len(document)), document)),
        shape=(len(document), int(document.max(initial=0)) + 1),
    )
    parts = [
        pointwise_information(sentences),
        pointwise_information(singles) * _WEIGHT_OF_SINGLES,
        pointwise_information((sentences @ member).tocsr()),
    ]
    left, scales = _truncated_svd(hstack(parts, format="csr"), hidden, seed)
    vectors = _rows_of_length_one(left * scales**_SPECTRUM_POWER, seed)
    meaning_vectors = np.zeros((len(parallel), hidden), np.float32)
    meaning_vectors[parallel] = parts[0].T @ vectors
    meaning_vectors[~parallel] = parts[1].T @ vectors
    return Vectors(vectors, meaning_vectors)


def _rows_of_length_one(vectors: Floats, seed: int) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = np.random.default_rng(seed).standard_normal(vectors.shape, np.float32)
    vectors = np.where(lengths > 1e-6, vectors, noise)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _truncated_svd(matrix: csr_matrix, rank: int, seed: int) -> tuple[Floats, Floats]:
    """Left singular vectors (rows, rank) and singular values (rank,), by subspace iteration."""
    rng = np.random.default_rng(seed)
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], width), np.float32)
    transposed = matrix.T.tocsr()
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(matrix @ basis)[0]  # (rows, width)
        basis = transposed @ basis  # (columns, width)
    basis = np.linalg.qr(matrix @ basis)[0]
    rotation, scales, _ = np.linalg.svd((transposed @ basis).T, full_matrices=False)
    left = np.zeros((matrix.shape[0], rank), np.float32)
    left[:, : min(rank, width)] = (basis @ rotation)[:, :rank]
    padded = np.zeros(rank, np.float32)
    padded[: min(rank, width)] = scales[:rank]
    return left, padded
