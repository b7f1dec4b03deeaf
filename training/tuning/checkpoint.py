"""The state of an unfinished training: one `<name>.state.safetensors`, replaced as it goes on.

Tensors are tensors and all else is one JSON document in the file's metadata; nothing is pickled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.training.files import write_atomically
from isogloss.training.tuning.config import written_settings
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptState

_REMEDY = "delete it, or train without --resume"
_WRITING_SHARE = 0.05  # of the time goes into writing states at most, after the first


class StateFile:
    """States of prompts that train together.

    Args:
        path: of the file.
        settings: of each prompt; a state is of use with the same ones only.
    """

    def __init__(self, path: Path, settings: Sequence[Mapping[str, Any]]) -> None:
        self.path = path
        self._settings = [dict(named) for named in settings]
        self._next_s = 0.0

    def keep(self, states: Sequence[PromptState]) -> None:
        """Save them, the first at once and later ones not too often."""
        began = time.monotonic()
        if began < self._next_s:
            return
        self.save(states)
        now = time.monotonic()
        self._next_s = now + (now - began) / _WRITING_SHARE

    def save(self, states: Sequence[PromptState]) -> None:
        """Replace the file by these states.

        Raises:
            InvalidInput: it cannot be written.
        """
        tensors = {
            f"{i}.{name}": value.detach().cpu().clone().contiguous()
            for i, state in enumerate(states)
            for name, value in state.tensors.items()
        }
        documents = [
            {
                "settings": settings,
                "steps": state.steps,
                "loss_sum": state.loss_sum,
                "history": [asdict(record) for record in state.history],
                "best": asdict(state.best) if state.best else None,
                "failure": state.failure,
            }
            for state, settings in zip(states, self._settings, strict=True)
        ]
        # "members" is the name that files of before have.
        data = safetensors.torch.save(tensors, {"members": json.dumps(documents)})
        write_atomically(self.path, data)

    def load(self) -> list[PromptState] | None:
        """Read it; None where there is none.

        Raises:
            InvalidInput: the file is damaged, or was written with other settings (named).
        """
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                documents = json.loads(file.metadata()["members"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            settings = [document.pop("settings") for document in documents]
            states = [_state(document, f"{i}.", tensors) for i, document in enumerate(documents)]
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{self.path}: not a training state ({error}); {_REMEDY}") from error
        self._check_same(settings)
        return states

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)

    def _check_same(self, then: Sequence[Mapping[str, Any]]) -> None:
        now = self._settings
        if len(then) != len(now):
            raise InvalidInput(
                f"{self.path}: a state of {len(then)} prompts, now {len(now)}; {_REMEDY}"
            )
        for old, new in zip(map(written_settings, then), map(written_settings, now), strict=True):
            for name in sorted({*old, *new}):
                if old.get(name) != new.get(name):
                    raise InvalidInput(
                        f"{self.path}: written with {name} = {old.get(name)!r}, now "
                        f"{new.get(name)!r}; {_REMEDY}"
                    )


def _state(document: dict[str, Any], prefix: str, tensors: Mapping[str, Tensor]) -> PromptState:
    best = document.pop("best")
    return PromptState(
        **{**document, "history": tuple(EpochRecord(**r) for r in document["history"])},
        best=EpochRecord(**best) if best else None,
        tensors={k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)},
    )
