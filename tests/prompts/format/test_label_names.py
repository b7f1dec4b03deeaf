"""Labels are few, short and free of what a terminal obeys, wherever they come from."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from isogloss.prompts.errors import InvalidData, InvalidPrompt
from isogloss.prompts.format.labels import (
    LONGEST_LABEL,
    MOST_LABELS,
    check_labels,
    has_control_characters,
)
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken, verbalize
from isogloss.training.data.labelled import Example, labels_of
from tests.fakes import soft_prompt

CONTROL = (
    "\x1b[31mred", "a\nb", "a\tb", "bell\x07", "\x9b2J", "null\0", "line\u2028", "\u202eevil",
)  # fmt: skip
FINE = (
    "science/technology", "کتاب\u200cها", "स्वास्थ्य", "健康", "café", "a b", "<b>", "e\u0301",
    "👩\u200d💻",
)  # fmt: skip


@pytest.mark.parametrize("label", CONTROL)
def test_control_characters_are_refused_everywhere(label: str) -> None:
    assert has_control_characters(label)
    with pytest.raises(InvalidData, match=r"control characters.*; correct the label") as refused:
        labels_of([Example("1", label, "x"), Example("2", "other", "y")])
    assert str(refused.value).isprintable()
    with pytest.raises(ValidationError, match="control characters"):
        LabelToken(label=label, word="w", token="w", token_id=1)
    with pytest.raises(InvalidData, match=r"control characters.*; choose another word"):
        verbalize(["a", "b"], Speaking(), {"a": label})


@pytest.mark.parametrize("label", FINE)
def test_labels_of_any_script_are_labels(label: str) -> None:
    assert not has_control_characters(label)
    check_labels([label, "other"])
    assert LabelToken(label=label, word=label, token=label, token_id=1).label == label


def test_a_label_has_a_longest_length() -> None:
    check_labels(["x" * LONGEST_LABEL])
    with pytest.raises(InvalidData, match=f"{LONGEST_LABEL + 1} characters are too many"):
        check_labels(["x" * (LONGEST_LABEL + 1)])


def test_a_task_has_a_most_labels() -> None:
    labels = [f"l{at}" for at in range(MOST_LABELS + 1)]
    check_labels(labels[:-1])
    with pytest.raises(InvalidData, match=rf"{len(labels)} labels are too many.*at most"):
        labels_of([Example(label, label, "x") for label in labels])
    with pytest.raises(InvalidData, match="labels are too many") as refused:
        verbalize(labels, Speaking())
    assert len(str(refused.value)) < 300


def test_a_file_with_too_many_labels_is_no_prompt() -> None:
    most = soft_prompt(1.0, labels=[f"l{at}" for at in range(MOST_LABELS)])
    assert len(SoftPrompt.from_bytes(most.to_bytes()).card.labels) == MOST_LABELS
    card = most.card
    more = card.model_copy(
        update={
            "labels": (
                *card.labels,
                LabelToken(label="one more", word="w", token="w", token_id=999_999),
            )
        }
    )
    data = SoftPrompt(card=more, vectors=most.vectors).to_bytes()
    with pytest.raises(InvalidPrompt, match=rf"labels: .*{MOST_LABELS}"):
        SoftPrompt.from_bytes(data)


class Speaking:
    """A tokenizer with a token for every word."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}

    def first_token(self, word: str) -> tuple[int, str] | None:
        return self._words.setdefault(word, len(self._words)), word
