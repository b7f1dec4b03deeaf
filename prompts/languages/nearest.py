"""Which languages someone may have meant who named none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from isogloss.prompts.console.refusals import spelled_like
from isogloss.prompts.languages.names import LONGEST_NAME, folded

MOST = 3

_CODE = 3  # characters of what is likelier a code than a name


class Named(Protocol):
    """An entry of the language table."""

    @property
    def code(self) -> str:
        """As in the table."""
        ...

    @property
    def name(self) -> str:
        """In English."""
        ...


def nearest(asked: str, same: Iterable[Named], spellings: Mapping[str, Named]) -> Sequence[Named]:
    """Return up to three languages, the nearest first; none for what is no word of ours.

    Args:
        asked: what was written.
        same: languages that a part of it names.
        spellings: folded names and codes of the table's languages.
    """
    if len(asked) > LONGEST_NAME:
        return ()
    plain = folded(asked)
    if not (meant := [*same, *_by_words(plain.split(), spellings)]):
        code = asked.casefold().strip()
        wanted = code if len(code) <= _CODE or "_" in code else plain
        meant = [spellings[each] for each in spelled_like(wanted, spellings, cutoff=0.5)]
    return list({entry.code: entry for entry in meant}.values())[:MOST]


def hint(close: Sequence[Named], remedy: str) -> str:
    """Say what may have been meant, else what to do."""
    named = [f"{entry.code} ({entry.name})" for entry in close]
    listed = " or ".join(filter(None, (", ".join(named[:-1]), *named[-1:])))
    return f"did you mean {listed}?" if named else remedy


def _by_words(words: Sequence[str], spellings: Mapping[str, Named]) -> list[Named]:
    """Return languages that a word of several names: Croatian, of "Croatian dialect"."""
    return [spellings[word] for word in words if len(word) > 3 and word in spellings]
