"""A model's own tokenizer, used bare: safe to share between threads.

Special tokens are a model's own signs: a text that spells one is text. A tokenizer looks for them
in a text unless it is told not to, and where their names are in its model's vocabulary as well
(SentencePiece lists them with the best score of all) it finds them all the same.

Tokenizing costs by the character, and normalising writes some characters out: U+FDFA becomes 18. Of
a text too long to be read whole a beginning is read that is bounded in both.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.special_tokens import Names, strip, with_own_names

# Characters read for each token wanted: first so many, and more of a text that yields too little.
_CHARACTERS = (6, 24, 96)
# Tokens more than wanted that a beginning must yield: those beside the cut may be others' pieces.
_MARGIN = 64
_WORD = "a"  # something that words may follow
_PROBE = "a 0 .\u3002\u044f"  # some of it is in every vocabulary
_UNKNOWN = "\U0010fffd"  # a character that nobody has a use for
_LONGEST = 18  # characters that NFKC makes of one
_ROOM = 2  # how much longer a beginning may become when it is written out
_ROLES = ("bos", "eos", "unk", "pad", "sep", "cls", "mask")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids of one text, cut at the limit."""

    ids: tuple[int, ...]
    truncated: bool


class Tokenizer:
    """Takes over a transformers tokenizer: one text has one reading, whatever its files say.

    Truncation and padding, which a `tokenizer.json` carries along, are switched off, as is a BPE's
    dropout, which is chance. A special token that a text spells is text: it becomes characters.

    Raises:
        InvalidInput: the tokenizer changes a text's own tokens when it frames it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.wrapped = tokenizer
        tokenizer.split_special_tokens = True  # a call of its own would switch the search on again
        self._fast = getattr(tokenizer, "backend_tokenizer", None)
        self._names: Names = {} if self._fast is None else strip(self._fast)
        self._before, self._behind = self._frame()

    def encode(
        self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
    ) -> list[TokenizedText]:
        """Token ids as the model expects them (XGLM: `</s>` first), at most `max_tokens` each.

        Of a long text only a beginning is tokenized. Its ids are those of the whole text, but where
        a word (or whatever this tokenizer looks at as one) of more than 64 tokens lies across the
        cut, or the first 96 characters for each token wanted do not yield `max_tokens`: then the
        text ends there, and is `truncated`.

        With something `around` each text, before and behind it, ids are those of all three written
        in one. Of what is too long the text is cut, and what stands behind it is kept.
        """
        room = max(0, max_tokens - len(self._before) - len(self._behind))
        kept = self._kept(around[1])
        pieces, read = self._read(texts, room, around, len(kept))
        return [
            TokenizedText(
                (self._before + _cut(ids, room, kept) + self._behind)[:max_tokens],
                len(ids) > room or len(piece) < len(text),
            )
            for text, piece, ids in zip(texts, pieces, read, strict=True)
        ]

    @property
    def start(self) -> tuple[int, ...]:
        """Tokens that the model expects before every text (XGLM: `</s>`)."""
        return self._before

    def words(self, text: str) -> list[int]:
        """A short text's own tokens: nothing is put before or behind them."""
        return self._ids([text], special=False)[0]

    def first_token(self, word: str, *, spaced: bool = True) -> tuple[int, str] | None:
        """Id and surface of the token that a word begins with behind a space, or of it alone.

        None where there is none: no tokens, or the unknown token.
        """
        token = next(self._beginnings(word) if spaced else self._unspaced(word), None)
        if token is None or token == self.wrapped.unk_token_id:
            return None
        return token, self.wrapped.convert_ids_to_tokens(token)

    def _beginnings(self, word: str) -> Iterator[int]:
        """What the word may begin with, the likeliest first: never a bare space.

        Behind nothing some tokenizers put a second space before the first (Llama's first ones), and
        in some vocabularies the space is a token of its own before many words.
        """
        alone, before = self.words(f" {word}"), self.words("a")
        yield from (token for token in alone[:1] if not self._is_blank(token))
        behind = self.words(f"a {word}")
        if behind[: len(before)] == before:
            yield from (token for token in behind[len(before) :] if not self._is_blank(token))

    def _unspaced(self, word: str) -> Iterator[int]:
        """What the word begins with where a template's end has the space already."""
        yield from (token for token in self.words(word)[:1] if not self._is_blank(token))

    def _is_blank(self, token: int) -> bool:
        return not self.wrapped.decode([token]).strip()

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        given = set(self._names.values())
        return {t: number for t, number in self.wrapped.get_vocab().items() if t not in given}

    def save(self, folder: Path) -> None:
        """Write its files in the hub's layout, bare as it is."""
        self.wrapped.save_pretrained(folder)
        file = folder / "tokenizer.json"
        if self._names:
            text = with_own_names(file.read_text(encoding="utf-8"), self._names)
            file.write_text(text, encoding="utf-8")

    def document(self) -> str | None:
        """What its tokenizer.json says, bare as it is; None: it is of Python code."""
        return None if self._fast is None else with_own_names(self._fast.to_str(), self._names)

    @property
    def roles(self) -> dict[str, int | None]:
        """Ids of the special tokens that have a role, such as `unk`."""
        return {role: getattr(self.wrapped, f"{role}_token_id", None) for role in _ROLES}

    def tokens_in_use(self) -> dict[str, int]:
        """Token -> id, of those that a text can become, that frame it, or that have a role."""
        used = {*self.roles.values(), *self._before, *self._behind, *self.words(_UNKNOWN)}
        idle = self._special() - used
        return {token: number for token, number in self.vocabulary().items() if number not in idle}

    def _special(self) -> set[int]:
        if self._fast is None:
            return set(self.wrapped.all_special_ids)
        added = self._fast.get_added_tokens_decoder()
        return {number for number, token in added.items() if token.special}

    def _kept(self, behind: str) -> tuple[int, ...]:
        """Tokens of what stands behind a text that is cut: as behind a word, where they are apart.

        At the start of a text a tokenizer may put a space before them, which is not there.
        """
        if not behind:
            return ()
        alone, both = self._ids([_WORD, _WORD + behind], special=False)
        apart = both[: len(alone)] == alone
        return tuple(both[len(alone) :] if apart else self.words(behind))

    def _read(
        self, texts: Sequence[str], room: int, around: tuple[str, str], kept: int
    ) -> tuple[list[str], list[list[int]]]:
        """Of each text a beginning that yields `room` tokens, if the text does; and its ids.

        The ids are of the beginning with these `around` it, the last of which are `kept` tokens.
        """
        wanted = room + kept + _MARGIN
        pieces = [beginning(text, _CHARACTERS[0] * wanted) for text in texts]
        read = self._ids(_between(pieces, around), special=False)
        for share in _CHARACTERS[1:]:
            left = [index for index, ids in enumerate(read) if len(ids) < wanted]
            left = [index for index in left if len(pieces[index]) < len(texts[index])]
            if not left:
                break
            longer = [beginning(texts[index], share * wanted) for index in left]
            ids_of_longer = self._ids(_between(longer, around), special=False)
            for index, piece, ids in zip(left, longer, ids_of_longer, strict=True):
                pieces[index], read[index] = piece, ids
        return pieces, read

    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the model expects before and behind a text's own tokens."""
        alone, whole = (self._ids([_PROBE], special)[0] for special in (False, True))
        for start in range(len(whole) - len(alone) + 1):
            if whole[start : start + len(alone)] == alone:
                return tuple(whole[:start]), tuple(whole[start + len(alone) :])
        raise InvalidInput("the tokenizer's post-processor changes a text's own tokens; remove it")

    def _ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        if self._fast is not None:
            encodings = self._fast.encode_batch_fast(list(texts), add_special_tokens=special)
            return [encoding.ids for encoding in encodings]
        encoded = self.wrapped(
            list(texts),
            add_special_tokens=special,
            split_special_tokens=True,
            truncation=False,
            padding=False,
            verbose=False,
        )
        return [list(ids) for ids in encoded["input_ids"]]


def _between(texts: Sequence[str], around: tuple[str, str]) -> Sequence[str]:
    before, behind = around
    return [f"{before}{text}{behind}" for text in texts] if before or behind else texts


def _cut(ids: Sequence[int], room: int, kept: tuple[int, ...]) -> tuple[int, ...]:
    """At most `room` of them; where that is not all, the last are those that are kept."""
    return tuple(ids) if len(ids) <= room else (*ids[: max(0, room - len(kept))], *kept)[:room]


def beginning(text: str, characters: int) -> str:
    """The first `characters` of a text; fewer where normalising would more than double them.

    What is short enough whatever it holds is not looked at, and ordinary text is normal already.
    """
    piece = text[:characters]
    limit = _ROOM * characters
    if len(piece) * _LONGEST <= limit or piece.isascii():
        return piece
    if unicodedata.is_normalized("NFKC", piece):
        return piece
    ends = list(accumulate(map(_written_out, piece)))
    return piece[: bisect_right(ends, limit)]


@lru_cache(maxsize=1 << 16)
def _written_out(character: str) -> int:
    return len(unicodedata.normalize("NFKC", character))
