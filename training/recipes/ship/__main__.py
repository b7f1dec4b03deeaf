"""`python -m isogloss.training.recipes.ship`: the pocket models' prompts and routes.

For each model what `isogloss tailor` makes with its defaults; resumable as that is. Two models on
two cores finish soonest side by side: start the command once for each with `OMP_NUM_THREADS=1` and
`--models`, then once more for both, which only puts them together.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from isogloss.prompts.console.console import reporting_errors, say
from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.store import PromptStore
from isogloss.training.cli.in_process import in_process
from isogloss.training.cli.tailor import tailor
from isogloss.training.evaluation.candidates import prompt_files
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.recipes.ship.store import Chosen, ship
from isogloss.training.tailor.job import chosen
from isogloss.training.tailor.plan import DEV, FEW, ROUTES, WHOLE, short_name
from isogloss.training.tailor.steps import best_first, summaries

MODELS = ("pocket-bloom", "pocket-xglm")
_ROOT = Path(__file__).resolve().parents[3]
_SHOWN = (".csv", ".svg", ".png", ".json")


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.ship", description=__doc__
    )
    options.add_argument("--data", required=True, help="SIB-200: <code>/{train,dev,test}.tsv")
    options.add_argument(
        "--parallel", nargs="*", default=[], help="more parallel text, such as NTREX-128"
    )
    options.add_argument("--work", type=Path, default=Path("out/ship"), help="a folder a model")
    options.add_argument("--models", nargs="+", default=list(MODELS), help="(default: both)")
    options.add_argument("--languages", default="all", help="as of `isogloss tailor`")
    options.add_argument("--shipped", type=Path, default=_ROOT / "prompts" / "shipped")
    options.add_argument(
        "--results", type=Path, default=_ROOT / "training" / "results" / "routes", help="tables"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything, or what is left of it."""
    given = parser().parse_args(arguments)
    with reporting_errors():
        models = []
        for model in given.models:
            name = Path(model).name
            made = given.work / name
            parallel = ["--parallel", *given.parallel] if given.parallel else []
            asked = ["--model", model, "--data", given.data, *parallel]
            options = ["--languages", given.languages, "--out", str(made), "--dry-run"]
            in_process(given.work / f"{name}.log", tailor)(["tailor", *asked, *options])
            _keep_tables(made, given.results / name)
            models.append(_chosen(made, short_name(model)))
        state = ship(models, given.shipped, f"made by {parser().prog}")
        say(f"{given.shipped}: {len(state.prompts)} prompts, routes for {len(state.routes)} models")


def _keep_tables(out: Path, results: Path) -> None:
    writable_folder(results)
    for old in results.iterdir():
        old.unlink()
    for path in sorted(out.iterdir()):
        if path.suffix in _SHOWN:
            write_atomically(results / path.name, path.read_bytes())


def _chosen(out: Path, short: str) -> Chosen:
    """The routes and their prompts, and the best of the paper's own settings under short names."""
    steps = json.loads((out / "plan.json").read_bytes())["steps"]
    folders = {step["name"]: out / step["folder"] for step in steps}
    table, prompts = chosen(PromptStore.open(folders[ROUTES] / "store"))
    return Chosen(table, {**prompts, **_short(folders, short)})


def _short(folders: Mapping[str, Path], short: str) -> dict[str, SoftPrompt]:
    """The best on dev of the first language's prompts, plain and reparameterized."""
    named: dict[str, SoftPrompt] = {}
    ranked = best_first(summaries(folders[DEV]))
    for step in (FEW, WHOLE):
        files = prompt_files(folders[step]) if step in folders else {}
        for prompt in (load_prompt(files[name]) for name in ranked if name in files):
            if isinstance(prompt, SoftPrompt):
                named.setdefault(f"{short}-{step}-{prompt.card.kind}", prompt)
    return named


if __name__ == "__main__":
    main()
