"""Special tokens are a model's own signs: a text that spells one is text.

A tokenizer looks for them in a text unless it is told not to, and where their names are in its
model's vocabulary as well (SentencePiece lists them with the best score of all) it finds them all
the same.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Names = Mapping[str, str]


def ignore_special_tokens(backend: Any) -> Names:
    """Have a `tokenizers.Tokenizer` never make a special token of characters; ids stay.

    Where telling it not to look is not enough, its model calls them by names that nobody can type,
    for nobody knows them.

    Returns:
        Those names, by the tokens' own; `restore_names` takes them out of a file.
    """
    backend.encode_special_tokens = True
    special = {i: t.content for i, t in backend.get_added_tokens_decoder().items() if t.special}
    if not any(_is_spelt(backend.model, name, token) for token, name in special.items()):
        return {}
    names = {name: f"\uffff{secrets.token_hex(16)}" for name in special.values()}
    backend.model = _renamed(backend, names)
    return names


def restore_names(file: Path, names: Names) -> None:
    """Give the special tokens of a saved tokenizer.json their own names again."""
    if names:
        document = json.loads(file.read_text(encoding="utf-8"))
        _rename(document["model"], {given: own for own, given in names.items()})
        file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _is_spelt(model: Any, name: str, token: int) -> bool:
    """Whether the model's own vocabulary has this token, and makes it of its name.

    Merges and scores within a name are the same wherever it stands: what it does not make of the
    name alone it makes of no text.
    """
    own = model.token_to_id(name) == token
    return own and any(found.id == token for found in model.tokenize(name))


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
        model["vocab"] = {names.get(token, token): place for token, place in vocabulary.items()}
    else:  # Unigram: pieces with scores, in the order of their ids
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])


def _touches(merge: str | list[str], prefix: str, names: Names) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return not names.keys().isdisjoint({left, right, left + right.removeprefix(prefix)})
