"""`isogloss gains`: what a store's routes gain over one prompt everywhere, with intervals.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidData
from isogloss.prompts.routing.routes import UNIVERSAL
from isogloss.training.cli.options import AsJson, MinProbability, OnlyModel, Store, to_stderr

if TYPE_CHECKING:
    from isogloss.prompts.store.state import StoreState
    from isogloss.training.evaluation.predictions import Group, Prediction
    from isogloss.training.selection.evidence import Origin
    from isogloss.training.selection.gains import GainRow
    from isogloss.training.selection.left_out import LeftOutRow
    from isogloss.training.selection.seeds import SeedRow

_FILES = {"overall": "gains_overall", "clade": "gains_clades", "language": "gains_languages"}
_LEFT_OUT_FILES = {"overall": "left_out", "language": "left_out_languages"}


def gains(
    evaluations: Annotated[
        list[Path],
        typer.Option(
            help="Predictions of the routes' prompts, of `isogloss evaluate --split test`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables and figure.")],
    store: Store = None,
    model: OnlyModel = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Evaluated prompts to compare with besides the universal one, such as the best "
            "single prompt on dev of a table that was not chosen over it."
        ),
    ] = None,
    left_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Dev predictions of all candidates (and test ones as --evaluations): also choose "
            "routes for each language as if nothing were known of it, and test those."
        ),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            help="With --left-out: files (or folders) of the candidates, whose cards say what they "
            "were trained on."
        ),
    ] = None,
    min_probability: MinProbability = 0.75,
    as_json: AsJson = False,
) -> None:
    """Compare routes with their universal prompt on test: overall, by clade and by language.

    Leaves gains_overall.csv, gains_clades.csv, gains_languages.csv and gains.svg and .png in --out;
    with --left-out also left_out.csv and left_out_languages.csv. Where several seeds of each prompt
    were evaluated, gains_seeds.csv has gains with seeds drawn as well as articles.
    """
    from isogloss.prompts.files.tables import record_bytes
    from isogloss.prompts.store.store import open_store
    from isogloss.training.evaluation.candidates import load_candidates
    from isogloss.training.files import writable_folder, write_atomically
    from isogloss.training.selection.evidence import read_evidence
    from isogloss.training.selection.gains_figure import save_gains
    from isogloss.training.selection.routing import find_origins

    tests = read_evidence(evaluations, model, "test")
    opened = open_store(store)
    writable_folder(out)
    rows, seeds, shown = _routed(opened.state(), tests, baseline or ())
    _write(rows, _FILES, out)
    if seeds:
        write_atomically(out / "gains_seeds.csv", record_bytes(seeds))
    over_universal = [row for row in rows if row.over == UNIVERSAL]
    save_gains(over_universal, shown, out, "gains")
    left: list[LeftOutRow] = []
    if left_out:
        dev = read_evidence(left_out, model)
        files = load_candidates(prompts, store) if prompts else []
        left = _left_out(
            dev, tests, partial(find_origins, store=opened, files=files), min_probability
        )
        _write(left, _LEFT_OUT_FILES, out)
    _report(rows, seeds, shown, left, out, as_json=as_json)


def _routed(
    state: StoreState, tests: Mapping[Group, Sequence[Prediction]], baselines: Sequence[str]
) -> tuple[list[GainRow], list[SeedRow], dict[str, set[str]]]:
    """Rows of all tables, and which clades of each model are worth drawing: families and routes."""
    from isogloss.training.selection.evidence import evidence_of
    from isogloss.training.selection.gains import routed_gains
    from isogloss.training.selection.seeds import seed_gains
    from isogloss.training.selection.served import with_served

    rows: list[GainRow] = []
    seeds: list[SeedRow] = []
    shown: dict[str, set[str]] = {}
    for key, predictions in tests.items():
        table = state.routes_for(*key)
        if table is None:
            raise InvalidData(
                f"--evaluations: the store has no routes for task {key[1]!r} of the model that was "
                "evaluated; build them with `isogloss route`, or name another --store"
            )
        answered, served = with_served(predictions, table) if table.priors else (predictions, {})
        evidence, evaluated = evidence_of(answered)
        stored = {reference: state.resolve(reference)[2] for reference in table.references}
        rows += routed_gains(evidence, table, stored, evaluated, baselines, served)
        routed = {c: table.route(line).reference for c, line in evidence.lineages.items()}
        single = dict.fromkeys(routed, table.universal)
        seeds += seed_gains(evidence, routed, single, (table.model.id, table.task))
        families = {line[0] for line in evidence.lineages.values() if line}
        shown[table.model.id] = families | table.clades.keys()
    return rows, seeds, shown


def _write(
    rows: Sequence[GainRow] | Sequence[LeftOutRow], files: Mapping[str, str], out: Path
) -> None:
    """Write each level's rows, where there are any, to the file named for it."""
    from isogloss.prompts.files.tables import record_bytes
    from isogloss.training.files import write_atomically

    for level, name in files.items():
        if chosen := [row for row in rows if row.level == level]:
            write_atomically(out / f"{name}.csv", record_bytes(chosen))


def _left_out(
    dev: Mapping[Group, Sequence[Prediction]],
    tests: Mapping[Group, Sequence[Prediction]],
    origins: Callable[[Sequence[Prediction]], Mapping[str, Origin]],
    min_probability: float,
) -> list[LeftOutRow]:
    from isogloss.training.selection.choice import Rule
    from isogloss.training.selection.evidence import evidence_of
    from isogloss.training.selection.left_out import check_same, leave_out, left_out_rows

    left: list[LeftOutRow] = []
    for key, rows in dev.items():
        if key not in tests:
            raise InvalidData(
                f"--left-out: {rows[0].model} has no test predictions in --evaluations"
            )
        evidence, digests = evidence_of(rows, origins(rows))
        judged, judged_digests = evidence_of(tests[key])
        check_same(digests, judged_digests)
        to_stderr(f"{rows[0].model}: leaving out each of {len(evidence.languages)} languages")
        chosen = leave_out(evidence, Rule(min_probability=min_probability))
        left += left_out_rows(judged, chosen, (rows[0].model, rows[0].task))
    return left


def _report(
    rows: Sequence[GainRow],
    seeds: Sequence[SeedRow],
    shown: Mapping[str, Collection[str]],
    left: Sequence[LeftOutRow],
    out: Path,
    *,
    as_json: bool,
) -> None:
    from isogloss.training.selection.gains import worse_clades
    from isogloss.training.selection.tables import gains_table, left_out_table, seeds_table

    worse = worse_clades([row for row in rows if row.over == UNIVERSAL])
    overall_left = [row for row in left if row.level == "overall"]
    if as_json:
        facts = {
            "overall": [asdict(row) for row in rows if row.level == "overall"],
            "clades": [asdict(row) for row in rows if row.level == "clade" and row.moved],
            "worse_clades": worse,
            "seeds": [asdict(row) for row in seeds if row.level == "overall"],
            "left_out": [asdict(row) for row in overall_left],
        }
        print_json({**facts, "out": str(out)})
        return
    print_table(gains_table(rows, shown))
    say(f"significantly worse clades: {', '.join(worse) or 'none'}")
    if seeds:
        print_table(seeds_table(seeds))
    if overall_left:
        print_table(left_out_table(overall_left))
    say(f"tables and figure: {out}")
