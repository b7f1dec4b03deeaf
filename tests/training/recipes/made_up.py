"""What a pocket model is tried on: made-up languages, a teacher of random words, a tiny recipe."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isogloss.training.recipes.pocket.embedding import normalized
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.teacher import Teacher

CPU = torch.device("cpu")
_TINY = Recipe(
    "pocket-bloom",
    steps=90,
    minutes_between_checkpoints=0.0,
    synsets=50,
    short_sentences=20,
    vocabulary=900,
    hidden=16,
    heads=2,
    layers=1,
    pseudo_tasks=4,
    batch_tokens=512,
    warmup_steps=5,
)


def write_text(folder: Path) -> Path:
    """Four made-up languages that say the same: a word of one is a word of the others."""
    rng = random.Random(0)
    stems = [
        "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in "ab") for _ in range(60)
    ]
    endings = {"eng_Latn": "", "fra_Latn": "et", "swh_Latn": "wa", "wol_Latn": "oq"}
    sentences = [rng.choices(stems[10 * (n % 6) : 10 * (n % 6) + 20], k=8) for n in range(120)]
    for code, ending in endings.items():
        lines = [" ".join(stem + ending for stem in sentence) for sentence in sentences]
        sib200 = folder / "sib200" / code
        sib200.mkdir(parents=True)
        rows = "".join(f"{n}\tsports\t{line}\n" for n, line in enumerate(lines[:40]))
        (sib200 / "train.tsv").write_text("index_id\tcategory\ttext\n" + rows)
        (sib200 / "test.tsv").write_text("index_id\tcategory\ttext\n900\tsports\tforbidden\n")
        ntrex = folder / "ntrex"
        ntrex.mkdir(exist_ok=True)
        name = {"eng_Latn": "src.eng", "fra_Latn": "ref.fra", "swh_Latn": "ref.swa"}.get(code)
        if name:
            text = "\n".join(lines[40:80]) + "\n"
            (ntrex / f"newstest2019-{name}.txt").write_text(text)
        (folder / "wordnet").mkdir(exist_ok=True)
        lemmas = "".join(f"{n:08d}-n\t{stem}{ending}\n" for n, stem in enumerate(stems))
        (folder / "wordnet" / f"{code}.tsv").write_text(lemmas)
    (folder / "ntrex" / "DOCUMENT_IDS.tsv").write_text("".join(f"d.{n // 4}\n" for n in range(40)))
    definitions = "".join(
        f"{n:08d}-n\t05\t{stem}\t(sports) {' '.join(rng.choices(stems, k=6))}\n"
        for n, stem in enumerate(stems)
    )
    (folder / "wordnet" / "definitions.eng.tsv").write_text(definitions)
    (folder / "tatoeba").mkdir()
    english = "\n".join(" ".join(rng.choices(stems, k=4)) for _ in range(30)) + "\n"
    (folder / "tatoeba" / "tatoeba.fra-eng.eng").write_text(english)
    (folder / "tatoeba" / "tatoeba.fra-eng.fra").write_text(english)
    return folder


def teacher() -> Teacher:
    """Knows each word by a random vector of its own, and a text by the mean of its words'."""

    def read(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.mean([_word(word) for word in text.split()], axis=0) for text in texts]
        vectors: NDArray[np.float32] = np.stack(rows).astype(np.float32)
        return normalized(vectors)

    return read


def _word(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(list(word.encode())).standard_normal(24)


def recipe(name: str, **changed: Any) -> Recipe:
    return replace(_TINY, name=name, **changed)


def token_vectors(planned: Recipe, seed: int) -> NDArray[np.float32]:
    """A table for a new model: (vocabulary, hidden), rows of length 1."""
    rng = np.random.default_rng(seed)
    return normalized(rng.standard_normal((planned.vocabulary, planned.hidden), np.float32))
