"""Meanings and English words in one space: related words, and clusters as pseudo-tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from training.pocket.corpus import ENGLISH, Corpus, Floats, Ints
from training.pocket.lsi import Vectors
from training.pocket.tokenizer import LABEL_WORDS

BAG_SIZE = 16  # tokens in a target
MOST_CLUSTERS = 10
PSEUDO_PROMPT_LENGTHS = (1, 2, 4, 6, 8, 10)


@dataclass(frozen=True)
class Semantics:
    """Meanings and English words in one space, and clusterings of the meanings."""

    vectors: Floats  # (meanings, hidden), length 1
    words: Ints  # (words,), tokens that are whole English words
    word_vectors: Floats  # (words, hidden), length 1
    cluster: Ints  # (pseudo-tasks, meanings)
    labels: Ints  # (pseudo-tasks, most clusters): a token per cluster
    lengths: Ints  # (pseudo-tasks,): how many free vectors ask

    def related(self, meanings: Ints) -> tuple[Ints, Floats]:
        """The English words nearest to each meaning: tokens and weights, both (B, BAG_SIZE)."""
        scores = self.vectors[meanings] @ self.word_vectors.T  # (B, words)
        best = np.argpartition(-scores, BAG_SIZE, axis=1)[:, :BAG_SIZE]
        nearest = np.take_along_axis(scores, best, axis=1)
        weights = np.exp((nearest - nearest.max(axis=1, keepdims=True)) / 0.1)
        return self.words[best], weights / weights.sum(axis=1, keepdims=True)


def build_semantics(
    corpus: Corpus,
    tokenizer: Tokenizer,
    token_and_meaning: Vectors,
    pseudo_tasks: int,
    seed: int,
) -> Semantics:
    """Pools meanings over their documents, finds the English words, and clusters."""
    rng = np.random.default_rng(seed)
    vectors = _normalized(token_and_meaning.meanings)
    for is_parallel in (False, True):
        part = (corpus.document >= 0) == is_parallel
        if part.any():  # what all of a source's texts share says nothing about one of them
            vectors[part] = _normalized(vectors[part] - vectors[part].mean(axis=0))
    pooled = np.zeros((corpus.document.max() + 2, vectors.shape[1]), np.float32)
    np.add.at(pooled, corpus.document, vectors)
    documented = corpus.document >= 0
    vectors[documented] += 0.5 * _normalized(pooled)[corpus.document[documented]]
    vectors = _normalized(vectors)
    words = _english_words(corpus, tokenizer)
    word_vectors = token_and_meaning.tokens[words]
    word_vectors = _normalized(word_vectors - word_vectors.mean(axis=0))
    cluster = np.zeros((pseudo_tasks, len(vectors)), np.int64)
    labels = np.zeros((pseudo_tasks, MOST_CLUSTERS), np.int64)
    sample = [rng.permutation(np.flatnonzero(documented == flag))[:4000] for flag in (True, False)]
    points = vectors[np.concatenate(sample)]  # half parallel text, half everything else
    for task in range(pseudo_tasks):
        stretch = np.exp(rng.standard_normal(vectors.shape[1])).astype(np.float32)
        clusters = int(rng.integers(4, MOST_CLUSTERS + 1))
        centres = _centres(_normalized(points * stretch), clusters, rng)
        # A meaning's own length does not change which centre is nearest.
        cluster[task] = np.argmax(vectors @ (centres * stretch).T, axis=1)
        near = words[np.argmax((centres / stretch) @ word_vectors.T, axis=1)]
        unique = task % 2 == 0 and len(set(near)) == len(near)
        labels[task, : len(near)] = near if unique else rng.choice(words, len(near), replace=False)
    lengths = rng.choice(PSEUDO_PROMPT_LENGTHS, pseudo_tasks)
    return Semantics(vectors, words, word_vectors, cluster, labels, lengths)


def _centres(points: Floats, clusters: int, rng: np.random.Generator) -> Floats:
    """Spherical k-means: (clusters, hidden), length 1."""
    centres = points[rng.choice(len(points), clusters, replace=False)]
    for _ in range(10):
        nearest = np.argmax(points @ centres.T, axis=1)
        sums = [points[nearest == number].sum(axis=0) for number in range(clusters)]
        centres = _normalized(np.stack(sums) + 1e-6 * centres)
    return centres


def _english_words(corpus: Corpus, tokenizer: Tokenizer) -> Ints:
    """Tokens that mostly are a whole English word, neither rare nor everywhere; label words too."""
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    begins = np.array([piece.startswith("Ġ") for piece in pieces])
    long = np.array([len(piece) > 3 and piece[1:].isalpha() for piece in pieces])
    continues = ~begins & np.array([piece.isalpha() for piece in pieces])
    is_english = corpus.language == ENGLISH
    rows = np.repeat(is_english, np.diff(corpus.start))
    counts = np.bincount(corpus.tokens[rows], minlength=len(pieces))
    # A token is a whole word where a text ends after it or the next token does not go on.
    following = np.append(corpus.tokens[1:], 0)
    goes_on = continues[following]
    goes_on[corpus.start[1:] - 1] = False
    cut = np.bincount(corpus.tokens[rows & goes_on], minlength=len(pieces))
    usable = (counts >= 5) & (counts < 0.02 * is_english.sum()) & (cut < 0.4 * counts)
    labels = [tokenizer.token_to_id(f"Ġ{word}") for word in LABEL_WORDS]
    found = np.flatnonzero(usable & begins & long)
    return np.union1d(found, [label for label in labels if label is not None]).astype(np.int64)


def _normalized(vectors: Floats) -> Floats:
    """Rows of length 1."""
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    return unit
