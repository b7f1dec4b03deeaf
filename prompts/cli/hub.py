"""`isogloss prompts push` and `pull`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, Reference, RequestId, Routes, Store
from isogloss.prompts.cli.publish import publish_to
from isogloss.prompts.console.console import report

Repository = Annotated[str, typer.Argument(help="Repository of the hub, OWNER/NAME.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit. (default: the main branch)")
]


def push(
    reference: Reference,
    repository: Repository,
    private: Annotated[bool, typer.Option("--private", help="Of a new repository.")] = False,
    revision: Revision = None,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Push a prompt to a repository of the hub, with a model card made from its own."""
    from isogloss.prompts.hub import repository as hub
    from isogloss.prompts.store.store import open_store

    hub.check_repository(repository)
    opened = open_store(store)
    name, version, digest = opened.state().resolve(reference)
    done = hub.push(
        opened.read(digest), name, repository, message=message, private=private, revision=revision
    )
    answer = {"name": name, "version": version, **asdict(done)}
    report(answer, as_json, f"{name}@{version} is at {done.url}, commit {done.commit[:12]}")


def pull(
    repository: Repository,
    name: Annotated[
        str | None, typer.Option(help="Name in the store. (default: the repository's)")
    ] = None,
    revision: Revision = None,
    route: Routes = None,
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Publish the prompt of a repository of the hub."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.cli.publish import name_from
    from isogloss.prompts.hub import repository as hub
    from isogloss.prompts.store.store import open_store

    hub.check_repository(repository)
    chosen = name or name_from(Path(repository.partition("/")[2]))
    prompt = hub.pull(repository, revision=revision)
    opened = open_store(store, create=True)
    told = note or f"pulled from {repository}"
    answer = publish_to(opened, {chosen: prompt}, route or [], told, request_id)
    report(answer, as_json, tables.published)
