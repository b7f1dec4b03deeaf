"""What a pocket model reads of each language: shares, and all that goes by them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.pretraining_data import Architecture, pretraining_sizes
from isogloss.training.recipes.pocket import tokenizer as tokenizer_module
from isogloss.training.recipes.pocket.data import ENGLISH, LANGUAGES, Meaning, read_meanings
from isogloss.training.recipes.pocket.diet import best_fed, hardly_known, shares, thinned, told
from isogloss.training.recipes.pocket.targets import pool_odds
from isogloss.training.recipes.pocket.tokenizer import LABEL_WORDS, texts_by_share
from tests.some import some
from tests.training.recipes.made_up import recipe, write_text

NAMES = ("pocket-bloom", "pocket-xglm")
ALPHAS = (0.0, 0.08, 0.15, 0.25, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_without_tempering_every_language_is_read_whole(name: str) -> None:
    assert shares(recipe(name)) == dict.fromkeys(LANGUAGES, 1.0)
    assert hardly_known(shares(recipe(name))) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_english_is_read_whole_and_no_language_less_than_the_floor(name: str, alpha: float) -> None:
    diet = shares(recipe(name, alpha=alpha))
    assert diet.keys() == set(LANGUAGES)
    assert diet[ENGLISH] == 1.0
    assert min(diet.values()) >= 0.02
    assert min(shares(recipe(name, alpha=alpha, floor=0.3)).values()) >= 0.3


@pytest.mark.parametrize(("name", "architecture"), [(NAMES[0], "bloom"), (NAMES[1], "xglm")])
def test_who_had_more_text_is_read_more_and_less_at_a_higher_alpha(
    name: str, architecture: Architecture
) -> None:
    sizes = pretraining_sizes(architecture)
    by_size = sorted(LANGUAGES, key=lambda code: sizes.get(code, 0))
    diets = [shares(recipe(name, alpha=alpha)) for alpha in ALPHAS]
    for diet in some(diets):
        ranked = [diet[code] for code in by_size]
        assert ranked == sorted(ranked)
    for code in LANGUAGES:
        read = [diet[code] for diet in diets]
        assert read == sorted(read, reverse=True)


def test_bloom_eats_after_roots_and_xglm_after_cc100_xl() -> None:
    bloom = shares(recipe("pocket-bloom", alpha=0.15))
    xglm = shares(recipe("pocket-xglm-alpha0.15-seed1", alpha=0.15))
    assert bloom["deu_Latn"] == 0.02 < xglm["deu_Latn"]
    assert xglm["wol_Latn"] == 0.02 < bloom["wol_Latn"]
    assert best_fed(bloom, 2) == [ENGLISH, "zho_Hans", "fra_Latn"]
    assert best_fed(xglm, 1) == [ENGLISH, "rus_Cyrl"]
    assert "ROOTS" in told(recipe("pocket-bloom", alpha=0.15))
    assert "CC100-XL" in told(recipe("pocket-xglm", alpha=0.15))


def test_hardly_known_are_those_the_corpus_lacks_and_at_a_steep_diet_the_rare() -> None:
    lacking = set(LANGUAGES) - pretraining_sizes("bloom").keys()
    assert set(hardly_known(shares(recipe("pocket-bloom", alpha=0.15)))) == lacking
    steep = set(hardly_known(shares(recipe("pocket-bloom", alpha=0.25))))
    assert steep > lacking
    assert "tum_Latn" in steep
    assert "swh_Latn" not in steep


@pytest.mark.parametrize(("field", "value"), [("alpha", -0.1), ("alpha", 1.5), ("steps", 0)])
def test_a_recipe_out_of_bounds_is_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"{field} is {value}"):
        recipe("pocket-bloom", **{field: value})


PARALLEL = [
    Meaning(
        "sib200",
        {code: (f"{code} {number}",) for code in LANGUAGES},
        {code: (f"{code} word {number}",) for code in LANGUAGES},
    )
    for number in range(600)
]


def read_at(alpha: float, seed: int = 0) -> set[tuple[str, str]]:
    """Language and text of what is left, lemmas too."""
    meanings = thinned(PARALLEL, shares(recipe("pocket-bloom", alpha=alpha)), seed)
    return {
        (code, text)
        for meaning in meanings
        for found in (meaning.texts, meaning.lemmas)
        for code, texts in found.items()
        for text in texts
    }


def test_what_is_read_at_an_alpha_is_read_at_all_lower_ones() -> None:
    whole, mild, steep = read_at(0.0), read_at(0.08), read_at(0.25)
    assert whole > mild > steep
    assert len(whole) == 2 * len(PARALLEL) * len(LANGUAGES)


def test_each_language_is_thinned_to_about_its_share() -> None:
    diet = shares(recipe("pocket-bloom", alpha=0.15))
    counts = Counter(code for code, _ in read_at(0.15))
    assert counts[ENGLISH] == 2 * len(PARALLEL)
    for code in LANGUAGES:
        # Four standard deviations of a coin thrown 1,200 times.
        assert counts[code] / (2 * len(PARALLEL)) == pytest.approx(diet[code], abs=0.06)


def test_the_seed_alone_decides_which_texts_are_read() -> None:
    assert read_at(0.15) == read_at(0.15)
    assert read_at(0.15) != read_at(0.15, seed=1)


def test_the_tokenizer_learns_from_texts_by_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tokenizer_module, "_TEXTS", 520)
    diet = shares(recipe("pocket-bloom", alpha=0.25))
    texts = list(texts_by_share(PARALLEL, diet))
    counts = Counter(text.split()[0] for text in texts[: -len(LABEL_WORDS)])
    for code in LANGUAGES:
        assert counts[code] == int(520 * diet[code] / sum(diet.values()))
    few = read_meanings(write_text(tmp_path))[:2]
    repeated = Counter(texts_by_share(few, dict.fromkeys(LANGUAGES, 1.0)))
    assert {repeated[text] for text in few[0].texts["fra_Latn"]} == {4}


def test_the_sampler_goes_by_share_in_parallel_text_and_by_root_elsewhere() -> None:
    sizes = {
        "parallel": np.array([100, 100, 0]),
        "tatoeba": np.array([400, 0, 100]),
        "definition": np.array([0, 0, 0]),
        "lemma": np.array([900, 100, 100]),
    }
    odds = pool_odds(sizes, np.array([1.0, 0.1, 0.1])).reshape(4, 3)
    assert odds.sum() == pytest.approx(1.0)
    assert odds[0, 1] / odds[0, 0] == pytest.approx(0.1**0.7)
    assert odds[1] / odds[1, 0] == pytest.approx([1, 0, 0.5])
    assert odds[2].tolist() == [0, 0, 0]
    assert odds[3] / odds[3, 0] == pytest.approx([1, 1 / 3, 1 / 3])
    assert odds[0].sum() / odds[3].sum() == pytest.approx(0.55 / 0.18)
