"""A model's own tokenizer, without its state: safe to share between threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids of one text, cut at the limit."""

    ids: tuple[int, ...]
    truncated: bool


class Tokenizer:
    """Wraps a transformers tokenizer. Truncates by itself: theirs keeps truncation as state."""

    def __init__(self, tokenizer: Any) -> None:
        self.wrapped = tokenizer
        self._fast = getattr(tokenizer, "backend_tokenizer", None)

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[TokenizedText]:
        """Token ids as the model expects them (XGLM: `</s>` first), at most `max_tokens` each."""
        return [
            TokenizedText(tuple(ids[:max_tokens]), len(ids) > max_tokens)
            for ids in self._ids(texts, special=True)
        ]

    def first_token(self, word: str) -> tuple[int, str] | None:
        """Id and surface of the first token of " " + word.

        None where there is none: no tokens, the unknown token, or a bare space.
        """
        ids = self._ids([f" {word}"], special=False)[0]
        if not ids or ids[0] == self.wrapped.unk_token_id:
            return None
        spoken = self.wrapped.decode([ids[0]])
        surface = self.wrapped.convert_ids_to_tokens(ids[0])
        return (ids[0], surface) if spoken.strip() else None

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return dict(self.wrapped.get_vocab())

    def _ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        if self._fast is not None:
            encodings = self._fast.encode_batch_fast(list(texts), add_special_tokens=special)
            return [encoding.ids for encoding in encodings]
        encoded = self.wrapped(list(texts), add_special_tokens=special, verbose=False)
        return [list(ids) for ids in encoded["input_ids"]]
