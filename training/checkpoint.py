"""The state of an unfinished run: `<name>.state.safetensors`, replaced after every epoch.

Tensors are tensors and all else is one JSON document in the file's metadata; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from prompts.errors import InvalidInput
from training.files import write_atomically
from training.loop import Best, Checkpoint, EpochRecord

_REMEDY = "delete it, or train without --resume"


def save_checkpoint(path: Path, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    """Replace the state file by this checkpoint, with the settings it belongs to."""
    best = checkpoint.best
    tensors: dict[str, Tensor] = {"best.vectors": best.vectors}
    tensors |= {f"best.weights.{i}": value for i, value in enumerate(best.weights)}
    tensors |= {f"parameters.{i}": value for i, value in enumerate(checkpoint.parameters)}
    tensors |= {f"optimizer.{name}": value for name, value in checkpoint.optimizer.items()}
    state = {
        "settings": dict(settings),
        "history": [asdict(record) for record in checkpoint.history],
        "best": asdict(best.record),
    }
    held = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    write_atomically(path, safetensors.torch.save(held, {"state": json.dumps(state)}))


def load_checkpoint(path: Path, settings: Mapping[str, Any]) -> Checkpoint | None:
    """Read a state file; None where there is none.

    Raises:
        InvalidInput: the file is damaged, or was written with other settings (named).
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checkpoint = _parse(state, tensors)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: not a training state ({error}); {_REMEDY}") from error
    _check_same(path, state["settings"], settings)
    return checkpoint


def _parse(state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    prefix = "optimizer."
    return Checkpoint(
        history=tuple(EpochRecord(**record) for record in state["history"]),
        parameters=_numbered(tensors, "parameters"),
        optimizer={
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        },
        best=Best(
            EpochRecord(**state["best"]),
            tensors["best.vectors"],
            _numbered(tensors, "best.weights"),
        ),
    )


def _numbered(tensors: Mapping[str, Tensor], group: str) -> tuple[Tensor, ...]:
    count = sum(name.startswith(f"{group}.") for name in tensors)
    return tuple(tensors[f"{group}.{i}"] for i in range(count))


def _check_same(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            raise InvalidInput(
                f"{path}: written with {name} = {then.get(name)!r}, now {now.get(name)!r}; "
                f"{_REMEDY}"
            )
