"""Labels as people write them."""

from __future__ import annotations

import shlex

import pytest

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.format.labels import confused, parse_words, settle_words
from isogloss.prompts.format.verbalizer import verbalize


class NoWords:
    """A vocabulary of nothing but `cheap`."""

    def first_token(self, word: str) -> tuple[int, str] | None:
        return (1, "Ġcheap") if word == "cheap" else None


@pytest.mark.parametrize(
    ("text", "label", "word"),
    [
        ("price=low", "price", "low"),
        ("price=high=expensive", "price=high", "expensive"),
        (" a b = c ", "a b", "c"),
        ("a=b=c=d", "a=b=c", "d"),
        ("equal==", "equal", "="),
        ("a==b", "a=", "b"),
        ("=a=b", "=a", "b"),
    ],
)
def test_a_word_stands_after_the_last_equals_sign(text: str, label: str, word: str) -> None:
    assert parse_words([text]) == {label: word}


@pytest.mark.parametrize("text", ["", "=", "==", "label", "label=", "=word", " = ", "a= "])
def test_a_side_may_not_be_missing(text: str) -> None:
    with pytest.raises(InvalidInput, match="write it as label=word"):
        parse_words([text])


def test_a_label_has_one_word() -> None:
    with pytest.raises(InvalidInput, match="'a=b' has a word already"):
        parse_words(["a=b=c", "a=b=d"])


@pytest.mark.parametrize(
    ("given", "labels", "wanted"),
    [
        (["price=high=dear"], ["price=high", "price=low"], {"price=high": "dear"}),
        (["price=e=mc2"], ["price", "cost"], {"price": "e=mc2"}),
        (["a=b=c=d"], ["a", "a=b"], {"a=b": "c=d"}),
        (["a=b=c"], ["a", "a=b"], {"a=b": "c"}),
        (["nobody=x"], ["a", "b"], {"nobody": "x"}),
    ],
)
def test_known_labels_settle_which_sign_it_is(
    given: list[str], labels: list[str], wanted: dict[str, str]
) -> None:
    assert settle_words(parse_words(given), labels) == wanted


def test_two_words_that_settle_on_one_label_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'a' has a word already"):
        settle_words(parse_words(["a=b", "a=c=d"]), ["a", "z"])


@pytest.mark.parametrize("label", ["price=low", "don't know", "a b", "$HOME=`x`"])
def test_the_remedy_can_be_typed_and_read(label: str) -> None:
    with pytest.raises(InvalidData) as refusal:
        verbalize([label, "cheap"], NoWords())
    typed = str(refusal.value).rpartition("--word ")[2].replace("WORD", "cheap")
    assert settle_words(parse_words(shlex.split(typed)), [label, "cheap"]) == {label: "cheap"}


@pytest.mark.parametrize(
    "labels",
    [
        ("Sports", "sports"),
        ("caf\u00e9", "cafe\u0301"),
        ("straße", "STRASSE"),
        (" sports", "sports "),
        ("a  b", "a\u00a0b"),
        ("sports", "sport\u200bs"),
        ("ｓｐｏｒｔｓ", "sports"),
    ],
)
def test_labels_that_look_alike_are_found(labels: tuple[str, str]) -> None:
    assert confused(["health", *labels]) == labels


def test_labels_that_differ_are_not_confused() -> None:
    assert confused(["a", "b", "é", "e", "sport", "sports", "体育", "體育"]) is None
