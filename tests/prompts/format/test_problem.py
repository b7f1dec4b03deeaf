"""What kinds of answer there are: how they are written, how right one is, and what a card says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import InvalidData, InvalidPrompt
from isogloss.prompts.format.card import ModelRef, PromptCard, read_card
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.problem import Problem, join_labels, score_answer, split_labels
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken, verbalize, verbalize_none
from isogloss.prompts.store.store import PromptStore
from tests.fakes import route_table

NONE = LabelToken(label="none", word="none", token=" none", token_id=99)


def card(problem: Problem = "multi_label", *labels: str, none: LabelToken | None = NONE) -> Any:
    names = labels or ("a", "b", "c")
    return PromptCard(
        model=ModelRef(id="fake", fingerprint="sha256:fake"),
        position="suffix",
        kind="plain",
        task="own",
        labels=tuple(
            LabelToken(label=name, word=name, token=name, token_id=10 + ord(name[0]))
            for name in names
        ),
        problem=problem,
        none=none,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def prompt(of_card: PromptCard, value: float = 1.0) -> SoftPrompt:
    return SoftPrompt(of_card, torch.full((2, 4), value))


@pytest.mark.parametrize("cell", ["a|b", "b | a", " a|b|a ", "|a||b|"])
def test_a_cell_of_labels_is_a_set(cell: str) -> None:
    assert split_labels(cell) == ("a", "b")
    assert join_labels(split_labels(cell)) == "a|b"


@pytest.mark.parametrize(
    ("problem", "gold", "said", "score"),
    [
        ("single_label", "a", "a", 1.0),
        ("single_label", "a|b", "a", 0.0),
        ("multi_label", "", "", 1.0),
        ("multi_label", "", "a", 0.0),
        ("multi_label", "a|b", "b|a", 1.0),
        ("multi_label", "a|b", "b|c", 0.5),
        ("multi_label", "a", "a|b|c", 0.5),
        ("ordered", "a", "a", 1.0),
        ("ordered", "a", "b", 0.5),
        ("ordered", "c", "a", 0.0),
    ],
)
def test_how_right_an_answer_is(problem: Problem, gold: str, said: str, score: float) -> None:
    assert score_answer(problem, gold, said, ["a", "b", "c"]) == score


def test_a_card_says_its_kind_only_where_it_is_another() -> None:
    written = json.loads(card("single_label", none=None).to_json())
    assert {"problem", "none"}.isdisjoint(written)
    for each in (card(), card("ordered", none=None)):
        assert read_card({"card": each.to_json()}) == each


@pytest.mark.parametrize(
    ("problem", "none", "said"),
    [
        ("multi_label", None, "goes with multi_label"),
        ("ordered", NONE, "and only there"),
        ("multi_label", NONE.model_copy(update={"token_id": 10 + ord("a")}), "is that of a label"),
    ],
)
def test_a_card_whose_parts_disagree_is_refused(
    problem: Problem, none: LabelToken | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        card(problem, none=none)
    broken = {**json.loads(card().to_json()), "problem": problem}
    broken["none"] = None if none is None else none.model_dump()
    with pytest.raises(InvalidPrompt, match=said):
        read_card({"card": json.dumps(broken)})


class Words:
    """First letters as tokens."""

    def first_token(self, word: str) -> tuple[int, str] | None:
        return (ord(word[0]), word[0]) if word[0].isalpha() else None


def test_the_word_for_none_has_a_token_of_its_own() -> None:
    labels = verbalize(("noise", "sea"), Words())
    assert verbalize_none(labels, Words(), "quiet").token_id == ord("q")
    with pytest.raises(
        InvalidData, match=r"'none' and label 'noise' .* choose another with --none"
    ):
        verbalize_none(labels, Words())
    with pytest.raises(InvalidData, match=re.escape("--none-word '...': it has no token")):
        verbalize_none(labels, Words(), "...")


def test_prompts_that_answer_differently_do_not_answer_together() -> None:
    several, one = prompt(card()), prompt(card("single_label", none=None), 2.0)
    with pytest.raises(InvalidPrompt, match="answers as single_label, 'one' as multi_label"):
        Ensemble.of([("one", None, several), ("two", None, one)])
    up, down = (prompt(card("ordered", *names, none=None)) for names in ("abc", "cba"))
    with pytest.raises(InvalidPrompt, match="other levels"):
        Ensemble.of([("one", None, up), ("two", None, down)])
    made = Ensemble.of([("one", None, several), ("two", None, prompt(card(), 3.0))])
    assert made.card.verbalizer.independent
    assert Ensemble.from_bytes(made.to_bytes()).card.problem == "multi_label"


def test_a_table_has_prompts_that_answer_alike(tmp_path: Any) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    prompts = {"one": prompt(card()), "two": prompt(card("single_label", none=None))}
    table = route_table("one", {"Romance": "two"}, task="own", model="fake")
    with pytest.raises(InvalidPrompt, match=r"answers as single_label .* multi_label"):
        store.publish(prompts, [table], "")
