"""The embedding table's start: tokens of all languages, placed where the teacher puts meanings.

A text's vector is to be the weighted mean of its tokens' vectors, whatever its language. Ridge
regression finds the tokens' vectors for which that fits best. Measured with bags of tokens and
logistic regression, mean over ten languages of SIB-200's test split: 52 % from 8 English examples
per class and 62 % from all, where latent semantic indexing of the same text has 33 and 54 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags

from isogloss.training.recipes.pocket.corpus import Corpus, Floats, Ints

_RIDGE = 2.0
_ITERATIONS = 20
_MOST_REPEATS = 2.0  # a token said more often in a text counts no more
# Lemmas outnumber sentences four to one; all alike, the mean above falls to 48 and 57 %.
_SENTENCE, _DEFINITION, _LEMMA = 1.0, 0.5, 0.3


@dataclass(frozen=True)
class Vectors:
    """Tokens and meanings in one space, and the way there from the teacher's."""

    tokens: Floats  # (vocabulary, hidden), rows of mean length 1
    meanings: Floats  # (meanings, hidden), rows of length 1
    basis: Floats  # (width of the teacher, hidden), orthonormal columns


def embed_tokens(corpus: Corpus, taught: Floats, source: Ints, hidden: int, seed: int) -> Vectors:
    """Vectors of tokens and meanings in one space of `hidden` dimensions.

    Args:
        corpus: all texts.
        taught: the teacher's vectors (meanings, width).
        source: kind of each meaning (meanings,); each kind's mean is taken off, since what all of
            its texts share says nothing about one of them.
        hidden: dimensions that are kept: the principal ones.
        seed: of the vectors of tokens that never occur.
    """
    points = centred(taught, source)
    basis = principal_directions(points, hidden)
    meanings = points @ basis
    weights = np.where(corpus.document[corpus.meaning] >= 0, _SENTENCE, _DEFINITION)
    weights = np.where(corpus.is_lemma, _LEMMA, weights).astype(np.float32)
    texts = csr_matrix(diags(weights) @ _bags(corpus))
    tokens = _ridge(texts, meanings[corpus.meaning] * weights[:, None])
    return Vectors(_tempered(tokens, seed), normalized(meanings), basis)


def centred(vectors: Floats, source: Ints) -> Floats:
    """Rows of length 1 after each source's mean is taken off: the same shape."""
    moved = vectors.copy()
    for kind in np.unique(source):
        moved[source == kind] -= moved[source == kind].mean(axis=0)
    return normalized(moved)


def normalized(vectors: Floats) -> Floats:
    """Rows of length 1."""
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    return unit


def principal_directions(vectors: Floats, dimensions: int) -> Floats:
    """The directions of most variance, as columns: (width, dimensions); zeros where fewer."""
    directions = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :dimensions]
    # A direction's sign is the library's choice; a fixed one makes runs comparable.
    directions = directions * np.where(directions.sum(axis=0) < 0, -1, 1)
    basis = np.zeros((vectors.shape[1], dimensions), np.float32)
    basis[:, : directions.shape[1]] = directions
    return basis


def _bags(corpus: Corpus) -> csr_matrix:
    """Each text's tokens, rare ones heavier, rows of length 1: (texts, vocabulary)."""
    rows = np.repeat(np.arange(len(corpus.language)), np.diff(corpus.start))
    shape = (len(corpus.language), corpus.salience.shape[1])
    bags = csr_matrix((np.ones(len(corpus.tokens), np.float32), (rows, corpus.tokens)), shape)
    bags.data = np.minimum(bags.data, _MOST_REPEATS)
    texts_with = np.bincount(bags.indices, minlength=shape[1])
    rarity = np.log(shape[0] / (1 + texts_with)).clip(0).astype(np.float32)
    bags = bags @ diags(rarity)
    lengths = np.sqrt(np.asarray(bags.multiply(bags).sum(axis=1)).ravel()) + 1e-6
    return csr_matrix(diags((1 / lengths).astype(np.float32)) @ bags)


def _ridge(bags: csr_matrix, wanted: Floats) -> Floats:
    """argmin |bags x - wanted|^2 + ridge |x|^2, by conjugate gradients: (vocabulary, hidden)."""
    transposed = bags.T.tocsr()
    residual = transposed @ wanted
    found: Floats = np.zeros_like(residual)
    direction = residual.copy()
    size = (residual**2).sum(axis=0)
    for _ in range(_ITERATIONS):
        moved = transposed @ (bags @ direction) + _RIDGE * direction
        step = size / np.maximum((direction * moved).sum(axis=0), 1e-12)
        found += step * direction
        residual -= step * moved
        before, size = size, (residual**2).sum(axis=0)
        direction = residual + size / np.maximum(before, 1e-12) * direction
    return found


def _tempered(tokens: Floats, seed: int) -> Floats:
    """Lengths become their square roots, 1 on average; a token that never occurs, a random row.

    How long a vector is says how much its token tells; a short one must still be read.
    """
    lengths = np.linalg.norm(tokens, axis=1, keepdims=True)
    known = lengths[:, 0] > 1e-6
    noise = np.random.default_rng(seed).standard_normal(tokens.shape, np.float32)
    rows = np.where(known[:, None], tokens / np.sqrt(np.maximum(lengths, 1e-6)), noise)
    rows[~known] = normalized(rows[~known]) * np.sqrt(np.median(lengths[known]))
    even: Floats = rows / np.linalg.norm(rows, axis=1).mean()
    return even
