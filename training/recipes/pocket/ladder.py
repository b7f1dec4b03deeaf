"""`python -m isogloss.training.recipes.pocket.ladder`: pocket models of many diets, side by side.

Every model is a process of its own with one thread, one for each core. A finished model is left as
it is, and a half-done one goes on from its last checkpoint, so that the command may be stopped in
any way and given again. Each takes up to 5 GB of memory while it trains. The teacher reads first,
on all cores, for all of them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.console.console import reporting_errors
from isogloss.prompts.errors import IsoglossError
from isogloss.training.recipes.pocket.__main__ import NAMES, SHIPPED
from isogloss.training.recipes.pocket.begun import refuse_another_recipe
from isogloss.training.recipes.pocket.folder import is_finished
from isogloss.training.recipes.pocket.processes import Child, run_side_by_side
from isogloss.training.recipes.pocket.recipe import Recipe

# The allocator maps large arrays anew and gives them back, so that each step's gradients (23 MB for
# the table alone) are pages that the system zeroes first. Kept in the heap, they are there already:
# 88 ms a step instead of 110. It reads these when a process starts, hence not in the child's code.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "100000000",
}
_CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Ladder:
    """What is trained: every model with every alpha from every seed."""

    data: Path
    out: Path
    work: Path
    models: Sequence[str]
    alphas: Sequence[float]
    seeds: Sequence[int]
    steps: int

    def rungs(self) -> list[tuple[str, Recipe]]:
        """Each model and its recipe; one seed is whole before the next begins."""
        rungs = itertools.product(self.seeds, self.alphas, self.models)
        return [
            (model, Recipe(f"{model}-alpha{alpha:g}-seed{seed}", self.steps, seed, alpha))
            for seed, alpha, model in rungs
        ]

    def left(self) -> list[Child]:
        """The processes that are to run: none for what is finished.

        Raises:
            InvalidInput: a model was begun with other steps.
        """
        for _, recipe in self.rungs():
            refuse_another_recipe(self.work / recipe.name, recipe)
        return [
            self._child(model, recipe)
            for model, recipe in self.rungs()
            if not is_finished(self.out / recipe.name)
        ]

    def _child(self, model: str, recipe: Recipe) -> Child:
        words = (
            *("--model", model, f"--suffix={recipe.name.removeprefix(model)}"),
            *("--alpha", str(recipe.alpha), "--seed", str(recipe.seed)),
            *("--steps", str(recipe.steps), "--threads", "1", "--device", "cpu"),
        )
        return Child(
            recipe.name,
            self._command(*words),
            _ALLOCATOR | {"OMP_NUM_THREADS": "1"},
            self.work / recipe.name,
            recipe.steps,
        )

    def teaching(self) -> Child:
        """What comes first: the teacher reads for all of them, on every core."""
        return Child(
            "the teacher",
            self._command("--teach"),
            {"OMP_NUM_THREADS": str(_CORES)},
            self.work / "taught",
            steps=0,
        )

    def _command(self, *words: str) -> tuple[str, ...]:
        program = (sys.executable, "-m", "isogloss.training.recipes.pocket", "--resume")
        folders = ("--data", self.data, "--out", self.out, "--work", self.work)
        return (*program, *map(str, folders), *words)


def climb(ladder: Ladder, workers: int) -> None:
    """Train what is left of a ladder.

    Raises:
        InvalidInput: a model was begun with other steps.
        IsoglossError: processes ended with an error; all others were let go on to their ends.
    """
    left = ladder.left()
    if left:
        _refuse(run_side_by_side([ladder.teaching()], 1))
    _refuse(run_side_by_side(left, workers))


def _refuse(failures: Sequence[str]) -> None:
    if failures:
        raise IsoglossError(f"{'; '.join(failures)}; give the command again to go on")


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and trains the ladder."""
    given = _parser().parse_args(arguments)
    # Ended from outside, as with Ctrl-C: its processes end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with reporting_errors():
        ladder = Ladder(
            *(given.data, given.out, given.work),
            *(given.model, given.alpha, given.seed, given.steps),
        )
        climb(ladder, given.workers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.pocket.ladder", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="sib200, ntrex, tatoeba, wordnet")
    parser.add_argument("--out", type=Path, required=True, help="a folder per model goes here")
    parser.add_argument("--work", type=Path, default=Path("build/ladder"), help="checkpoints, logs")
    parser.add_argument("--model", choices=NAMES, nargs="+", default=list(SHIPPED))
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.0, 0.08, 0.15, 0.25])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=4000, help="of training, per model")
    parser.add_argument("--workers", type=int, default=_CORES, help="models at a time")
    return parser


if __name__ == "__main__":
    main()
