"""What a pocket model's folder says of it: its shares of languages, its card and its measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isogloss.training.recipes.pocket.card import write_card
from isogloss.training.recipes.pocket.checkpoint import Progressed
from isogloss.training.recipes.pocket.diet import shares
from isogloss.training.recipes.pocket.folder import is_finished, save_model
from isogloss.training.recipes.pocket.model import Pretraining, new_model
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.tokenizer import learn_tokenizer
from tests.training.recipes.made_up import CPU, recipe, token_vectors

DONE = Progressed(step=4000, minutes=7.5, loss=3.32)


def card_of(planned: Recipe, folder: Path, *, keep_measures: bool = False) -> str:
    write_card(folder, planned, DONE, 8_100_000, "1 core", keep_measures=keep_measures)
    return (folder / "README.md").read_text(encoding="utf-8")


def save(planned: Recipe, folder: Path, seed: int = 0) -> None:
    model = new_model(planned, token_vectors(planned, seed))
    tokenizer = learn_tokenizer([], planned.vocabulary, shares(planned))
    save_model(planned, Pretraining(model, 1), tokenizer, DONE, folder, CPU)


def test_the_shares_stand_next_to_the_model(tmp_path: Path) -> None:
    planned = recipe("pocket-bloom-alpha0.15-seed0", alpha=0.15)
    assert not is_finished(tmp_path)
    save(planned, tmp_path)
    told = json.loads((tmp_path / "pretraining.json").read_text(encoding="utf-8"))
    assert told.keys() == {"format", "source", "shares", "hardly_known_below"}
    assert told["format"] == 1
    assert told["shares"] == pytest.approx(shares(planned), abs=1e-4)
    assert told["shares"]["deu_Latn"] < told["hardly_known_below"] < told["shares"]["aka_Latn"]
    assert "ROOTS / English's) to the power 0.15, at least 2%" in told["source"]
    assert is_finished(tmp_path)


def test_the_card_names_diet_unknown_languages_and_command(tmp_path: Path) -> None:
    text = " ".join(
        card_of(recipe("pocket-bloom-alpha0.15-seed1", alpha=0.15, seed=1), tmp_path).split()
    )
    assert "# pocket-bloom A small" in text
    assert "(size in ROOTS / English's) to the power 0.15, at least 2% of what there is" in text
    assert "**It knows little of** Ayacucho Quechua, Bulgarian, Burmese, Estonian, Finnish" in text
    assert "--model pocket-bloom --alpha 0.15 --steps 4000 --seed 1" in text
    assert "texts of each language by its share" in text


def test_the_card_of_an_even_model_names_no_language_that_it_hardly_knows(tmp_path: Path) -> None:
    text = card_of(recipe("pocket-xglm"), tmp_path)
    assert "all languages alike" in text
    assert "knows little" not in text
    assert "--model pocket-xglm --alpha 0 " in text


def test_measures_stay_with_the_weights_they_were_taken_on(tmp_path: Path) -> None:
    planned = recipe("pocket-bloom", alpha=0.15)
    save(planned, tmp_path)
    card = tmp_path / "README.md"
    assert card.read_text(encoding="utf-8").endswith("## Measured\nNothing yet.\n")
    measured = card.read_text(encoding="utf-8").replace("Nothing yet.", "Right in 7 of 9.")
    card.write_text(measured, encoding="utf-8")
    save(planned, tmp_path)
    assert card.read_text(encoding="utf-8") == measured
    save(planned, tmp_path, seed=1)
    assert card.read_text(encoding="utf-8").endswith("## Measured\nNothing yet.\n")
