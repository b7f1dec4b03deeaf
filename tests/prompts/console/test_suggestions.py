"""Did you mean ...? is asked of words, not of books."""

from __future__ import annotations

import pytest

from isogloss.prompts.console.refusals import LONGEST_WORD, spelled_like
from isogloss.prompts.errors import UnknownLanguage
from isogloss.prompts.languages.languages import language


def test_like_spellings_are_found() -> None:
    assert spelled_like("romanse", ["Romance", "romance", "slavic"]) == ["romance", "Romance"]
    assert spelled_like("a" * LONGEST_WORD, ["a" * LONGEST_WORD]) == ["a" * LONGEST_WORD]


def test_what_is_longer_than_any_word_is_compared_with_nothing() -> None:
    class Untouchable(list[str]):
        def __iter__(self) -> object:  # type: ignore[override]
            pytest.fail("it was compared")

    assert spelled_like("a" * (LONGEST_WORD + 1), Untouchable()) == []


def test_a_long_code_is_repeated_shortly() -> None:
    with pytest.raises(UnknownLanguage) as refused:
        language("fra_Latn\x1b" * 10**6)
    assert len(str(refused.value)) < 200
    assert str(refused.value).isprintable()
