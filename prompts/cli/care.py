"""`isogloss prompts verify`, `gc` and `delete`: looking after a store."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, Store
from isogloss.prompts.console.console import print_json, print_table, say

_S_PER_DAY = 86_400.0


def verify(
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
    from isogloss.prompts.store import verifying
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    report = verifying.verify(opened, repair=repair)
    if as_json:
        print_json({"store": opened.location, "whole": report.whole, **dataclasses.asdict(report)})
    else:
        print_table(tables.verified(opened.location, report))
    if not report.whole:
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
    from isogloss.prompts.store import collecting
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    collected = collecting.collect(
        opened,
        keep=collecting.KEPT_GENERATIONS if keep is None else keep,
        older_than_s=older_than * _S_PER_DAY,
        dry_run=dry_run,
    )
    if as_json:
        answer = {"store": opened.location, "dry_run": dry_run, **dataclasses.asdict(collected)}
        print_json(answer)
        return
    say(
        f"{'would remove' if dry_run else 'removed'} {len(collected.generations)} generations, "
        f"{len(collected.objects)} prompt files and {len(collected.leftovers)} leftovers; "
        f"generations {collected.oldest_kept} to {collected.newest} stay"
    )


def delete(
    name: Annotated[str, typer.Argument(help="Name; all its versions go.")],
    note: Note = "",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Delete a prompt, in all versions, as a new generation, and remove its files.

    A route that chooses it must go elsewhere first. A server that is running goes on with the
    prompt until it has seen the new generation, a second later or so.
    """
    from isogloss.prompts.store import collecting
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    state = opened.delete(name, note)
    freed = collecting.free_deleted(opened)
    if as_json:
        answer = {"generation": state.generation, "deleted": name, "freed": list(freed)}
        print_json({"store": opened.location, **answer})
    else:
        say(f"generation {state.generation} is without {name}; {len(freed)} files removed")
