"""Special tokens are a model's own signs: a text that spells one is text.

A tokenizer looks for them in a text unless it is told not to, and where their names are in its
vocabulary as well (SentencePiece lists them with the best score of all) it finds them all the same.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any


def blind_to_special_tokens(backend: Any) -> Any:
    """A `tokenizers.Tokenizer` that never makes a special token of characters; ids stay.

    Returns the same one where telling it not to look is enough, else a copy.
    """
    special = {i: t.content for i, t in backend.get_added_tokens_decoder().items() if t.special}
    if any(_is_spelt(backend.model, name, token) for token, name in special.items()):
        backend = _renamed(backend, special.values())
    backend.encode_special_tokens = True
    return backend


def _is_spelt(model: Any, name: str, token: int) -> bool:
    """Whether the model makes this token of its name.

    Merges and scores within a name are the same wherever it stands: what it does not make of the
    name alone it makes of no text.
    """
    return any(found.id == token for found in model.tokenize(name))


def _renamed(backend: Any, names: Iterable[str]) -> Any:
    """A copy in which these tokens have names that nobody can type, for nobody knows them."""
    document = json.loads(backend.to_str())
    new = {name: f"\uffff{secrets.token_hex(16)}" for name in names}
    for token in document["added_tokens"]:
        token["content"] = new.get(token["content"], token["content"])
    _rename_in_model(document["model"], new)
    return type(backend).from_str(json.dumps(document, ensure_ascii=False))


def _rename_in_model(model: dict[str, Any], new: Mapping[str, str]) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {new.get(token, token): place for token, place in vocabulary.items()}
    else:  # Unigram: pieces with scores, in the order of their ids
        model["vocab"] = [[new.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") is not None:
        model["unk_token"] = new.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        prefix = model.get("continuing_subword_prefix") or ""
        model["merges"] = [own for own in model["merges"] if not _touches(own, prefix, new)]


def _touches(merge: str | list[str], prefix: str, names: Mapping[str, str]) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return not names.keys().isdisjoint({left, right, left + right.removeprefix(prefix)})
