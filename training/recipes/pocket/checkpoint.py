"""Training state on disk: tensors in safetensors, numbers in JSON, nothing pickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


@dataclass
class Progressed:
    """How far training has come; with the seed, it says which data comes next."""

    chunk: int = 0
    step: int = 0
    minutes: float = 0.0
    loss: float = 0.0


def save_checkpoint(
    work: Path, module: nn.Module, optimizer: torch.optim.Optimizer, done: Progressed
) -> None:
    """Writes both files aside, then moves them in: a checkpoint is whole or not there."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        tensors[f"weight/{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = value.detach()
    work.mkdir(parents=True, exist_ok=True)
    aside = work / "checkpoint.part"
    save_file(tensors, aside, metadata={"progress": json.dumps(asdict(done))})
    aside.replace(work / "checkpoint.safetensors")


def load_checkpoint(
    work: Path, module: nn.Module, optimizer: torch.optim.Optimizer | None
) -> Progressed:
    """Puts the saved state back, in place; without a checkpoint, starts from nothing."""
    path = work / "checkpoint.safetensors"
    if not path.is_file():
        return Progressed()
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(tensors[f"weight/{name}"])
            if optimizer is None:
                continue
            saved = {
                key.split("/", 1)[0]: t for key, t in tensors.items() if key.endswith(f"/{name}")
            }
            del saved["weight"]
            for key, value in saved.items():
                # The step count stays where the optimizer made it; moments live with the weights.
                optimizer.state[parameter][key] = value.to(parameter.device)
    return Progressed(**json.loads(_metadata(path)["progress"]))


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())
