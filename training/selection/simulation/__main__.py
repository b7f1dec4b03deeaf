"""`python -m isogloss.training.selection.simulation`: are the rule's probabilities right?

Draws worlds of every kind on the 52 languages' own tree and lets the rule choose routes in each.
Writes what it stated beside what is true (calibration.csv) and what simpler rules gain (rules.csv).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
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
    seeds = range(given.first_seed, given.first_seed + given.worlds)
    claims: list[Claim] = []
    outcomes: list[Outcome] = []
    for kind, more_claims, more_outcomes in _judged(seeds, given.processes):
        claims += more_claims
        outcomes += more_outcomes
        say(f"{kind}: {len(more_claims)} routes", err=True)
    write_atomically(out / "calibration.csv", record_bytes(calibration(claims), ".4f"))
    write_atomically(out / "rules.csv", record_bytes(gains_rows(outcomes), ".3f"))
    say(f"tables: {out}")


def _judged(
    seeds: Sequence[int], processes: int
) -> Iterator[tuple[str, list[Claim], list[Outcome]]]:
    """World by world, kind by kind, in order."""
    tasks = [(kind, seed) for kind in KINDS for seed in seeds]
    with ProcessPoolExecutor(processes) as pool:
        judged = pool.map(_judge, *zip(*tasks, strict=True))
        for (kind, _), (claims, outcomes) in zip(tasks, judged, strict=True):
            yield kind.name, claims, outcomes


def _judge(kind: Kind, seed: int) -> tuple[list[Claim], list[Outcome]]:
    drawn = world(seed, kind, tree=lineages_of(PAPER_52))
    return judge(drawn, kind.name)


if __name__ == "__main__":
    main()
