"""A pocket model's folder: weights, tokenizer, shares of languages, and the card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from isogloss.training.recipes.pocket.card import write_card
from isogloss.training.recipes.pocket.checkpoint import Progressed
from isogloss.training.recipes.pocket.diet import HARDLY_KNOWN_BELOW, shares, told
from isogloss.training.recipes.pocket.model import Pretraining
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.tokenizer import save_tokenizer

_LAST_WRITTEN = "README.md"


def is_finished(folder: Path) -> bool:
    """Whether a model was written to its end."""
    return (folder / _LAST_WRITTEN).is_file()


def save_model(
    recipe: Recipe,
    pretraining: Pretraining,
    tokenizer: Tokenizer,
    done: Progressed,
    folder: Path,
    device: torch.device,
) -> None:
    """Write everything; a card's measures are kept if they are these weights'."""
    before = _digest(folder)
    pretraining.to("cpu").half()
    pretraining.model.save_pretrained(folder)
    save_tokenizer(tokenizer, recipe.model_type, folder)
    _write_shares(recipe, folder)
    parameters = sum(parameter.numel() for parameter in pretraining.model.parameters())
    same = before == _digest(folder)
    write_card(folder, recipe, done, parameters, _hardware(device), keep_measures=same)


def _write_shares(recipe: Recipe, folder: Path) -> None:
    """What a server says of a language that the model was hardly fed comes from here."""
    document = {
        "format": 1,
        "source": told(recipe),
        "shares": {code: round(share, 4) for code, share in shares(recipe).items()},
        "hardly_known_below": HARDLY_KNOWN_BELOW,
    }
    text = json.dumps(document, indent=2) + "\n"
    (folder / "pretraining.json").write_text(text, encoding="utf-8")


def _digest(folder: Path) -> str:
    path = folder / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} thread(s) of a CPU"
