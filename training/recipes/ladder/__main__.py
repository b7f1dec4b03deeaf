"""`python -m isogloss.training.recipes.ladder`: when does tailoring pay, and which rung ships?

Reads finished runs of `isogloss tailor` over the ladder, lets test read what they left out, and
writes tables, three figures and the page's parts. `--rule` prints which rung ships instead, from
dev alone, without looking at test.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from isogloss.prompts.console.console import reporting_errors, say
from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.recipes.ladder.comparisons import Measured, choose_all
from isogloss.training.recipes.ladder.figures import save_figures
from isogloss.training.recipes.ladder.page import read_rows, refreshed
from isogloss.training.recipes.ladder.rule import explained
from isogloss.training.recipes.ladder.rungs import EVEN_TODAY, Rung, read_rung
from isogloss.training.recipes.ladder.served_dev import dev_rung
from isogloss.training.recipes.ladder.tables import write_tables
from isogloss.training.recipes.ladder.unread import needed, read_on_test


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.ladder", description=__doc__
    )
    options.add_argument("--runs", type=Path, nargs="+", required=True, help="OUT of each run")
    options.add_argument("--out", type=Path, default=Path("training/results/ladder"))
    options.add_argument("--data", default="../shared/data/sib200")
    options.add_argument("--page", type=Path, help="put the tables into this page")
    options.add_argument("--rule", action="store_true", help="print what ships, from dev alone")
    options.add_argument(
        "--read",
        choices=("chosen", "all", "none"),
        default="chosen",
        help="candidates that test reads if it has not: those some way chose, all (for clades' "
        "own prompts, lengths and kinds), or none (runs that lack a chosen one are left out)",
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    given = parser().parse_args(arguments)
    rungs = _finished(given.runs)
    if given.rule:
        _print_rule(rungs)
        return
    measured = [found for rung in rungs if (found := _measured(rung, given.data, given.read))]
    if not any(each.rung.seeded for each in measured):
        raise InvalidInput(
            "--runs: no rung of the ladder (pocket-ARCHITECTURE-alphaA-seedS) is finished and read "
            "on test; wait for one, or leave out --read none"
        )
    out = writable_folder(given.out)
    write_tables(measured, out)
    save_figures(read_rows(out / "gains.csv"), read_rows(out / "languages.csv"), out)
    if given.page is not None:
        page = refreshed(given.page.read_text(encoding="utf-8"), out)
        write_atomically(given.page, page.encode())


def _measured(rung: Rung, data: str, read: str) -> Measured | None:
    say(f"{rung.name}: chooses on dev by every way, measures on test", err=True)
    chosen = choose_all(rung)
    left = needed(rung, None if read == "all" else chosen.values())
    if left and read == "none":
        say(f"{rung.name}: left out, test has not read {', '.join(left)}", err=True)
        return None
    read_on_test(rung, left, data)
    return Measured(rung, chosen, rung.evidence(rung.test()))


def _finished(folders: Sequence[Path]) -> list[Rung]:
    """Runs that are there; those that are not are named."""
    rungs = []
    for folder in folders:
        try:
            rungs.append(read_rung(folder))
        except NotFound as error:
            say(str(error), err=True)
    return sorted(rungs, key=lambda rung: (rung.architecture, rung.alpha, rung.which))


def _print_rule(rungs: Sequence[Rung]) -> None:
    for architecture in sorted({rung.architecture for rung in rungs}):
        own = [rung for rung in rungs if rung.architecture == architecture]
        even = [rung for rung in own if rung.which == EVEN_TODAY]
        if not even:
            raise InvalidInput(f"--runs: today's even model of {architecture} is not among them")
        for title, group in (
            (architecture, [rung for rung in own if rung.seeded]),
            (f"{architecture}, more steps", [rung for rung in own if rung.which == "ship"]),
        ):
            alphas = sorted({rung.alpha for rung in group})
            told = [dev_rung([r for r in group if r.alpha == a], even[0]) for a in alphas]
            if told:
                say(explained(title, told) + "\n")


if __name__ == "__main__":
    with reporting_errors():
        main()
