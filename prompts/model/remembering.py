"""From a model that was loaded in full to what is remembered of it, and back.

Remembered is only what would be the same: every tensor of transformers' state dict must be in a
safetensors file of the folder, bit for bit, and the tokenizer must say the same without
transformers. Weights in `.bin` are therefore read in full each time, as are tokenizers of Python
code. Tensors are copied out of the mapped files: a file that is overwritten in place must not
change a running model, and matrix products of memory that is not aligned are not the same to the
last bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from isogloss.prompts.model import memo as memos
from isogloss.prompts.model.bare_tokenizer import BareTokenizer
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.prompts.model.decoder.folding import Folding
from isogloss.prompts.model.fingerprint import PROBES
from isogloss.prompts.model.memo import TABLES, TOKENIZER, Memo, Stored
from isogloss.prompts.model.memo_key import MemoKey
from isogloss.prompts.model.parts import Parts
from isogloss.prompts.model.tokenizer import Tokenizer

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SINUSOIDS = "sinusoids"
_FILE = "tokenizer.json"


def rebuilt(memo: Memo) -> Parts:
    """The parts of a remembered model, of its files.

    Raises:
        Exception: of any kind where a file is not what the memo says.
    """
    folder = Path(memo.key.folder)
    folding = Folding(ARCHITECTURES[memo.architecture], memo.sizes, memo.turned, memo.step)
    tables = load(data) if (data := memos.read_beside(memo, TABLES)) else {}
    sinusoids = tables.pop(_SINUSOIDS, None)
    rotations = tuple(tables[str(index)] for index in range(len(tables)))
    state = _read(folder, memo.tensors)
    return Parts(
        weights=folding.read(state, rotations=rotations, sinusoids=sinusoids),
        folding=folding,
        fingerprint=memo.fingerprint,
        architecture=memo.architecture,
        max_positions=memo.max_positions,
        config=memo.config,
        tokenizer=_tokenizer(memo, folder),
        revision=memo.revision,
    )


def remember(key: MemoKey, parts: Parts, state: Mapping[str, Tensor]) -> None:
    """Keep what a full load found out, where the next load would find the same without it.

    Args:
        key: of its folder, as it was before and after it was read.
        parts: what was made of it.
        state: the state dict that they were made of.
    """
    places = _places(state, Path(key.folder))
    read = None if parts.tokenizer is None else _remembered(parts.tokenizer, Path(key.folder))
    if places is None or read is None or parts.tokenizer is None:
        return
    side_files, copy = read
    memo = Memo(
        key=key,
        architecture=parts.architecture,
        revision=parts.revision,
        fingerprint=parts.fingerprint,
        max_positions=parts.max_positions,
        sizes=parts.folding.sizes,
        turned=parts.folding.turned,
        step=parts.folding.step,
        tensors=places,
        config=dict(parts.config),
        roles=parts.tokenizer.roles,
        beside_tokenizer=side_files,
    )
    memos.write(memo, _tables(parts) | copy)


def _tables(parts: Parts) -> dict[str, bytes]:
    """The file of what was computed of the configuration, where there is anything."""
    tables = {str(index): table for index, table in enumerate(parts.weights.rotations)}
    if parts.weights.sinusoids is not None:
        tables[_SINUSOIDS] = parts.weights.sinusoids
    return {TABLES: save({name: t.contiguous() for name, t in tables.items()})} if tables else {}


def _read(folder: Path, tensors: Mapping[str, Stored]) -> dict[str, Tensor]:
    """A state dict, read file by file."""
    state: dict[str, Tensor] = {}
    for file in sorted({each.file for each in tensors.values()}):
        with safe_open(folder / file, framework="pt") as opened:
            for name, stored in tensors.items():
                if stored.file == file:
                    dtype = getattr(torch, stored.dtype)
                    state[name] = opened.get_tensor(stored.name).to(dtype, copy=True)
    return state


def _places(state: Mapping[str, Tensor], folder: Path) -> dict[str, Stored] | None:
    """Where each tensor is stored, bit for bit as it was loaded; None: one is not."""
    found: dict[str, Stored] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as opened:
            kept = list(opened.keys())
            for name in [name for name in state if name not in found]:
                tensor = state[name]
                for there in _spellings(name, kept):
                    if _same_bits(opened.get_tensor(there).to(tensor.dtype), tensor):
                        dtype = str(tensor.dtype).removeprefix("torch.")
                        found[name] = Stored(path.name, there, dtype)
                        break
    return found if found.keys() == state.keys() else None


def _spellings(name: str, kept: list[str]) -> Iterator[str]:
    """Names that a checkpoint may have for a tensor: with less before it, or with more."""
    for there in kept:
        if name == there or name.endswith(f".{there}") or there.endswith(f".{name}"):
            yield there


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether they are the same, signs of zeros included."""
    bits = _BITS[other.itemsize]
    return one.shape == other.shape and torch.equal(
        one.contiguous().view(bits), other.contiguous().view(bits)
    )


def _tokenizer(memo: Memo, folder: Path) -> Tokenizer:
    copy = memos.read_beside(memo, TOKENIZER)
    text = copy if copy is not None else (folder / _FILE).read_bytes()
    return _bare(text, memo.roles, memo.beside_tokenizer)


def _bare(
    document: bytes, roles: Mapping[str, int | None], side_files: Mapping[str, str]
) -> Tokenizer:
    from tokenizers import Tokenizer as Backend

    return Tokenizer(BareTokenizer(Backend.from_str(document.decode()), roles, side_files))


def _remembered(
    tokenizer: Tokenizer, folder: Path
) -> tuple[dict[str, str], dict[str, bytes]] | None:
    """Texts beside a tokenizer.json, and a copy of it where the folder's own says something else.

    None: it is of Python code, or reads otherwise without transformers.
    """
    document, side_files = tokenizer.document(), _side_files(tokenizer)
    if document is None or side_files is None:
        return None
    own = (folder / _FILE).read_bytes() if (folder / _FILE).is_file() else None
    for text, copy in ((own, {}), (document.encode(), {TOKENIZER: document.encode()})):
        if text is not None and _says_the_same(_bare(text, tokenizer.roles, side_files), tokenizer):
            return side_files, copy
    return None


def _says_the_same(one: Tokenizer, other: Tokenizer) -> bool:
    """Whether two tokenizers are written alike, and read the fingerprint's texts alike."""

    def said(tokenizer: Tokenizer) -> list[Any]:
        read = [text.ids for text in tokenizer.encode(PROBES, 1000)]
        return [read, tokenizer.start, tokenizer.document(), tokenizer.vocabulary()]

    return said(one) == said(other)


def _side_files(tokenizer: Tokenizer) -> dict[str, str] | None:
    """Texts of what a saved tokenizer has beside its tokenizer.json; None: not all are texts."""
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        tokenizer.save(Path(folder))
        try:
            return {
                path.name: path.read_text(encoding="utf-8")
                for path in sorted(Path(folder).iterdir())
                if path.name != _FILE
            }
        except (OSError, UnicodeDecodeError):  # a folder, or a vocabulary in another format
            return None
