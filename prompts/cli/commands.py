"""`isogloss prompts`: look into a prompt store and change it.

Heavy imports wait until a command runs, so that `isogloss --help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isogloss.prompts.cli.care import delete, gc, verify
from isogloss.prompts.cli.options import (
    AsJson,
    Canary,
    MaxLatencyRatio,
    MaxScoreDrop,
    MinAgreement,
    MinTexts,
    Note,
    Reference,
    Routes,
    Shadow,
    Share,
    Store,
)
from isogloss.prompts.cli.peft import export_peft, import_peft
from isogloss.prompts.cli.trials import end_trial, plan_of, promote, trials
from isogloss.prompts.console.console import ReportingGroup, print_json, print_table, say
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
    answer = listing.history(opened) if history else listing.listing(opened, opened.state())
    if as_json:
        print_json(answer)
        return
    print_table(tables.generations(answer) if history else tables.prompts(answer))


@app.command()
def show(reference: Reference, store: Store = None, as_json: AsJson = False) -> None:
    """Show one prompt: its card, versions and routes."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.store import listing
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    answer = listing.details(opened, opened.state(), reference)
    if as_json:
        print_json(answer)
        return
    print_table(tables.details(answer))


@app.command()
def publish(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Prompt files.")],
    name: Annotated[
        str | None, typer.Option(help="Name of a single file's prompt; by default the file's.")
    ] = None,
    route: Routes = None,
    canary: Canary = None,
    shadow: Shadow = False,
    share: Share = None,
    min_agreement: MinAgreement = None,
    max_score_drop: MaxScoreDrop = None,
    max_latency_ratio: MaxLatencyRatio = None,
    min_texts: MinTexts = None,
    note: Note = "",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Publish prompt files as one new generation: all of them or none.

    With --canary or --shadow a prompt is only put on trial: see `promote`, `rollback --trial` and
    `trials`.
    """
    from isogloss.prompts.cli import tables
    from isogloss.prompts.format.soft_prompt import SoftPrompt
    from isogloss.prompts.store import publishing
    from isogloss.prompts.store.store import open_store

    limits = {
        "min_agreement": min_agreement,
        "max_score_drop": max_score_drop,
        "max_latency_ratio": max_latency_ratio,
        "min_texts": min_texts,
    }
    plan = plan_of(canary, shadow, share, route or [], limits)
    if len(files) > 1 and (name or route or plan):
        raise InvalidInput(
            "--name, --route, --canary and --shadow are for a single file: publish the files one "
            "by one"
        )
    names = [name or publishing.name_from(file) for file in files]
    if len(set(names)) < len(names):
        raise InvalidInput(f"two files would be published as one name, of {sorted(names)}")
    prompts = {name: SoftPrompt.load(file) for name, file in zip(names, files, strict=True)}
    if plan:
        ((own, prompt),) = prompts.items()
        answer = publishing.begin_trial(open_store(store), own, prompt, plan, note)
    else:
        answer = publishing.publish(open_store(store, create=True), prompts, route or [], note)
    if as_json:
        print_json(answer)
        return
    print_table(tables.published(answer))


@app.command()
def rollback(
    to: Annotated[
        int | None, typer.Option(min=1, help="Generation; by default the content before this one.")
    ] = None,
    trial: Annotated[
        str | None, typer.Option(metavar="NAME", help="End this name's trial, and no more.")
    ] = None,
    note: Note = "",
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
        end_trial(trial, note, store, as_json)
        return
    opened = open_store(store)
    state = opened.rollback(to, note)
    if as_json:
        answer = {"generation": state.generation, "restores": state.restores}
        print_json({"store": opened.location, **answer})
    elif state.restores is None:
        say(f"nothing changed: generation {state.generation} has that content")
    else:
        say(f"generation {state.generation} restores the content of {state.restores}")


app.command()(promote)
app.command()(trials)
app.command()(verify)
app.command()(gc)
app.command()(delete)
app.command("import-peft")(import_peft)
app.command("export-peft")(export_peft)
