"""`isogloss route`: build the route table from dev results, or tell why a language has its prompt.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidInput
from isogloss.training.cli.options import (
    AsJson,
    DryRun,
    MinProbability,
    OnlyModel,
    Store,
    parse_codes,
    tell_generation,
)

if TYPE_CHECKING:
    from isogloss.training.selection.routing import Routed


def route(
    evaluations: Annotated[
        list[Path] | None, typer.Option(help="Predictions of `isogloss evaluate --split dev`.")
    ] = None,
    store: Store = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            help="Files (or folders) of evaluated prompts: their cards say what they learned from; "
            "chosen ones are published with the routes."
        ),
    ] = None,
    model: OnlyModel = None,
    clades: Annotated[
        str, typer.Option(help="Only these clades may get a route (commas between them).")
    ] = "",
    min_languages: Annotated[
        int, typer.Option(min=1, help="A clade needs this many evaluated languages.")
    ] = 1,
    min_sentences: Annotated[
        int, typer.Option(min=1, help="A clade needs this many dev sentences.")
    ] = 50,
    min_gain: Annotated[
        float, typer.Option(help="Points of accuracy that a route must gain more than.")
    ] = 0.0,
    min_probability: MinProbability = 0.75,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Only tell why this language gets its prompt, from the store."
        ),
    ] = None,
    dry_run: DryRun = False,
    note: Annotated[str, typer.Option(help="Kept with the generation.")] = "isogloss route",
    as_json: AsJson = False,
) -> None:
    """Choose the universal prompt and each clade's from dev results, and publish the routes.

    A clade gets a prompt of its own where the gain over what it would get otherwise, shrunk by
    what choosing the best of many flatters, is above zero with --min-probability. A prompt made for
    one clade is routed within that clade only; the universal prompt is the best single one of all.
    Routes and prompts become one new generation of the store. With --explain, nothing is chosen.
    """
    from isogloss.prompts.store.store import open_store
    from isogloss.training.evaluation.candidates import load_candidates
    from isogloss.training.selection import routing
    from isogloss.training.selection.choice import Rule
    from isogloss.training.selection.evidence import read_evidence

    if explain is not None:
        _explain(explain, store, model, as_json)
        return
    if not evaluations:
        raise InvalidInput(
            "--evaluations: name the predictions of `isogloss evaluate --split dev`, or ask "
            "about a language with --explain CODE"
        )
    groups = read_evidence(evaluations, model)
    files = load_candidates(prompts, store) if prompts else []
    absent = dry_run and store is not None and not store.exists()
    opened = None if absent else open_store(store, create=not dry_run)
    rule = Rule(min_languages, min_sentences, min_gain / 100, min_probability)
    wanted = parse_codes(clades) or None
    routed = [routing.build_routes(rows, rule, wanted, opened, files) for rows in groups.values()]
    generation = None
    if opened is not None and not dry_run:
        generation = routing.publish_routes(opened, routed, note).generation
    _report(routed, generation, as_json)


def _explain(code: str, store: Path | None, model: str | None, as_json: bool) -> None:
    """Tables of a store, for one language."""
    from isogloss.prompts.store.store import open_store
    from isogloss.training.selection.explain import explain, tables_of, told

    tables = tables_of(open_store(store).state(), model)
    explanations = [explain(table, code) for table in tables]
    if as_json:
        print_json({"explanations": [asdict(each) for each in explanations]})
        return
    say("\n\n".join(map(told, explanations)))


def _report(routed: list[Routed], generation: int | None, as_json: bool) -> None:
    from isogloss.training.selection.tables import choice_table

    if as_json:
        tables = [
            {
                "routes": one.table.model_dump(mode="json"),
                "harmful_routes_expected": one.choice.expected_harmful,
                "decisions": [asdict(d) for d in (one.choice.universal, *one.choice.decisions)],
            }
            for one in routed
        ]
        print_json({"generation": generation, "tables": tables})
        return
    for one in routed:
        print_table(choice_table(one.choice, f"{one.table.model.id}, {one.table.task}"))
    tell_generation(generation)
