"""All texts as tokens, in flat arrays: what vectors and training sequences are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from isogloss.training.recipes.pocket.data import LANGUAGES, Meaning

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

ENGLISH = LANGUAGES.index("eng_Latn")
TOPIC = len(LANGUAGES)  # stands for a language in `Corpus.language`


@dataclass(frozen=True)
class Corpus:
    """All texts as tokens. Rows are texts, in the order of their meanings."""

    tokens: Ints  # (all tokens,)
    start: Ints  # (texts + 1,)
    meaning: Ints  # (texts,)
    language: Ints  # (texts,)
    is_lemma: Flags  # (texts,)
    first_text: Ints  # (meanings + 1,)
    document: Ints  # (meanings,), -1 for none
    salience: Floats  # (languages + 1, vocabulary): how much a token says in a language

    def text(self, row: int) -> Ints:
        """The tokens of one text."""
        return self.tokens[self.start[row] : self.start[row + 1]]

    def counts(self) -> csr_matrix:
        """How often each token occurs in each meaning, in any language: (vocabulary, meanings)."""
        columns = np.repeat(self.meaning, np.diff(self.start))
        shape = (self.salience.shape[1], len(self.document))
        return csr_matrix((np.ones(len(self.tokens), np.float32), (self.tokens, columns)), shape)

    def rows(self, meaning: int) -> Ints:
        """The texts that say one meaning."""
        return np.arange(self.first_text[meaning], self.first_text[meaning + 1])


def build_corpus(tokenizer: Tokenizer, meanings: Sequence[Meaning]) -> Corpus:
    """Tokenizes everything once."""
    texts: list[str] = []
    rows: list[tuple[int, int, bool]] = []
    first = [0]
    for number, meaning in enumerate(meanings):
        for is_lemma, found in ((False, meaning.texts), (True, meaning.lemmas)):
            for code, alternatives in found.items():
                texts += alternatives
                rows += [(number, LANGUAGES.index(code), is_lemma)] * len(alternatives)
        texts += meaning.topics
        rows += [(number, TOPIC, True)] * len(meaning.topics)
        first.append(len(texts))
    tokenizer.encode_special_tokens = True  # what a text spells is text, as when it is served
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    start = np.cumsum([0] + [len(encoding) for encoding in encodings])
    tokens = np.fromiter((token for e in encodings for token in e.ids), np.int64, start[-1])
    meaning_of, language, lemma = (np.array(column) for column in zip(*rows, strict=True))
    documents = dict.fromkeys(meaning.document for meaning in meanings if meaning.document)
    names = {name: number for number, name in enumerate(documents)}
    return Corpus(
        tokens=tokens,
        start=start,
        meaning=meaning_of,
        language=language,
        is_lemma=lemma,
        first_text=np.array(first),
        document=np.array([names.get(meaning.document, -1) for meaning in meanings]),
        salience=_salience(tokens, start, language, tokenizer.get_vocab_size()),
    )


def _salience(tokens: Ints, start: Ints, language: Ints, vocabulary: int) -> Floats:
    """Squared log of the inverse share of a language's texts with the token, scaled to 0..1."""
    salience = np.zeros((len(LANGUAGES) + 1, vocabulary), np.float32)
    of_token = np.repeat(np.arange(len(language)), np.diff(start))
    pairs = np.unique(of_token * vocabulary + tokens)  # each token once a text
    text, token = pairs // vocabulary, pairs % vocabulary
    for number in range(len(LANGUAGES) + 1):
        total = max(int((language == number).sum()), 2)
        found = np.bincount(token[language[text] == number], minlength=vocabulary)
        rarity = np.log(total / np.maximum(found, 1)) / np.log(total)
        salience[number] = np.where(found > 0, np.maximum(rarity - 0.15, 0.0) ** 2, 0.0)
    salience[TOPIC] = 1.0
    return salience


def rows_in(corpus: Corpus, meaning: int, language: int) -> Ints:
    """The texts of a meaning in one language; a synset's are its lemmas, not its definition."""
    rows = corpus.rows(meaning)
    rows = rows[corpus.language[rows] == language]
    lemmas: Ints = rows[corpus.is_lemma[rows]]
    return lemmas if len(lemmas) else rows
