"""Meanings and English words in the teacher's space: related words; clusters as pseudo-tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from isogloss.training.recipes.pocket.corpus import ENGLISH, Corpus, Floats, Ints
from isogloss.training.recipes.pocket.embedding import Vectors, centred, normalized
from isogloss.training.recipes.pocket.teacher import Teacher
from isogloss.training.recipes.pocket.tokenizer import LABEL_WORDS

BAG_SIZE = 16  # tokens in a target
MOST_CLUSTERS = 10
_OF_DOCUMENT = 0.3  # how much of its document's mean a sentence takes over
_STRETCH = 0.7  # of the logarithm of a direction's length
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
    known: Vectors,
    teacher: Callable[[], Teacher],
    pseudo_tasks: int,
    seed: int,
) -> Semantics:
    """Lends meanings a little of their documents', places the English words, and clusters."""
    rng = np.random.default_rng(seed)
    documented = corpus.document >= 0
    pooled = np.zeros((corpus.document.max() + 2, known.meanings.shape[1]), np.float32)
    np.add.at(pooled, corpus.document, known.meanings)
    vectors = known.meanings.copy()
    vectors[documented] += _OF_DOCUMENT * normalized(pooled)[corpus.document[documented]]
    vectors = normalized(vectors)
    words = _english_words(corpus, tokenizer)
    read = teacher()([tokenizer.decode([int(word)]).strip() for word in words])
    word_vectors = normalized(centred(read, np.zeros(len(read), np.int64)) @ known.basis)
    sample = [rng.permutation(np.flatnonzero(documented == flag))[:4000] for flag in (True, False)]
    points = vectors[np.concatenate(sample)]  # half parallel text, half everything else
    tasks = [
        _pseudo_task(n, vectors, points, words, word_vectors, rng) for n in range(pseudo_tasks)
    ]
    cluster, labels = (np.stack(column) for column in zip(*tasks, strict=True))
    lengths = rng.choice(PSEUDO_PROMPT_LENGTHS, pseudo_tasks)
    return Semantics(vectors, words, word_vectors, cluster, labels, lengths)


def _pseudo_task(
    number: int,
    vectors: Floats,
    points: Floats,
    words: Ints,
    word_vectors: Floats,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Each meaning's cluster (meanings,) and each cluster's word (most clusters,).

    The space is stretched at random first, so that no two tasks cut it alike. In every other task
    the words are the nearest, else any.
    """
    stretch = np.exp(rng.standard_normal(vectors.shape[1]) * _STRETCH).astype(np.float32)
    clusters = int(rng.integers(4, MOST_CLUSTERS + 1))
    centres = _centres(normalized(points * stretch), clusters, rng)
    # A meaning's own length does not change which centre is nearest.
    cluster = np.argmax(vectors @ (centres * stretch).T, axis=1)
    near = words[np.argmax((centres / stretch) @ word_vectors.T, axis=1)]
    unique = number % 2 == 0 and len(set(near)) == len(near)
    labels = np.zeros(MOST_CLUSTERS, np.int64)
    labels[: len(near)] = near if unique else rng.choice(words, len(near), replace=False)
    return cluster, labels


def _centres(points: Floats, clusters: int, rng: np.random.Generator) -> Floats:
    """Spherical k-means: (clusters, hidden), length 1."""
    centres = points[rng.choice(len(points), clusters, replace=False)]
    for _ in range(10):
        nearest = np.argmax(points @ centres.T, axis=1)
        sums = [points[nearest == number].sum(axis=0) for number in range(clusters)]
        centres = normalized(np.stack(sums) + 1e-6 * centres)
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
