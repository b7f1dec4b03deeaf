"""`python -m isogloss.training.selection.simulation`: are the rule's probabilities right?

Draws worlds of every kind on the 52 languages' own tree and lets the rule choose routes in each.
Writes what it stated beside what is true (calibration.csv) and what simpler rules gain (rules.csv),
anew after each world of every kind.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from isogloss.prompts.console.console import say
from isogloss.prompts.files.tables import record_bytes
from isogloss.prompts.languages.sib200 import PAPER_52
from isogloss.training.data.clades import lineages_of
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.selection.simulation.judging import (
    Claim,
    Outcome,
    calibration,
    gains_rows,
    judge,
)
from isogloss.training.selection.simulation.report import calibration_table, rules_table
from isogloss.training.selection.simulation.worlds import KINDS, Kind, world


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m isogloss.training.selection.simulation", description=__doc__
    )
    options.add_argument("--out", type=Path, required=True, help="folder for the two tables")
    options.add_argument("--worlds", type=int, default=40, help="of each kind")
    options.add_argument("--first-seed", type=int, default=1000, help="seed of the first world")
    options.add_argument("--processes", type=int, default=1)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, judge and write."""
    given = parser().parse_args(arguments)
    out = writable_folder(given.out)
    claims: list[Claim] = []
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(given.processes) as pool:
        for seed in range(given.first_seed, given.first_seed + given.worlds):
            for more_claims, more_outcomes in pool.map(_judge, KINDS, [seed] * len(KINDS)):
                claims += more_claims
                outcomes += more_outcomes
            write_atomically(out / "calibration.csv", record_bytes(calibration(claims), ".4f"))
            write_atomically(out / "rules.csv", record_bytes(gains_rows(outcomes), ".3f"))
            say(f"worlds {seed}: {len(claims)} routes so far", err=True)
    for name, table in (("calibration", calibration_table), ("rules", rules_table)):
        with (out / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            say(f"{table(list(csv.DictReader(file)))}\n")
    say(f"tables: {out}")


def _judge(kind: Kind, seed: int) -> tuple[list[Claim], list[Outcome]]:
    drawn = world(seed, kind, tree=lineages_of(PAPER_52))
    return judge(drawn, kind.name)


if __name__ == "__main__":
    main()
