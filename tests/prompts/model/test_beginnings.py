"""A long text is tokenized as if it had been read whole, and costs as if it were short."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from isogloss.prompts.model.names import POCKET
from isogloss.prompts.model.tokenizer import Tokenizer, beginning

LIMIT = 200
LONG = 40_000  # characters

_SENTENCES = (
    "The river rose in the night, and the bridge was closed at 6:45. ",
    "Река поднялась ночью, и мост закрыли в 6:45. ",
    "河水夜里上涨，桥在六点四十五分关闭。",
    "नदी रात में बढ़ी और पुल बंद कर दिया गया। ",
    "강물이 밤새 불어나 다리가 6시 45분에 통제되었다. ",
    "ارتفع النهر ليلاً وأُغلق الجسر. ",
    "👩\u200d🚀 🇫🇮 ﬁnally… ½ № ①\n\n",
)


def drawn(seed: int, length: int = LONG) -> str:
    """Ordinary text of many scripts."""
    draw = random.Random(seed)
    text = "".join(draw.choices(_SENTENCES, k=length // 20))
    return text[:length]


HOSTILE = {
    "a character that becomes 18": "\ufdfa" * LONG,
    "one that becomes 18 behind blanks": " " * (LONG // 2) + "\ufdfa" * (LONG // 2),
    "marks upon marks": ("a" + "\u0301\u0316\u0489" * 30) * (LONG // 91),
    "marks out of order": "\u0301\u0316" * (LONG // 2),
    "an endless word": "".join(random.Random(3).choices("abcdefghij", k=LONG)),
    "one letter": "a" * LONG,
    "control characters": "\x01\x02\x1b\x7f" * (LONG // 4),
    "joined emoji": "👨\u200d👩\u200d👧\u200d👦" * (LONG // 7),
    "any character": "".join(chr(n) for n in random.Random(4).choices(range(0x20, 0xD7FF), k=LONG)),
    "blanks": " " * LONG,
    "two letters by turns": "a " * (LONG // 2),
}


class Counting(Tokenizer):
    """Counts what reaches the tokenizer, as it is when it is normalised."""

    def _ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        written = (len(unicodedata.normalize("NFKC", text)) for text in texts)
        self.characters = getattr(self, "characters", 0) + sum(written)
        return super()._ids(texts, special)


@pytest.fixture(scope="module", params=["pocket-bloom", "pocket-xglm"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(name: str) -> Counting:
    return Counting(AutoTokenizer.from_pretrained(POCKET / name))


@pytest.fixture(scope="module")
def whole(name: str) -> Backend:
    backend = Backend.from_file(str(POCKET / name / "tokenizer.json"))
    backend.encode_special_tokens = True
    return backend


@pytest.mark.parametrize("seed", range(8))
def test_a_beginning_is_read_as_the_whole_is(
    tokenizer: Counting, whole: Backend, seed: int
) -> None:
    texts = [drawn(seed, length) for length in (LONG, 6 * (LIMIT + 64), 1500, 700, 300)]
    for text, found in zip(texts, tokenizer.encode(texts, LIMIT), strict=True):
        expected = whole.encode(text).ids
        assert list(found.ids) == expected[:LIMIT]
        assert found.truncated == (len(expected) > LIMIT)
    assert tokenizer.encode(texts[:1], LIMIT)[0].truncated


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_hostile_text_costs_a_bounded_number_of_characters(
    tokenizer: Counting, whole: Backend, kind: str
) -> None:
    tokenizer.characters = 0
    (found,) = tokenizer.encode([HOSTILE[kind]], LIMIT)
    assert tokenizer.characters <= 2 * (6 + 24 + 96) * (LIMIT + 64)
    expected = whole.encode(HOSTILE[kind]).ids
    assert list(found.ids) == expected[:LIMIT]
    if kind != "blanks":  # what lies behind the cut is not looked at, even if it is nothing
        assert found.truncated == (len(expected) > LIMIT)


def test_a_character_that_becomes_18_is_not_written_out_for_long(tokenizer: Counting) -> None:
    tokenizer.characters = 0
    (found,) = tokenizer.encode(["\ufdfa" * LONG], LIMIT)
    assert (len(found.ids), found.truncated) == (LIMIT, True)
    assert tokenizer.characters <= 2 * 6 * (LIMIT + 64)


def test_dense_text_behind_much_that_is_nothing_is_found(tokenizer: Counting) -> None:
    (found,) = tokenizer.encode([" " * 5000 + drawn(5)], LIMIT)
    assert (len(found.ids), found.truncated) == (LIMIT, True)
    (plain,) = tokenizer.encode([drawn(5)], LIMIT)
    assert found.ids == plain.ids


def test_a_text_that_is_cut_says_so(tokenizer: Counting) -> None:
    nothing = " " * (97 * (LIMIT + 64))
    (found,) = tokenizer.encode([f"river{nothing}river"], LIMIT)
    assert found.truncated
    assert found.ids == tokenizer.encode(["river"], LIMIT)[0].ids


def test_a_limit_of_nothing_yields_nothing_more_than_it(tokenizer: Counting) -> None:
    for limit in (0, 1, 2):
        (found,) = tokenizer.encode([drawn(6)], limit)
        assert (len(found.ids), found.truncated) == (limit, True)


def test_beginnings_are_short_and_ordinary_text_is_cut_by_length_alone() -> None:
    assert beginning("river", 100) == "river"
    for text in (*_SENTENCES[:6], "é" * 50):
        assert beginning(text * 40, 400) == (text * 40)[:400]
    cut = beginning("\ufdfa" * 1000, 360)
    assert len(cut) == 2 * 360 // 18
    mixed = beginning("a" * 100 + "\ufdfa" * 1000, 360)
    assert len(unicodedata.normalize("NFKC", mixed)) <= 720
    assert mixed.startswith("a" * 100 + "\ufdfa" * 30)


def test_no_character_becomes_longer_than_is_allowed_for() -> None:
    from isogloss.prompts.model import tokenizer

    longest = max(len(unicodedata.normalize("NFKC", chr(n))) for n in range(0x110000))
    assert longest == tokenizer._LONGEST
