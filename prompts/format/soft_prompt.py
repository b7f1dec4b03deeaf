"""A soft prompt and its file.

One safetensors file: tensor `prompt`, (length, hidden) float32, and one JSON document, the card,
in the metadata under `card`. A prompt with a head of its own has a tensor `label_rows`, (labels,
hidden), that stands where others have their labels' rows of the model's head. Training state may
travel in the same file as `state.*` tensors; it is checked, kept apart, and no part of the prompt's
digest. Nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import safetensors.numpy

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.files import durable
from isogloss.prompts.format.card import ModelRef, PromptCard, read_card
from isogloss.prompts.format.prompt_tensors import (
    LABEL_ROWS,
    SERVED,
    STATE_SHAPES,
    check_rows,
    check_state,
    check_tensors,
    check_vectors,
)
from isogloss.prompts.format.safetensors_header import Array, read_arrays, read_file, read_header

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LABEL_ROWS",
    "STATE_SHAPES",
    "ModelRef",
    "PromptCard",
    "RunsPrompts",
    "SoftPrompt",
    "digest_of",
]


class RunsPrompts(Protocol):
    """What a prompt must know of the backbone that is to run it."""

    @property
    def model_id(self) -> str:
        """What the user called the model."""

    @property
    def fingerprint(self) -> str:
        """Hash of the model's weights and tokenizer."""

    @property
    def hidden_size(self) -> int:
        """Numbers per vector."""

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary."""

    @property
    def max_prompt_length(self) -> int:
        """Vectors of the longest prompt that leaves room for a text."""


@dataclass(frozen=True, eq=False, init=False)
class SoftPrompt:
    """A trained prompt: its card, its vectors (length, hidden) and, perhaps, training state.

    The numbers are copied: training on cannot change a prompt that was made of them. They are kept
    as NumPy arrays, so that clients of a store need no PyTorch; a model takes `vectors`.

    Raises:
        InvalidPrompt: the vectors have the wrong dtype or shape, or are not all finite.
    """

    card: PromptCard
    arrays: Mapping[str, Array]
    """The file's tensors, float32: `prompt` (length, hidden), `label_rows` (labels, hidden) where
    the head is the prompt's own, and those of STATE_SHAPES."""

    def __init__(
        self,
        card: PromptCard,
        vectors: Tensor | Array,
        state: Mapping[str, Tensor | Array] = MappingProxyType({}),
        label_rows: Tensor | Array | None = None,
    ) -> None:
        rows = {} if label_rows is None else {LABEL_ROWS: label_rows}
        given = {"prompt": vectors, **rows, **state}
        arrays = {name: _own_copy(name, each) for name, each in given.items()}
        object.__setattr__(self, "card", card)
        object.__setattr__(self, "arrays", arrays)
        check_vectors(arrays["prompt"])
        check_rows(arrays.get(LABEL_ROWS), card, self.hidden_size)
        check_state(self._state_arrays(), self.length, self.hidden_size)

    @property
    def length(self) -> int:
        """Number of vectors."""
        return len(self.arrays["prompt"])

    @property
    def hidden_size(self) -> int:
        """Numbers per vector."""
        return len(self.arrays["prompt"][0])

    @functools.cached_property
    def vectors(self) -> Tensor:
        """The prompt for a model: (length, hidden) float32, on the CPU."""
        return _tensor(self.arrays["prompt"])

    @functools.cached_property
    def label_rows(self) -> Tensor | None:
        """Its own labels' rows: (labels, hidden) float32, on the CPU; None: the model's head has
        them.
        """
        return _tensor(self.arrays[LABEL_ROWS]) if LABEL_ROWS in self.arrays else None

    @functools.cached_property
    def state(self) -> Mapping[str, Tensor]:
        """Training state for a trainer, by the names and of the shapes of STATE_SHAPES."""
        return {name: _tensor(array) for name, array in self._state_arrays().items()}

    def _state_arrays(self) -> dict[str, Array]:
        return {name: array for name, array in self.arrays.items() if name not in SERVED}

    @functools.cached_property
    def digest(self) -> str:
        """Return "sha256:<hex>" of `to_bytes()`: the identity of what is served."""
        return digest_of(self.to_bytes())

    def to_bytes(self, *, with_state: bool = False) -> bytes:
        """Return the prompt file; equal prompts give equal bytes."""
        arrays = {n: each for n, each in self.arrays.items() if with_state or n in SERVED}
        # One metadata key: the library keeps metadata in a hash map and writes it in any order.
        return safetensors.numpy.save(arrays, {"card": self.card.to_json()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a prompt file.

        Raises:
            InvalidPrompt: the file is truncated or oversized; the card is missing, invalid or of an
                unknown format version; a tensor is missing, unknown, of the wrong dtype or shape,
                or holds NaN or Inf. The message says which.
        """
        header = read_header(data)
        card = read_card(header.metadata)
        check_tensors(header.tensors)
        arrays = read_arrays(data)
        vectors, rows = arrays.pop("prompt"), arrays.pop(LABEL_ROWS, None)
        return cls(card=card, vectors=vectors, state=arrays, label_rows=rows)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a prompt file from disk.

        Raises:
            NotFound: there is no such file.
            InvalidPrompt: as `from_bytes`; the message names the path.
        """
        with naming(path):
            return cls.from_bytes(read_file(path))

    def save(self, path: Path) -> None:
        """Write the prompt, with its training state, so that `path` is whole or untouched.

        Raises:
            OSError: the file cannot be written.
        """
        durable.write_atomically(path, self.to_bytes(with_state=True))

    def check_fits(self, backbone: RunsPrompts) -> None:
        """Require that this prompt was made for this backbone.

        Raises:
            InvalidPrompt: another fingerprint (both are named), another hidden size, a prompt too
                long for the model's positions, or a label token beyond its vocabulary.
        """
        if self.card.model.fingerprint != backbone.fingerprint:
            raise InvalidPrompt(
                f"the prompt was trained for {self.card.model.id} ({self.card.model.fingerprint}), "
                f"not for {backbone.model_id} ({backbone.fingerprint}); train it for this model"
            )
        if self.hidden_size != backbone.hidden_size:
            raise InvalidPrompt(
                f"the prompt's vectors have {self.hidden_size} numbers, {backbone.model_id} has "
                f"hidden size {backbone.hidden_size}"
            )
        if self.length > backbone.max_prompt_length:
            raise InvalidPrompt(
                f"the prompt has length {self.length}, {backbone.model_id} takes at most "
                f"{backbone.max_prompt_length}"
            )
        for label in self.card.labels if self.card.head == "model" else ():
            if label.token_id >= backbone.vocab_size:
                raise InvalidPrompt(
                    f"label {label.label!r} has token id {label.token_id}, the vocabulary of "
                    f"{backbone.model_id} ends at {backbone.vocab_size - 1}"
                )

    def check_served(self) -> None:
        """Require that this prompt reads texts as a server puts them: as its model expects them.

        Raises:
            InvalidPrompt: it was trained without what the model expects before a text.
        """
        if self.card.text_start == "none":
            raise InvalidPrompt(
                "the prompt was trained with --text-start none, and every text served begins as "
                "the model expects, so its answers would be others than those evaluated; train it "
                "with --text-start model"
            )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have what is refused of a file say which file it is."""
    try:
        yield
    except InvalidPrompt as error:
        message = str(error)
        raise InvalidPrompt(message if str(path) in message else f"{path}: {message}") from None


def digest_of(data: bytes) -> str:
    """Return "sha256:<hex>" of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _own_copy(name: str, numbers: Tensor | Array) -> Array:
    if str(numbers.dtype).removeprefix("torch.") != "float32":
        raise InvalidPrompt(f"tensor {name!r} has dtype {numbers.dtype}, it must be torch.float32")
    array = numbers if isinstance(numbers, np.ndarray) else numbers.detach().cpu().numpy()
    return np.array(array, order="C")


def _tensor(array: Array) -> Tensor:
    """The same memory as a tensor."""
    import torch

    return torch.from_numpy(array)
