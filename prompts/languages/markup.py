"""What stands in texts and is of no language: addresses, mentions, tags, code, blobs, mail headers.

Every expression is linear in the text: what could give back is possessive (a group of several
ways atomic: before 3.11.5 Python matched such groups wrongly), and what is looked for in a word is
looked for once, from its start. Each runs alone, and only where one of its signs is:
that is several times quicker than all of them as one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_WORD = 40
"""A run of so many printable ASCII characters may be a blob; words of languages are shorter."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of markup; one of `signs`, in lower case, is in whatever `pattern` finds."""

    signs: tuple[str, ...]
    pattern: re.Pattern[str]


def _kind(signs: Sequence[str], one: str) -> _Kind:
    """Find one of a kind, and all that follow it: one replacement costs less than many."""
    return _Kind(tuple(signs), re.compile(rf"{one}(?>(?:\s*+{one})*)"))


_TOP_DOMAINS = ("com", "org", "net", "gov", "edu", "io")
_TOP = rf"(?i:{'|'.join(_TOP_DOMAINS)})(?![A-Za-z0-9])"
_CODE = r"(?:_|::|->|=|\(\))"
_START = r"(?<![!-~])"  # of a run of printable ASCII
_TAG = (
    r"<(?:!--(?>(?:[^-]++|-(?!->))*)(?:-->|\Z)|!\[CDATA\["
    r"|(?i:script|style)\b[^<>]*+>(?>(?:[^<]++|<(?!/(?i:script|style)\b))*)"
    r"|/?[A-Za-z!?][^<>\n]*+>"
    r"|[A-Za-z][\w:.-]*+\s++[\w:@.-]++\s*+=[^<>]*+>)"  # one of several lines
)

# In the order in which they are taken away. Addresses, mentions and code are runs of ASCII, since
# Thai or Chinese may follow without a space; a hashtag in other letters is a word.
_KINDS = (
    _kind(["`"], r"`(?:``(?>(?:[^`]++|`(?!``))*)(?:```|\Z)|[^`\n]*+`)"),
    _kind(["<"], _TAG),
    _kind(
        ["://", "www."],
        r"[HhFfWw](?:(?<=[Hh])(?i:ttps?://)|(?<=[Ff])(?i:tp://)|(?<=[Ww])(?i:ww\.))[!-~]++",
    ),
    _kind(["://"], rf"{_START}[A-Za-z][A-Za-z0-9+.-]*+://[!-~]++"),
    _kind(["@"], rf"{_START}[!-?A-~]++@[!-\-/-~]*+\.[!-~]++"),
    _kind(
        [f".{domain}" for domain in _TOP_DOMAINS],
        rf"{_START}(?>(?:[!-\-/-~]++|\.(?!{_TOP}))+)\.{_TOP}[!-~]*+",
    ),
    _kind(
        ["_", "::", "->", "=", "()", "{", "}"],
        rf"{_START}(?>(?:[!-/:-@[-`|~]++|[A-Za-z0-9]++(?!{_CODE}))*)"
        rf"(?:[A-Za-z0-9]++{_CODE}|[{{}}])[!-~]*+",
    ),
    _kind(["@", "#"], r"[@#](?<![\w.+-].)[A-Za-z0-9_.]++(?!\w)"),
)
# Mail headers are only looked for where there is an address and one of these. A subject is in the
# text's language.
_OF_MAIL = ("message-id:", "mime-version:", "content-type:", "received:")
_HEADERS = re.compile(
    r"^(?i:received|return-path|delivered-to|message-id|in-reply-to|references|mime-version|date"
    r"|from|to|cc|bcc|sender|reply-to|user-agent|(?:x|dkim|arc|list|authentication|content)-[\w-]++)"
    r":[^\n]*+(?>(?:\n[ \t][^\n]*+)*)",
    re.MULTILINE,
)
# Base64 (its last line, too) and digests, web tokens, data in addresses: they have no sign but
# their length.
_BLOBS = (
    re.compile(rf"data:[a-z]++/[!-~]{{{LONGEST_WORD},}}"),
    re.compile(
        rf"""{_START}(?:
            (?=[A-Za-z+/]*+[0-9])[A-Za-z0-9+/]{{{LONGEST_WORD},}}+={{0,2}}
                (?>(?:\r?\n(?=[A-Za-z]*+[0-9+/=])[A-Za-z0-9+/]++={{0,2}}(?=\s|\Z))*)
            |(?=[!-~]{{{LONGEST_WORD}}})eyJ[A-Za-z0-9_-]++\.[A-Za-z0-9_.-]++
        )""",
        re.VERBOSE,
    ),
)
_CUT_TAG = re.compile(r"<[A-Za-z!?/][^<>]*+\Z")
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_ENTITIES = 1000  # as many as there are letters read: each takes a call
_FREQUENT = (("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&"))

# What may_hold_markup looks for, as bytes: they are quickest to search.
_SIGNS = [
    sign.encode()
    for sign in dict.fromkeys(("&", *(sign for kind in _KINDS for sign in kind.signs)))
    if sign.removeprefix(".") not in _TOP_DOMAINS
]
_DOMAINS = re.compile(rf"\.(?:{'|'.join(_TOP_DOMAINS)})".encode())


def may_hold_markup(ascii: bytes) -> bool:
    """Whether a lower-case text may have entities or markup; others in it are any byte from 127.

    Markup that has no sign but its length is not looked for: see LONGEST_WORD.
    """
    return any(sign in ascii for sign in _SIGNS) or _DOMAINS.search(ascii) is not None


def without_markup(text: str, *, cut: bool) -> str:
    """Return the text with a blank for all that is of no language.

    Args:
        text: as it came, or the beginning of a longer one.
        cut: it is a beginning, so that a tag at its end may be open.
    """
    if cut:
        text = _CUT_TAG.sub(" ", text)
    lowered = text.lower()
    if "@" in lowered and any(name in lowered for name in _OF_MAIL):
        text = _HEADERS.sub(" ", text)
    for kind in _KINDS:
        if any(sign in lowered for sign in kind.signs):
            text = kind.pattern.sub(" ", text)
    for blob in _BLOBS:
        text = blob.sub(" ", text)
    return text


def unescape(text: str) -> str:
    """Return the text with the characters that entities such as `&eacute;` stand for."""
    if "&" not in text:
        return text
    for entity, character in _FREQUENT:
        text = text.replace(entity, character)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text, count=_ENTITIES)
