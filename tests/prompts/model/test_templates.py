"""A text in a template becomes the tokens of both written in one, and is cut in the text alone."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer as Backend

from isogloss.prompts.format.template import around
from tests.prompts.model.test_beginnings import (
    HOSTILE,
    LIMIT,
    Counting,
    drawn,
    name,
    tokenizer,
    whole,
)
from tests.prompts.tokenizer_cases import random_texts

__all__ = ["name", "tokenizer", "whole"]  # fixtures: both pocket models

TEMPLATES = (
    "Tweet text : {text} Label :",
    "Tweet text : {text} Label : ",
    "{text}. Topic:",
    "s{text}s",
    "Topic of: {text}",
    "标题：{text}。类别：",
    "\n{text}\n\nLabel:",
)


def written(whole: Backend, template: str, text: str) -> list[int]:
    """The oracle: the model's own tokenizer on template and text as one string."""
    before, behind = around(template)
    return list(whole.encode(before + text + behind).ids)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_text_that_fits_is_read_as_if_it_stood_there(
    tokenizer: Counting, whole: Backend, template: str
) -> None:
    texts = [*random_texts(seed=11, count=150), drawn(1, 300), " ", ""]
    found = tokenizer.encode(texts, 2000, around(template))
    assert [list(each.ids) for each in found] == [written(whole, template, t) for t in texts]
    assert not any(each.truncated for each in found)


@pytest.mark.parametrize(
    "text", ["{text}", "{}", "{0} {text} }{", "</s> <pad> <s>", "%s %(text)s", "\\{text\\}"]
)
def test_signs_in_a_text_are_text(tokenizer: Counting, whole: Backend, text: str) -> None:
    special = {t.content: i for i, t in whole.get_added_tokens_decoder().items() if t.special}
    (found,) = tokenizer.encode([text], LIMIT, around(TEMPLATES[0]))
    start = len(tokenizer.start)
    assert not set(found.ids[start:]) & set(special.values())
    said = tokenizer.wrapped.decode(found.ids[start:])
    assert "".join(said.split()) == f"tweettext:{text}label:".replace(" ", "")


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("length", [700, 1500, 6 * (LIMIT + 64), 40_000])
def test_a_text_too_long_is_cut_and_its_template_is_not(
    tokenizer: Counting, whole: Backend, template: str, length: int
) -> None:
    before, behind = around(template)
    text = drawn(length, length)
    (found,) = tokenizer.encode([text], LIMIT, (before, behind))
    kept = whole.encode(f"a{behind}").ids[len(whole.encode("a").ids) :] if behind else []
    if template == "s{text}s":  # it runs on from a word
        kept = tokenizer.words(behind)
    assert (len(found.ids), found.truncated) == (LIMIT, True)
    assert list(found.ids[LIMIT - len(kept) :]) == kept
    room = LIMIT - len(kept)
    assert list(found.ids[:room]) == whole.encode(before + text).ids[:room]


@pytest.mark.parametrize("template", TEMPLATES[:3])
def test_around_the_limit_nothing_is_lost_but_what_must_be(
    tokenizer: Counting, whole: Backend, template: str
) -> None:
    pick = random.Random(4)
    words = [pick.choice(["river", "мост", "night", "河水"]) for _ in range(40)]
    texts = [" ".join(words[:count]) for count in range(1, 40)]
    limit = 60
    cut = 0
    for text, found in zip(texts, tokenizer.encode(texts, limit, around(template)), strict=True):
        expected = written(whole, template, text)
        cut += len(expected) > limit
        assert found.truncated == (len(expected) > limit)
        assert len(found.ids) == min(limit, len(expected))
        assert list(found.ids[-2:]) == expected[-2:]
    assert 0 < cut < len(texts)


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_hostile_text_in_a_template_costs_a_bounded_number_of_characters(
    tokenizer: Counting, kind: str
) -> None:
    tokenizer.characters = 0
    (found,) = tokenizer.encode([HOSTILE[kind]], LIMIT, around(TEMPLATES[0]))
    assert tokenizer.characters <= 2 * (6 + 24 + 96) * (LIMIT + 64 + 10)
    tail = tokenizer.encode(["a"], LIMIT, around(TEMPLATES[0]))[0].ids[-2:]
    assert found.ids[-2:] == tail


@pytest.mark.parametrize("limit", range(12))
def test_a_limit_shorter_than_the_template_is_kept(tokenizer: Counting, limit: int) -> None:
    (found,) = tokenizer.encode(["river"], limit, around(TEMPLATES[0]))
    assert len(found.ids) <= limit


def test_a_word_may_be_spoken_without_a_space(tokenizer: Counting) -> None:
    spaced, alone = (tokenizer.first_token("river", spaced=each) for each in (True, False))
    assert spaced is not None
    assert spaced[0] == tokenizer.words(" river")[0]
    assert alone is not None
    assert alone[0] == tokenizer.words("river")[0]
