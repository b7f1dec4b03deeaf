"""A model's own tokenizer, used bare: safe to share between threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.beginnings import beginning
from isogloss.prompts.model.special_tokens import Names, ignore_special_tokens, restore_names

# Characters read for each token wanted: first so many, and more of a text that yields too little.
_CHARACTERS = (6, 24, 96)
# Tokens more than wanted that a beginning must yield: those beside the cut may be others' pieces.
_MARGIN = 64
_PROBE = "a 0 .\u3002\u044f"  # some of it is in every vocabulary
_UNKNOWN = "\U0010fffd"  # a character that nobody has a use for
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
        self._names: Names = {} if self._fast is None else _strip(self._fast)
        self._before, self._behind = self._frame()

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[TokenizedText]:
        """Token ids as the model expects them (XGLM: `</s>` first), at most `max_tokens` each.

        Of a long text only a beginning is tokenized. Its ids are those of the whole text, but where
        a word (or whatever this tokenizer looks at as one) of more than 64 tokens lies across the
        cut, or the first 96 characters for each token wanted do not yield `max_tokens`: then the
        text ends there, and is `truncated`.
        """
        room = max(0, max_tokens - len(self._before) - len(self._behind))
        pieces, read = self._read(texts, room)
        return [
            TokenizedText(
                (self._before + tuple(ids[:room]) + self._behind)[:max_tokens],
                len(ids) > room or len(piece) < len(text),
            )
            for text, piece, ids in zip(texts, pieces, read, strict=True)
        ]

    def words(self, text: str) -> list[int]:
        """A short text's own tokens: nothing is put before or behind them."""
        return self._ids([text], special=False)[0]

    def first_token(self, word: str) -> tuple[int, str] | None:
        """Id and surface of the first token of " " + word.

        None where there is none: no tokens, the unknown token, or a bare space.
        """
        ids = self.words(f" {word}")
        if not ids or ids[0] == self.wrapped.unk_token_id:
            return None
        spoken = self.wrapped.decode([ids[0]])
        surface = self.wrapped.convert_ids_to_tokens(ids[0])
        return (ids[0], surface) if spoken.strip() else None

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        given = set(self._names.values())
        return {t: place for t, place in self.wrapped.get_vocab().items() if t not in given}

    def save(self, folder: Path) -> None:
        """Write its files in the hub's layout, bare as it is."""
        self.wrapped.save_pretrained(folder)
        restore_names(folder / "tokenizer.json", self._names)

    def tokens_in_use(self) -> dict[str, int]:
        """Token -> id, of those that a text can become, that frame it, or that have a role."""
        roles = {getattr(self.wrapped, f"{role}_token_id", None) for role in _ROLES}
        used = {*roles, *self._before, *self._behind, *self.words(_UNKNOWN)}
        idle = self._special() - used
        return {token: place for token, place in self.vocabulary().items() if place not in idle}

    def _special(self) -> set[int]:
        if self._fast is None:
            return set(self.wrapped.all_special_ids)
        added = self._fast.get_added_tokens_decoder()
        return {place for place, token in added.items() if token.special}

    def _read(self, texts: Sequence[str], room: int) -> tuple[list[str], list[list[int]]]:
        """Of each text a beginning that yields `room` tokens, if the text does; and its ids."""
        wanted = room + _MARGIN
        pieces = [beginning(text, _CHARACTERS[0] * wanted) for text in texts]
        read = self._ids(pieces, special=False)
        for share in _CHARACTERS[1:]:
            left = [place for place, ids in enumerate(read) if len(ids) < wanted]
            left = [place for place in left if len(pieces[place]) < len(texts[place])]
            if not left:
                break
            longer = [beginning(texts[place], share * wanted) for place in left]
            for place, piece, ids in zip(
                left, longer, self._ids(longer, special=False), strict=True
            ):
                pieces[place], read[place] = piece, ids
        return pieces, read

    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the model expects before and behind a text's own tokens."""
        own, whole = (self._ids([_PROBE], special)[0] for special in (False, True))
        for start in range(len(whole) - len(own) + 1):
            if whole[start : start + len(own)] == own:
                return tuple(whole[:start]), tuple(whole[start + len(own) :])
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


def _strip(backend: Any) -> Names:
    """Switch off what a `tokenizers.Tokenizer` was saved with; return what was renamed for it."""
    backend.no_truncation()
    backend.no_padding()
    if getattr(backend.model, "dropout", None) is not None:
        backend.model.dropout = None
    return ignore_special_tokens(backend)
