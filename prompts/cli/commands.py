"""`isogloss prompts`: look into a prompt store and change it.

Heavy imports wait until a command runs, so that `isogloss --help` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from isogloss.prompts.cli.care import delete, gc, verify_store
from isogloss.prompts.cli.combine import combine
from isogloss.prompts.cli.hub import pull, push
from isogloss.prompts.cli.options import AsJson, Note, Reference, RequestId, Store
from isogloss.prompts.cli.peft import export_peft, import_peft
from isogloss.prompts.cli.publish import publish
from isogloss.prompts.cli.trials import end_trial, promote, trials
from isogloss.prompts.console.console import ReportingGroup, report
from isogloss.prompts.errors import InvalidInput

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    help="Look into a prompt store and change it: list, publish, try, roll back, verify, PEFT.",
)


def register(isogloss: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    isogloss.add_typer(app, name="prompts")


@app.command("list")
def list_prompts(
    store: Store = None,
    history: Annotated[bool, typer.Option("--history", help="List generations instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the prompts of a store and where they are routed, or its generations."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.store import listing
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    if history:
        report(listing.history(opened), as_json, tables.generations)
    else:
        report(listing.listing(opened, opened.state()), as_json, tables.prompts)


@app.command()
def show(reference: Reference, store: Store = None, as_json: AsJson = False) -> None:
    """Show one prompt: its card, versions and routes."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.store import listing
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    report(listing.read_details(opened, opened.state(), reference), as_json, tables.details)


app.command()(publish)
app.command()(combine)


@app.command()
def rollback(
    to: Annotated[
        int | None, typer.Option(min=1, help="Generation; by default the content before this one.")
    ] = None,
    trial: Annotated[
        str | None, typer.Option(metavar="NAME", help="End this name's trial, and no more.")
    ] = None,
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Bring back an earlier generation's prompts and routes, as a new generation.

    Every trial ends. With --trial, one ends and all else stays.
    """
    from isogloss.prompts.store.store import open_store

    if trial is not None:
        if to is not None:
            raise InvalidInput(f"--to {to} and --trial {trial}: give one of them")
        end_trial(trial, note, request_id, store, as_json)
        return
    opened = open_store(store)
    state = opened.rollback(to, note, request_id=request_id)
    generation = state.generation_of(request_id)
    restores = opened.state(generation).restores
    told = f"generation {generation} restores the content of {restores}"
    if restores is None:
        told = f"nothing changed: generation {generation} has that content"
    answer = {"store": opened.location, "generation": generation, "restores": restores}
    report(answer, as_json, told)


app.command()(promote)
app.command()(trials)
app.command("verify")(verify_store)
app.command()(gc)
app.command()(delete)
app.command()(push)
app.command()(pull)
app.command("import-peft")(import_peft)
app.command("export-peft")(export_peft)
