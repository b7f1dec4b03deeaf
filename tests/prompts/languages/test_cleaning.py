"""What is read of a text: its words, whatever stands before and between them."""

from __future__ import annotations

import base64
import random
import sys
import time
import unicodedata
from itertools import pairwise

import numpy as np
import pytest

from isogloss.prompts.languages import cleaning
from isogloss.prompts.languages import scripts as writing

WORDS = "Morgens trinkt meine Tante gern Tee im Garten."
_BYTES = base64.b64encode(random.Random(0).randbytes(6000)).decode()
_FOLDED = "\n".join(_BYTES[at : at + 76] for at in range(0, len(_BYTES), 76))

BEFORE = {
    "blanks": " " * 1200,
    "all blanks but the words": " " * 90_000,
    "no-break spaces": "\u00a0" * 3000,
    "line ends": "\r\n" * 2000,
    "dashes": "-" * 5000 + "\n",
    "emoji": "😀" * 1200,
    "joined emoji": "👩‍👩‍👧" * 3000,
    "digits": "1234567890 " * 3000,
    "invisible": "\u200b\u2060" * 20_000,
    "an address": "https://example.org/" + "one/two?three=four&" * 600 + " ",
    "addresses": "https://example.org/in/the/garden " * 900,
    "mail addresses": "someone.in.the.garden@mail.example.org, " * 800,
    "mentions": "@inthegarden #TheGarden " * 800,
    "an attribute": '<div class="' + "wide garden of the page " * 1500 + '">',
    "tags": "<p class='in the garden'><b>" * 3000,
    "tags of lines": '<p\n  class="in the garden"\n  id="the">\n' * 1500,
    "a drawing": '<svg viewBox="0 0 24 24"><path d="'
    + "M12 2C6.48 2 2 6.48zm-2" * 900
    + '"/></svg>',
    "style": "<style>" + "body { margin: 0; color: green }\n" * 900 + "</style>",
    "a program": "<script>" + "if (garden < the) { return of }\n" * 900 + "</script><p>",
    "a comment": "<!-- " + "in the garden of the page - " * 900 + "-->",
    "a comment behind a line": "<!" + "-" * 100 + " in the garden of the page -->",
    "a tag behind blanks": " " * 100 + "<p title='in the garden'>" + " " * 1000,
    "code": "```python\n" + "for word in the garden: print the word\n" * 900 + "```\n",
    "quoted code": "`print the garden` " * 900,
    "base64": _BYTES + "\n",
    "folded base64": _FOLDED + "\n\n",
    "a picture": "![](data:image/png;base64," + _BYTES + ") ",
    "entities": "&nbsp;" * 3000,
    "escaped tags": "&lt;b&gt;" * 900,
    "mail headers": (
        "Received: from mail.example.org by mx.example.org with the garden for <a@example.org>;\n"
        "\tMonday in the garden\n"
    )
    * 200
    + "From: Somebody Of The Garden <a@example.org>\nMIME-Version: 1.0\n\n",
}
WITHIN = {
    "zero-width space": "\u200b",
    "joiner": "\u200d",
    "non-joiner": "\u200c",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "variation selectors": "\ufe0f\U000e0101",
    "direction": "\u202e\u2066\u061c\u200f",
    "tags": "\U000e0041\U000e007f",
    "grapheme joiner": "\u034f",
    "fillers": "\u3164\u115f\uffa0",
    "vowel separator": "\u180e",
}


def letters(text: str) -> str:
    """What is read of one text."""
    points = cleaning.read([text]).points
    return "".join(map(chr, points[1:].tolist())).strip()


READ = letters(WORDS)


def test_what_is_read_is_lower_case_letters_and_single_spaces() -> None:
    assert READ == "morgens trinkt meine tante gern tee im garten"


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_nothing_hides_the_words_behind_it(before: str) -> None:
    found = letters(before + WORDS)
    assert found.endswith(READ)
    assert len(found) < len(READ) + 40  # a few letters at the end of base64 may be left


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_other_detectors_are_asked_about_the_same_words(before: str) -> None:
    (found,) = cleaning.clean([before + WORDS])
    assert "trinkt meine Tante gern Tee im Garten" in found
    assert len(found) < 1200


@pytest.mark.parametrize("invisible", WITHIN.values(), ids=WITHIN)
def test_what_has_no_look_does_not_split_words(invisible: str) -> None:
    assert letters(invisible.join(WORDS)) == READ
    assert "trinkt" in cleaning.clean([invisible.join(WORDS)])[0]


def test_the_joiner_of_persian_words_parts_them() -> None:
    assert letters("می\u200cخوانم") == "می خوانم"
    assert letters("\u200c".join("کتاب")) == "کتاب"  # between all letters it parts nothing


def test_every_invisible_character_of_unicode_is_known() -> None:
    format_characters = {
        point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) == "Cf"
    }
    kinds = writing.kinds_of(np.arange(sys.maxunicode + 1, dtype=np.uint32))
    seen = [f"{point:04X}" for point in format_characters if kinds[point] != writing.INVISIBLE]
    # Signs that enclose numbers, annotations, and hieroglyphs are not ignorable, Unicode says.
    assert all(name.startswith(("06", "070F", "08", "FFF", "110", "134")) for name in seen), sorted(
        seen
    )
    assert len(seen) < len(format_characters) / 2


@pytest.mark.parametrize(
    "symbol",
    ["™", "℠", "℃", "№", "℡", "①", "Ⅷ", "ⅳ", "㎞", "㈱", "㋿", "﷼", "₨", "🅰", "ⓐ", "🈁", "ℹ️", "µ"],
)
def test_symbols_are_no_letters(symbol: str) -> None:
    assert letters(symbol) == ""
    assert letters(f"{WORDS} {symbol}") == READ


@pytest.mark.parametrize(
    "same",
    [
        WORDS.upper(),
        "".join(chr(ord(letter) + 0xFEE0) if letter != " " else letter for letter in WORDS),
        "".join(
            chr(0x1D41A + ord(letter) - ord("a")) if "a" <= letter <= "z" else letter
            for letter in WORDS
        ),
        "ﬀ".join(["Morgens trinkt meine Tante gern Tee im Garten "]),
        f"{WORDS}\0",
        f"\0{WORDS}",
    ],
)
def test_other_forms_of_letters_are_letters(same: str) -> None:
    assert letters(same) == READ


def test_composed_and_decomposed_text_are_the_same() -> None:
    text = "Où les élèves mangent-ils des gâteaux ? Ọjọ́ náà dára; tiếng Việt; 한국어"
    assert letters(unicodedata.normalize("NFD", text)) == letters(
        unicodedata.normalize("NFC", text)
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Où les élèves mangent-ils des gâteaux ?", "cp1252"),
        ("Дети играют в саду за домом", "latin-1"),
        ("孩子们在花园里玩", "latin-1"),
    ],
)
def test_utf_8_read_as_something_else_is_read_again(text: str, encoding: str) -> None:
    assert letters(text.encode().decode(encoding)) == letters(text)


@pytest.mark.parametrize(
    "text", ["Der „Spaß“ ist aus", "São Paulo »à la carte«", "Ã", "ÐÑ", "naïve"]
)
def test_text_that_was_read_right_stays(text: str) -> None:
    words = "".join(letter if letter.isalpha() else " " for letter in text.lower())
    assert letters(text) == " ".join(words.split())


def test_marks_alone_are_of_no_script() -> None:
    read = cleaning.read(["\u0301\u0302", "ка\u0301\u0301\u0301\u0301"])
    scripts = writing.dominant(read.scripts, read.bounds)
    assert [writing.NAMES[script] for script in scripts] == ["", "Cyrl"]


def test_no_more_than_the_beginning_is_read() -> None:
    long = cleaning.read(["ab " * 400_000, "\ufdfa" * 100_000, "é" * 1_000_000])
    assert np.diff(long.bounds).max() <= cleaning.LONGEST
    assert len(cleaning.clean(["x " * 400_000])[0]) <= cleaning.CHARACTERS


def test_a_batch_is_its_texts_one_by_one() -> None:
    texts = [before + WORDS for before in BEFORE.values()]
    texts += [invisible.join(WORDS) for invisible in WITHIN.values()]
    texts += [WORDS, "", "™", "\0", "Ã©tÃ© Ã\xa0 la mer", "Ã©tÃ©tÃ©", "a" * 3000, "\ud800"]
    batch = cleaning.read(texts)
    assert len(batch.bounds) == len(texts) + 1
    for text, (start, stop) in zip(texts, pairwise(batch.bounds.tolist()), strict=True):
        np.testing.assert_array_equal(batch.points[start:stop], cleaning.read([text]).points)
    assert cleaning.clean(texts) == [cleaning.clean([text])[0] for text in texts]


HOSTILE = [
    *("@", "a@", "<a ", "<a x=1 ", "</", "```", "` ", " ", "\n", "-", ".", ".a", ".com", ".comx"),
    *("a_ ", "a_", "{", "{ ", "a->", "A=", "QUJD1", "a" * 45 + " ", "#a", "#a" + "a" * 50 + "é"),
    *(
        "<!--",
        "<!-",
        "<script>",
        "<style>{",
        "received: a@b\n",
        "x-a:\n @received:",
        "&a;",
        "&amp;",
    ),
    *(
        "&",
        "<b> ",
        "<a  ",
        "eyJ.",
        "a://",
        "http",
        "data:a/",
        "1<",
        "é@",
        "€a_",
        "\u200b",
        "Ã©",
        "Ã",
    ),
    *("™", "\ufdfa", "\u0301", "می\u200c", "\u200c", "Die Regierung ", "1", "国", "\ud800", "\0"),
]


def test_no_text_takes_long() -> None:
    """What took a time that grows with the square of its length would take hours."""
    began = time.process_time()
    for part in HOSTILE:
        text = part * (100_000 // len(part))
        cleaning.clean([text])
        cleaning.read([text, f"a{text}", f"<a{text}", f"received: @{text}"])
    assert time.process_time() - began < 60
