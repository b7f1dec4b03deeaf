"""What a pocket model reads of each language: about what the real model's pretraining had.

BLOOM saw 485 GB of English and 0.7 MB of Akan, XGLM 803 billion tokens of English and 87 million
of Haitian. A language's share of the recipe's text is (its size / English's) to the power `alpha`,
and no less than a floor: at 0 all languages are read alike, at 1 Akan would be read a sentence of
which every other one is in English a million times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from isogloss.prompts.languages.pretraining_data import CORPORA, pretraining_sizes
from isogloss.training.recipes.pocket.data import ENGLISH, LANGUAGES, Meaning
from isogloss.training.recipes.pocket.recipe import Recipe

Shares = Mapping[str, float]
"""Language -> how much of its text is read, from 0 to 1. English is read whole."""

# Under a tenth of its text. Languages that the corpus lacks are at the floor, far below it, and
# under the same line at every alpha; what the corpus has comes under it where tempering no longer
# hides how little that is: at 0.25, with less than a ten-thousandth of English. Of the parallel
# text, some 2,700 sentences at most, a tenth are too few for most words to be met twice.
HARDLY_KNOWN_BELOW = 0.1


def shares(recipe: Recipe) -> Shares:
    """The diet of a recipe, after CC100-XL for XGLM and after ROOTS for BLOOM and all others."""
    sizes = pretraining_sizes(recipe.fed_as)
    english = sizes[ENGLISH]
    # 0 ** 0 is 1: without tempering, languages that the corpus lacks are read whole as well.
    eaten = {code: (sizes.get(code, 0) / english) ** recipe.alpha for code in LANGUAGES}
    return {code: max(recipe.floor, share) for code, share in eaten.items()}


def thinned(meanings: Iterable[Meaning], diet: Shares, seed: int) -> list[Meaning]:
    """The meanings, each in some of its languages; what is read at one alpha is at all lower."""
    return [
        replace(
            meaning,
            texts=dict(_kept(meaning.texts, diet, f"{seed} {number} text")),
            lemmas=dict(_kept(meaning.lemmas, diet, f"{seed} {number} lemma")),
        )
        for number, meaning in enumerate(meanings)
    ]


def _kept(
    texts: Mapping[str, tuple[str, ...]], diet: Shares, about: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for code, found in texts.items():
        if diet[code] >= 1 or _uniform(f"{about} {code}") < diet[code]:
            yield code, found


def _uniform(key: str) -> float:
    """A number from 0 to 1 that depends on nothing but the key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64


def best_fed(diet: Shares, count: int) -> Sequence[str]:
    """English and the `count` languages after it."""
    ranked = sorted(diet, key=lambda code: (-diet[code], code))
    return [ENGLISH, *[code for code in ranked if code != ENGLISH][:count]]


def hardly_known(diet: Shares) -> Sequence[str]:
    """The languages of which a model read so little that its answers in them are doubtful."""
    return sorted(code for code, share in diet.items() if share < HARDLY_KNOWN_BELOW)


def told(recipe: Recipe) -> str:
    """The diet in one sentence, for whoever reads the shares."""
    corpus = CORPORA[recipe.fed_as]
    if recipe.alpha == 0:
        return f"Text of all languages alike: (size in {corpus} / English's) to the power 0."
    return (
        f"Text of each language in proportion to (size in {corpus} / English's) to the power "
        f"{recipe.alpha:g}, at least {recipe.floor:.0%} of what there is."
    )
