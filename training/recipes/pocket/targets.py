"""What the pocket models learn to say after a text, so that a prompt there has something to steer.

A training sequence is a text, then *asks*: tokens or free vectors whose last state is read. A tag
asks for a bag of words (of the translation into a language, of the text itself, of its document,
of related words, of its topic); `<choose> a b c <answer>` asks for the one of a few words that
belongs to the text; a pseudo-task, a few free vectors as a soft prompt is, asks for the label
word of the text's cluster. All targets are distributions over a few tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from isogloss.training.recipes.pocket.corpus import ENGLISH, TOPIC, Corpus, Floats, Ints, rows_in
from isogloss.training.recipes.pocket.data import LANGUAGES
from isogloss.training.recipes.pocket.semantics import BAG_SIZE, PSEUDO_PROMPT_LENGTHS, Semantics

# Most texts are cut short: a part mostly tells the meaning, and two parts cost as much as a whole.
_TEXT_TOKENS = (24, 32, 48, 80)
_SHARES = {"parallel": 0.55, "tatoeba": 0.13, "definition": 0.14, "lemma": 0.18}
_TAG_COUNTS = (0, 1, 1, 2)
_TAG_KINDS = {"to": 0.25, "same": 0.1, "document": 0.15, "related": 0.4, "topic": 0.1}
_CHOICE_COUNTS = (0, 1)
_PSEUDO_TASK_COUNTS = (1, 1, 2)
_LONGEST_FREE = max(PSEUDO_PROMPT_LENGTHS)


@dataclass(frozen=True)
class Bag:
    """A distribution over at most `BAG_SIZE` tokens; empty when there is nothing to say."""

    tokens: Ints
    weights: Floats


@dataclass(frozen=True)
class Sequence:
    """Token numbers, or `vocabulary + n` for free vector n; and what is read where."""

    tokens: Ints
    positions: list[int]
    bags: list[Bag]


def bag_of(corpus: Corpus, rows: Ints, rng: np.random.Generator) -> Bag:
    """The salient tokens of some texts of one language, a sample where there are many."""
    if len(rows) == 0:
        return Bag(np.empty(0, np.int64), np.empty(0, np.float32))
    tokens = np.unique(np.concatenate([corpus.text(row) for row in rows]))
    weights = corpus.salience[corpus.language[rows[0]], tokens]
    tokens, weights = tokens[weights > 0], weights[weights > 0]
    if len(tokens) > BAG_SIZE:
        kept = np.argsort(-weights * rng.random(len(weights)))[:BAG_SIZE]
        tokens, weights = tokens[kept], weights[kept]
    return Bag(tokens, weights / weights.sum() if len(weights) else weights)


def pool_odds(sizes: Mapping[str, Ints], diet: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely a text comes from each kind and language: (kinds * languages,), a kind's together.

    Parallel text goes by the language's share, which also decides how many texts there are: 0.7 as
    an exponent repeats the few of a rare language somewhat. All else goes by the root of the number
    of texts, which the shares have thinned already.

    Args:
        sizes: texts by kind, one number per language (languages,).
        diet: what the model reads of each language (languages,).
    """
    odds = []
    for kind, texts in sizes.items():
        weights = diet**0.7 if kind == "parallel" else texts**0.5
        weights = np.where(texts > 0, weights, 0.0)
        odds.append(_SHARES[kind] * weights / max(weights.sum(), 1e-9))
    together = np.concatenate(odds)
    likely: NDArray[np.float64] = together / sum(together)
    return likely


class Sampler:
    """Draws training sequences; the same generator gives the same ones."""

    def __init__(
        self,
        corpus: Corpus,
        semantics: Semantics,
        tokenizer: Tokenizer,
        start: list[int],
        diet: Mapping[str, float],
    ):
        self._corpus, self._semantics, self._start = corpus, semantics, start
        self._diet = np.array([diet[code] for code in LANGUAGES])
        self._id = {token: tokenizer.token_to_id(token) for token in tokenizer.get_vocab()}
        self.vocabulary = len(self._id)
        self.free_vectors = len(semantics.lengths) * _LONGEST_FREE
        documented = corpus.document[corpus.meaning] >= 0
        has_lemma = np.zeros(len(corpus.document), np.bool_)
        has_lemma[corpus.meaning[corpus.is_lemma]] = True
        synset = has_lemma[corpus.meaning]
        kinds = {
            "parallel": documented,
            "tatoeba": ~documented & ~synset,
            "definition": synset & ~corpus.is_lemma,
            "lemma": synset & corpus.is_lemma & (corpus.language != TOPIC),
        }
        self._pools = {
            kind: [np.flatnonzero(flag & (corpus.language == n)) for n in range(len(LANGUAGES))]
            for kind, flag in kinds.items()
        }
        order = np.argsort(corpus.document, kind="stable")
        self._documents = np.split(order, np.cumsum(np.bincount(corpus.document + 1)))[1:-1]

    def draw(self, count: int, rng: np.random.Generator) -> list[Sequence]:
        """`count` sequences."""
        rows = self._draw_rows(count, rng)
        meanings = self._corpus.meaning[rows]
        related = self._semantics.related(meanings)
        bags = [Bag(tokens, weights) for tokens, weights in zip(*related, strict=True)]
        return [self._sequence(row, n, bags, rng) for n, row in enumerate(rows)]

    def _draw_rows(self, count: int, rng: np.random.Generator) -> Ints:
        sizes = {kind: np.array([len(p) for p in pools]) for kind, pools in self._pools.items()}
        pools = [pool for by_language in self._pools.values() for pool in by_language]
        chosen = rng.choice(len(pools), count, p=pool_odds(sizes, self._diet))
        return np.array([rng.choice(pools[pool]) for pool in chosen])

    def _sequence(
        self, row: int, number: int, related: list[Bag], rng: np.random.Generator
    ) -> Sequence:
        text = self._corpus.text(row)
        kept = text[rng.random(len(text)) >= rng.choice([0.0, 0.0, 0.1, 0.25])]
        kept = kept if len(kept) else text
        room = int(rng.choice(_TEXT_TOKENS))
        first = int(rng.integers(max(len(kept) - room, 0) + 1))
        parts = [np.array(self._start, np.int64), kept[first : first + room]]
        positions: list[int] = []
        bags: list[Bag] = []
        asks = [
            *(self._tag(row, related[number], rng) for _ in range(rng.choice(_TAG_COUNTS))),
            *(self._choice(row, number, related, rng) for _ in range(rng.choice(_CHOICE_COUNTS))),
            *(self._pseudo_task(row, rng) for _ in range(rng.choice(_PSEUDO_TASK_COUNTS))),
        ]
        for place in rng.permutation(len(asks)):  # any may stand right after the text
            asked, bag = asks[place]
            if len(bag.tokens):
                parts.append(asked)
                positions.append(sum(map(len, parts)) - 1)
                bags.append(bag)
        return Sequence(np.concatenate(parts), positions, bags)

    def _tag(self, row: int, related: Bag, rng: np.random.Generator) -> tuple[Ints, Bag]:
        corpus, meaning = self._corpus, int(self._corpus.meaning[row])
        kind = rng.choice(list(_TAG_KINDS), p=list(_TAG_KINDS.values()))
        if kind == "document" and corpus.document[meaning] >= 0:
            members = self._documents[corpus.document[meaning]]
            some = rng.permutation(members)[:6]
            found = [rows_in(corpus, int(member), ENGLISH) for member in some]
            return self._ask("<document>"), bag_of(corpus, np.concatenate(found), rng)
        if kind == "same":
            return self._ask("<same>"), bag_of(corpus, np.array([row]), rng)
        if kind == "topic":
            topics = rows_in(corpus, meaning, TOPIC)
            if len(topics):
                return self._ask("<topic>"), bag_of(corpus, topics, rng)
        if kind == "related":
            return self._ask("<related>"), related
        languages = np.unique(corpus.language[corpus.rows(meaning)])
        languages = languages[languages != TOPIC]
        into = ENGLISH if rng.random() < 0.3 else int(rng.choice(languages))
        return self._ask(f"<to:{LANGUAGES[into]}>"), bag_of(
            corpus, rows_in(corpus, meaning, into), rng
        )

    def _ask(self, *tokens: str) -> Ints:
        return np.array([self._id[token] for token in tokens], np.int64)

    def _choice(
        self, row: int, number: int, related: list[Bag], rng: np.random.Generator
    ) -> tuple[Ints, Bag]:
        """A word of the text, its translation or its field, among words of other texts."""
        own = related[number]
        if rng.random() < 0.4:
            english = rows_in(self._corpus, int(self._corpus.meaning[row]), ENGLISH)
            bag = bag_of(self._corpus, english, rng)
            own = bag if len(bag.tokens) else own
        answer = int(rng.choice(own.tokens, p=own.weights / own.weights.sum()))
        others = rng.choice(len(related), int(rng.integers(1, 8)))
        words = {int(rng.choice(related[other].tokens)) for other in others} - set(own.tokens)
        shown = rng.permutation([answer, *words])
        asked = np.concatenate([self._ask("<choose>"), shown, self._ask("<answer>")])
        return asked, Bag(np.array([answer]), np.ones(1, np.float32))

    def _pseudo_task(self, row: int, rng: np.random.Generator) -> tuple[Ints, Bag]:
        task = int(rng.integers(len(self._semantics.lengths)))
        cluster = self._semantics.cluster[task, self._corpus.meaning[row]]
        first = self.vocabulary + task * _LONGEST_FREE
        asked = np.arange(first, first + self._semantics.lengths[task])
        return asked, Bag(self._semantics.labels[task, [cluster]], np.ones(1, np.float32))
