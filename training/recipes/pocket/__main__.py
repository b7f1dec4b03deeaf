"""`python -m isogloss.training.recipes.pocket`: the pocket models, from text to folder."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from rich.console import Console
from tokenizers import Tokenizer

from isogloss.training.recipes.pocket.arrays import kept
from isogloss.training.recipes.pocket.card import write_card
from isogloss.training.recipes.pocket.checkpoint import Progressed
from isogloss.training.recipes.pocket.corpus import Corpus, build_corpus
from isogloss.training.recipes.pocket.data import Meaning, read_meanings
from isogloss.training.recipes.pocket.embedding import Vectors, embed_tokens
from isogloss.training.recipes.pocket.model import Pretraining, new_model
from isogloss.training.recipes.pocket.pretrain import pretrain
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.semantics import Semantics, build_semantics
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
KEPT = ("tokenizer.json", "corpus.safetensors", "vectors.safetensors", "semantics.safetensors")


def main() -> None:
    """Reads the command line and trains one model or both."""
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.pocket", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="sib200, ntrex, tatoeba, wordnet")
    parser.add_argument("--out", type=Path, required=True, help="a folder per model goes here")
    parser.add_argument("--work", type=Path, default=Path("build/pocket"), help="checkpoints, logs")
    parser.add_argument("--model", choices=NAMES, action="append", help="default: both")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="of training, per model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--threads", type=int, help="of the processor; default: all cores")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if not options.resume:
        # What an earlier run kept may come from other data, so only a resumed run trusts it.
        for kept_name in KEPT:
            (options.work / kept_name).unlink(missing_ok=True)
        shutil.rmtree(options.work / "taught", ignore_errors=True)
    for name in options.model or NAMES:
        recipe = Recipe(name=name, steps=options.steps, seed=options.seed)
        train_pocket_model(
            recipe,
            options.data,
            options.out,
            options.work,
            torch.device(options.device),
            teacher=cache(e5_small),
            resume=options.resume,
        )


def train_pocket_model(
    recipe: Recipe,
    data: Path,
    out: Path,
    work: Path,
    device: torch.device,
    *,
    teacher: Callable[[], Teacher],
    resume: bool,
) -> None:
    """Everything for one model; what both need is kept in `work` for the next."""
    console = Console(stderr=True)
    with console.status("reading the text"):
        meanings = read_meanings(data)
    with console.status("learning the tokenizer"):
        tokenizer = _tokenizer(meanings, recipe, work)
    chosen = choose_meanings(meanings, recipe)
    taught = teach(chosen, teacher, work / "taught")
    with console.status("tokenizing"):
        corpus = kept(work / "corpus.safetensors", Corpus, lambda: build_corpus(tokenizer, chosen))
    with console.status("placing the tokens where the teacher puts their texts"):
        vectors = kept(
            work / "vectors.safetensors",
            Vectors,
            lambda: embed_tokens(corpus, taught, by_source(chosen), recipe.hidden, recipe.seed),
        )
    with console.status("clustering meanings"):
        semantics = kept(
            work / "semantics.safetensors",
            Semantics,
            lambda: build_semantics(
                corpus, tokenizer, vectors, teacher, recipe.pseudo_tasks, recipe.seed
            ),
        )
    start = [tokenizer.get_vocab()[EOS]] if recipe.model_type == "xglm" else []
    sampler = Sampler(corpus, semantics, tokenizer, start)
    pretraining = Pretraining(new_model(recipe, vectors.tokens), sampler.free_vectors)
    done = pretrain(recipe, pretraining, sampler, work / recipe.name, device, resume=resume)
    _save(recipe, pretraining, tokenizer, done, out / recipe.name, device)
    console.print(f"{out / recipe.name}: {json.dumps(asdict(done))}")


def _tokenizer(meanings: Sequence[Meaning], recipe: Recipe, work: Path) -> Tokenizer:
    work.mkdir(parents=True, exist_ok=True)
    path = work / "tokenizer.json"
    if not path.is_file():
        learn_tokenizer(meanings, recipe.vocabulary).save(str(path))
    return Tokenizer.from_file(str(path))


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
