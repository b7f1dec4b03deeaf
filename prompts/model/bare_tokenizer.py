"""A tokenizer that is read without transformers, where everything that it knows is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class BareTokenizer:
    """What `Tokenizer` asks of transformers' wrapper, answered by a `tokenizers.Tokenizer` alone.

    Args:
        backend: the `tokenizers.Tokenizer`.
        roles: ids of its special tokens, as in `Tokenizer.roles`.
        beside: texts of the files that stand beside a saved tokenizer.json, by name.
    """

    def __init__(
        self, backend: Any, roles: Mapping[str, int | None], beside: Mapping[str, str]
    ) -> None:
        self.backend_tokenizer = backend
        self.split_special_tokens = True
        self._beside = beside
        for role, token in roles.items():
            setattr(self, f"{role}_token_id", token)

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """How a token is written in the vocabulary."""
        found: str | None = self.backend_tokenizer.id_to_token(token)
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        text: str = self.backend_tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        vocabulary: dict[str, int] = self.backend_tokenizer.get_vocab(with_added_tokens=True)
        return vocabulary

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that transformers' wrapper would."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self._beside.items():
            (folder / name).write_text(text, encoding="utf-8")
        self.backend_tokenizer.save(str(folder / "tokenizer.json"))
