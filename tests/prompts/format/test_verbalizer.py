from __future__ import annotations

import pytest
from pydantic import ValidationError

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.verbalizer import LabelToken, default_word, verbalize

SIB200 = (
    "entertainment", "geography", "health", "politics", "science/technology", "sports", "travel",
)  # fmt: skip


class FirstThreeLetters:
    """A vocabulary of the first three letters of lower-case words."""

    def first_token(self, word: str) -> tuple[int, str] | None:
        if not word.islower():
            return None
        number = 0
        for letter in word[:3]:
            number = 256 * number + ord(letter) % 256
        return number, "Ġ" + word[:3]


VOCABULARY = FirstThreeLetters()


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("sports", "sports"),
        ("science/technology", "science"),
        ("  2_neutral", "neutral"),
        ("très bon", "très"),
        ("положительный", "положительный"),
        ("体育", "体育"),
        ("1", "1"),
        ("+", "+"),
    ],
)
def test_a_label_is_spoken_as_its_first_run_of_letters(label: str, word: str) -> None:
    assert default_word(label) == word


def test_every_label_gets_its_own_token_in_the_order_of_the_labels() -> None:
    chosen = verbalize(SIB200, VOCABULARY)
    assert [one.label for one in chosen] == list(SIB200)
    assert chosen[4].word == "science"
    assert chosen[4].token == "Ġsci"
    assert len({one.token_id for one in chosen}) == len(SIB200)


def test_words_may_be_chosen() -> None:
    chosen = verbalize(["good", "goofy"], VOCABULARY, {"goofy": "silly"})
    assert [one.word for one in chosen] == ["good", "silly"]


def test_labels_that_share_a_token_are_refused_with_both_and_the_token() -> None:
    with pytest.raises(InvalidData) as refusal:
        verbalize(["fine", "good", "goofy"], VOCABULARY)
    token_id = str(chosen[0]) if (chosen := VOCABULARY.first_token("goo")) else ""
    for part in ("'good'", "'goofy'", "'Ġgoo'", token_id, "--word"):
        assert part in str(refusal.value)
    with pytest.raises(InvalidData, match=r"'silver'.*'silly'.*'Ġsil'"):
        verbalize(["good", "bad"], VOCABULARY, {"good": "silver", "bad": "silly"})


@pytest.mark.parametrize(
    ("labels", "words", "reason"),
    [
        (["good"], {}, "at least two"),
        ([], {}, "at least two"),
        (["good", "bad", "good"], {}, "once"),
        (["good", ""], {}, "empty"),
        (["good", "bad", "Good"], {}, r"'good' and 'Good' differ only in case"),
        (["caf\u00e9", "cafe\u0301"], {}, r"'caf\\xe9' and 'cafe\\u0301' differ only in"),
        (["good", "  "], {}, "empty"),
        (["good", "BAD"], {}, r"'BAD'.*no token.*--word BAD=WORD"),
        (["good", "bad"], {"bad": "DIRE"}, r"'bad'.*'DIRE'.*no token"),
        (["good", "bad"], {"bad": " "}, r"'bad'.*no token"),
        (["good", "bad"], {"ugly": "ugly"}, r"unknown labels \['ugly'\].*\['bad', 'good'\]"),
    ],
)
def test_labels_that_cannot_be_spoken_are_refused(
    labels: list[str], words: dict[str, str], reason: str
) -> None:
    with pytest.raises(InvalidData, match=reason):
        verbalize(labels, VOCABULARY, words)


def test_a_label_token_survives_json_and_knows_no_other_fields() -> None:
    token = verbalize(["good", "bad"], VOCABULARY)[0]
    assert LabelToken.model_validate_json(token.model_dump_json()) == token
    with pytest.raises(ValidationError, match="surprise"):
        LabelToken.model_validate({**token.model_dump(), "surprise": 1})
