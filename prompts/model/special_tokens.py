"""A tokenizer that never makes a special token of characters that a text spells."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

Names = Mapping[str, str]
"""What special tokens are called instead, by their own names."""


def strip(backend: Any) -> Names:
    """Switch off what a `tokenizers.Tokenizer` was saved with; return what was renamed for it."""
    backend.no_truncation()
    backend.no_padding()
    if getattr(backend.model, "dropout", None) is not None:
        backend.model.dropout = None
    return _ignore_special_tokens(backend)


def _ignore_special_tokens(backend: Any) -> Names:
    """Have a `tokenizers.Tokenizer` never make a special token of characters; ids stay.

    Where telling it not to look is not enough, its model calls them by names that nobody can type,
    for nobody knows them.

    Returns:
        Those names, by the tokens' own; `with_own_names` takes them out of a file.
    """
    backend.encode_special_tokens = True
    special = {i: t.content for i, t in backend.get_added_tokens_decoder().items() if t.special}
    if not any(_is_spelt(backend.model, name, token) for token, name in special.items()):
        return {}
    names = {name: f"\uffff{secrets.token_hex(16)}" for name in special.values()}
    backend.model = _renamed(backend, names)
    return names


def with_own_names(document: str, names: Names) -> str:
    """A tokenizer.json whose special tokens have their own names again."""
    if not names:
        return document
    loaded = json.loads(document)
    _rename(loaded["model"], {given: name for name, given in names.items()})
    return json.dumps(loaded, ensure_ascii=False)


def _is_spelt(model: Any, name: str, token: int) -> bool:
    """Whether the model's own vocabulary has this token, and makes it of its name.

    Merges and scores within a name are the same wherever it stands: what it does not make of the
    name alone it makes of no text.
    """
    listed = model.token_to_id(name) == token
    return listed and any(piece.id == token for piece in model.tokenize(name))


def _renamed(backend: Any, names: Names) -> Any:
    document = json.loads(backend.to_str())["model"]
    _rename(document, names)
    if "merges" in document:
        prefix = document.get("continuing_subword_prefix") or ""
        document["merges"] = [m for m in document["merges"] if not _touches(m, prefix, names)]
    alone = {"version": "1.0", "added_tokens": [], "model": document}
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    text = json.dumps(dict.fromkeys(parts) | alone, ensure_ascii=False)
    return type(backend).from_str(text).model


def _rename(model: dict[str, Any], names: Names) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(token, token): number for token, number in vocabulary.items()}
    else:  # Unigram: pieces with scores, in the order of their ids
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])


def _touches(merge: str | list[str], prefix: str, names: Names) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return not names.keys().isdisjoint({left, right, left + right.removeprefix(prefix)})
