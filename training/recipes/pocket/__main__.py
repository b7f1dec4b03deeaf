"""`python -m isogloss.training.recipes.pocket`: the pocket models, from text to folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from tokenizers import Tokenizer

from isogloss.training.recipes.pocket.card import write_card
from isogloss.training.recipes.pocket.corpus import build_corpus
from isogloss.training.recipes.pocket.data import read_meanings
from isogloss.training.recipes.pocket.embedding import embed_tokens
from isogloss.training.recipes.pocket.model import Pretraining, new_model
from isogloss.training.recipes.pocket.pretrain import Progressed, pretrain
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.semantics import build_semantics
from isogloss.training.recipes.pocket.targets import Sampler
from isogloss.training.recipes.pocket.teacher import (
    Teacher,
    by_source,
    choose_meanings,
    e5_small,
    teach,
)
from isogloss.training.recipes.pocket.tokenizer import EOS, learn_tokenizer, save_tokenizer

NAMES = ("pocket-bloom", "pocket-xglm")


def main() -> None:
    """Reads the command line and trains one model or both."""
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.pocket", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="sib200, ntrex, tatoeba, wordnet")
    parser.add_argument("--out", type=Path, required=True, help="a folder per model goes here")
    parser.add_argument("--model", choices=NAMES, action="append", help="default: both")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="of training, per model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    for name in options.model or NAMES:
        recipe = Recipe(name=name, steps=options.steps, seed=options.seed)
        train_pocket_model(
            recipe, options.data, options.out, torch.device(options.device), teacher=e5_small
        )


def train_pocket_model(
    recipe: Recipe, data: Path, out: Path, device: torch.device, *, teacher: Callable[[], Teacher]
) -> None:
    """Everything for one model."""
    console = Console(stderr=True)
    with console.status("reading the text, learning the tokenizer"):
        meanings = read_meanings(data)
        tokenizer = learn_tokenizer(meanings, recipe.vocabulary)
    chosen, read = choose_meanings(meanings, recipe), teacher()
    taught = teach(chosen, read)
    with console.status("tokenizing, placing the tokens where the teacher puts their texts"):
        corpus = build_corpus(tokenizer, chosen)
        vectors = embed_tokens(corpus, taught, by_source(chosen), recipe.hidden, recipe.seed)
    with console.status("clustering meanings"):
        semantics = build_semantics(
            corpus, tokenizer, vectors, read, recipe.pseudo_tasks, recipe.seed
        )
    start = [tokenizer.get_vocab()[EOS]] if recipe.model_type == "xglm" else []
    sampler = Sampler(corpus, semantics, tokenizer, start)
    pretraining = Pretraining(new_model(recipe, vectors.tokens), sampler.free_vectors)
    done = pretrain(recipe, pretraining, sampler, device)
    _save(recipe, pretraining, tokenizer, done, out / recipe.name, device)
    console.print(f"{out / recipe.name}: {json.dumps(asdict(done))}")


def _save(
    recipe: Recipe,
    pretraining: Pretraining,
    tokenizer: Tokenizer,
    done: Progressed,
    folder: Path,
    device: torch.device,
) -> None:
    """Write the model, its tokenizer and its card."""
    pretraining.to("cpu").half()
    pretraining.model.save_pretrained(folder)
    save_tokenizer(tokenizer, recipe.model_type, folder)
    parameters = sum(parameter.numel() for parameter in pretraining.model.parameters())
    write_card(folder, recipe, done, parameters, _hardware(device))


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} thread(s) of a CPU"


if __name__ == "__main__":
    main()
