"""The state of an unfinished population: one `<name>.state.safetensors`, replaced as it trains.

Tensors are tensors and all else is one JSON document in the file's metadata; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.training.files import write_atomically
from isogloss.training.tuning.member import Best, EpochRecord, MemberState

_REMEDY = "delete it, or train without --resume"
Settings = Mapping[str, Any]


def save_states(path: Path, states: Sequence[MemberState], settings: Sequence[Settings]) -> None:
    """Replace the file by these states, with the settings that each belongs to."""
    tensors: dict[str, Tensor] = {}
    for place, state in enumerate(states):
        tensors |= {f"{place}.{name}": value for name, value in _tensors(state).items()}
    document = [
        {
            "settings": dict(own),
            "steps": state.steps,
            "loss_sum": state.loss_sum,
            "history": [asdict(record) for record in state.history],
            "best": asdict(state.best.record) if state.best else None,
            "failure": state.failure,
        }
        for state, own in zip(states, settings, strict=True)
    ]
    held = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    write_atomically(path, safetensors.torch.save(held, {"members": json.dumps(document)}))


def load_states(path: Path, settings: Sequence[Settings]) -> list[MemberState] | None:
    """Read a state file; None where there is none.

    Raises:
        InvalidInput: the file is damaged, or was written with other settings (named).
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            document = json.loads(file.metadata()["members"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        states = [_parse(own, _under(tensors, f"{i}.")) for i, own in enumerate(document)]
        then = [own["settings"] for own in document]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: not a training state ({error}); {_REMEDY}") from error
    _check_same(path, then, settings)
    return states


def _tensors(state: MemberState) -> dict[str, Tensor]:
    named = {f"parameters.{i}": value for i, value in enumerate(state.parameters)}
    named |= {f"optimizer.{name}": value for name, value in state.optimizer.items()}
    if state.best is not None:
        named["best.vectors"] = state.best.vectors
        named |= {f"best.weights.{i}": value for i, value in enumerate(state.best.weights)}
    return named


def _parse(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MemberState:
    best = None
    if document["best"] is not None:
        record = EpochRecord(**document["best"])
        best = Best(record, tensors["best.vectors"], _numbered(tensors, "best.weights."))
    return MemberState(
        steps=document["steps"],
        loss_sum=document["loss_sum"],
        history=tuple(EpochRecord(**record) for record in document["history"]),
        parameters=_numbered(tensors, "parameters."),
        optimizer=_under(tensors, "optimizer."),
        best=best,
        failure=document["failure"],
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _numbered(tensors: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, ...]:
    own = _under(tensors, prefix)
    return tuple(own[str(i)] for i in range(len(own)))


def _check_same(path: Path, then: Sequence[Settings], now: Sequence[Settings]) -> None:
    if len(then) != len(now):
        raise InvalidInput(f"{path}: a state of {len(then)} prompts, now {len(now)}; {_REMEDY}")
    for old, new in zip(then, now, strict=True):
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                raise InvalidInput(
                    f"{path}: written with {name} = {old.get(name)!r}, now {new.get(name)!r}; "
                    f"{_REMEDY}"
                )
