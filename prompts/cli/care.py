"""`isogloss prompts verify`, `gc` and `delete`: looking after a store."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, RequestId, Store
from isogloss.prompts.console.console import report

_S_PER_DAY = 86_400.0


def verify_store(
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged files aside and mend what can be.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Read every generation and prompt file of a store, and say what is damaged or missing.

    Exit code 1 says that something is wrong still.
    """
    from isogloss.prompts.cli import tables
    from isogloss.prompts.store.store import open_store
    from isogloss.prompts.store.verify import verify

    opened = open_store(store)
    checked = verify(opened, repair=repair)
    answer = {"store": opened.location, "whole": checked.whole, **dataclasses.asdict(checked)}
    report(answer, as_json, lambda _: tables.verified(opened.location, checked))
    if not checked.whole:
        raise typer.Exit(1)


def gc(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Generations that stay at least (20).")
    ] = None,
    older_than: Annotated[
        float, typer.Option(min=0, help="Days since a newer generation took its place.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Remove old generations, and prompt files that no generation refers to any more.

    Nothing goes that is younger than an hour: a publish may be about to refer to it.
    """
    from isogloss.prompts.store.collect import KEPT_GENERATIONS, collect
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    gone = collect(
        opened,
        keep=KEPT_GENERATIONS if keep is None else keep,
        older_than_s=older_than * _S_PER_DAY,
        dry_run=dry_run,
    )
    answer = {"store": opened.location, "dry_run": dry_run, **dataclasses.asdict(gone)}
    report(
        answer,
        as_json,
        f"{'would remove' if dry_run else 'removed'} {len(gone.generations)} generations, "
        f"{len(gone.objects)} prompt files and {len(gone.leftovers)} leftovers; "
        f"generations {gone.oldest_kept} to {gone.newest} stay",
    )


def delete(
    name: Annotated[str, typer.Argument(help="Name; all its versions go.")],
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Delete a prompt, in all versions, as a new generation, and remove its files.

    A route that chooses it must go elsewhere first. A server that is running goes on with the
    prompt until it has seen the new generation, a second later or so.
    """
    from isogloss.prompts.store.collect import free_deleted
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    generation = opened.delete(name, note, request_id=request_id).generation_of(request_id)
    freed = list(free_deleted(opened))
    answer = {"store": opened.location, "generation": generation, "deleted": name, "freed": freed}
    told = f"generation {generation} is without {name}; {len(freed)} files removed"
    report(answer, as_json, told)
