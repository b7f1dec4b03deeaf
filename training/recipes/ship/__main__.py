"""`python -m isogloss.training.recipes.ship`: the pocket models' prompts and routes, resumable.

Two models on two cores finish soonest side by side: start the command once for each with
`OMP_NUM_THREADS=1` and `--models`, then once more for both, which only puts them together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from isogloss.prompts.console.console import reporting_errors
from isogloss.prompts.store.store import PromptStore
from isogloss.training.recipes.ship.plan import ALSO_SHIPPED, Plan, Step, short_name
from isogloss.training.recipes.ship.settings import SHIPPED, Settings
from isogloss.training.recipes.ship.steps import (
    Finished,
    best_first,
    run_steps,
    short_names,
    summaries,
)

MODELS = ("pocket-bloom", "pocket-xglm")
_ROOT = Path(__file__).resolve().parents[3]


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.ship", description=__doc__
    )
    options.add_argument("--data", type=Path, required=True, help="SIB-200: <code>/{train,...}.tsv")
    options.add_argument(
        "--parallel", type=Path, nargs="*", default=[], help="more parallel text, such as NTREX-128"
    )
    options.add_argument("--work", type=Path, default=Path("out/ship"), help="steps, kept")
    options.add_argument("--models", nargs="+", default=list(MODELS), help="(default: both)")
    options.add_argument("--plan", action="store_true", help="print the commands and run nothing")
    options.add_argument("--shipped", type=Path, default=_ROOT / "prompts" / "shipped")
    options.add_argument(
        "--results", type=Path, default=_ROOT / "training" / "results" / "routes", help="tables"
    )
    return options


def main(arguments: Sequence[str] | None = None, settings: Settings = SHIPPED) -> None:
    """Run everything, or what is left of it."""
    given = parser().parse_args(arguments)
    plans = [Plan(m, given.data, tuple(given.parallel), settings) for m in given.models]
    with reporting_errors():
        if given.plan:
            for plan in plans:
                print(*(f"# {step.name}\n{step}" for step in plan.steps()), sep="\n")
            return
        _make(plans, given.work, given.shipped, given.results)


def _make(plans: Sequence[Plan], work: Path, shipped: Path, results: Path) -> None:
    from isogloss.training.recipes.ship.store import chosen, ship

    models = []
    for plan in plans:
        name = Path(plan.model).name
        finished = _run(plan, work / name, results / name)
        store = PromptStore.open(finished["routes"].folder / "store")
        models.append(chosen(store, _also_shipped(plan, finished)))
    state = ship(models, shipped, f"made by {parser().prog}")
    _say(f"==> {shipped}: {len(state.prompts)} prompts, routes for {len(state.routes)} models")


def _run(plan: Plan, work: Path, results: Path) -> dict[str, Finished]:
    """Every step of one model, and its tables."""
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.training.recipes.ship.results import write_results

    steps: tuple[Step, ...] = plan.steps()
    fingerprint = Backbone.load(plan.model, device="cpu").fingerprint
    finished = run_steps(steps, work, fingerprint, _command(), _say)
    (table,) = PromptStore.open(finished["routes"].folder / "store").state().routes
    write_results(steps, finished, table, results)
    _say(f"==> {results}: tables")
    return finished


def _also_shipped(plan: Plan, finished: dict[str, Finished]) -> dict[str, Path]:
    """Short names, such as bloom-english-8-plain, and the files that ship under them."""
    grids = {grid: finished[grid].folder for grid in ALSO_SHIPPED if grid in finished}
    ranked = best_first(summaries(finished["dev-sources"].folder))
    return {
        f"{short_name(plan.model)}-{short}": grids[short.rpartition("-")[0]] / f"{name}.safetensors"
        for short, name in short_names(ranked, grids).items()
    }


def _command() -> Callable[[Sequence[str]], None]:
    """What runs `isogloss` commands, in this process: libraries are imported once."""
    from isogloss.prompts.cli import commands as of_prompts
    from isogloss.training.cli import commands

    app = typer.Typer()
    commands.register(app)
    of_prompts.register(app)
    click: Any = typer.main.get_command(app)

    def run(words: Sequence[str]) -> None:
        try:
            click.main(args=list(words), prog_name="isogloss")
        except SystemExit as ended:
            if ended.code:
                raise

    return run


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
