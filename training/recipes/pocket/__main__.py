"""`python -m isogloss.training.recipes.pocket`: the pocket models, from text to folder."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from isogloss.prompts.console.console import reporting_errors
from isogloss.training.recipes.pocket.job import read, train_pocket_model
from isogloss.training.recipes.pocket.recipe import ARCHITECTURES, Recipe
from isogloss.training.recipes.pocket.teacher import e5_small

NAMES = tuple(f"pocket-{each}" for each in ARCHITECTURES)
SHIPPED = NAMES[:2]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and trains one model or more."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if not options.resume:
        # What an earlier run kept may come from other data, so only a resumed run trusts it.
        shutil.rmtree(options.work / "taught", ignore_errors=True)
    with reporting_errors():
        for name in options.model or SHIPPED:
            recipe = Recipe(name + options.suffix, options.steps, options.seed, options.alpha)
            if options.teach:
                read(recipe, options.data, options.work, e5_small)
                return  # all models are taught the same
            train_pocket_model(
                recipe,
                options.data,
                options.out,
                options.work,
                torch.device(options.device),
                teacher=cache(e5_small),
                resume=options.resume,
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.pocket", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="sib200, ntrex, tatoeba, wordnet")
    parser.add_argument("--out", type=Path, required=True, help="a folder per model goes here")
    parser.add_argument("--work", type=Path, default=Path("build/pocket"), help="checkpoints, logs")
    parser.add_argument(
        "--model", choices=NAMES, action="append", help="default: the two that ship"
    )
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="of training, per model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--alpha", type=float, default=Recipe.alpha, help="how far the diet follows the real one"
    )
    parser.add_argument("--suffix", default="", help="of the folders' names, where there are more")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--teach", action="store_true", help="let the teacher read, and train nothing yet"
    )
    parser.add_argument("--threads", type=int, help="of the processor; default: all cores")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


if __name__ == "__main__":
    main()
