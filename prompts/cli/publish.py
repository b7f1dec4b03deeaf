"""`isogloss prompts publish`, and what every command that publishes prompt files does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.prompts.cli.options import (
    AsJson,
    Note,
    RequestId,
    Routes,
    Store,
)
from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.cli.trials import TrialOptions
from isogloss.prompts.console.console import report
from isogloss.prompts.errors import InvalidInput

if TYPE_CHECKING:
    from isogloss.prompts.format.prompt import Prompt
    from isogloss.prompts.store.store import PromptStore
    from isogloss.prompts.store.trial_changes import TrialPlan


@as_command
def publish(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Prompt files.")],
    name: Annotated[
        str | None, typer.Option(help="Name of a single file's prompt; by default the file's.")
    ] = None,
    route: Routes = None,
    trial: TrialOptions,
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Publish prompt files as one new generation: all of them or none.

    With --canary or --shadow a prompt is only put on trial: see `promote`, `rollback --trial` and
    `trials`.
    """
    from isogloss.prompts.cli import tables
    from isogloss.prompts.format.prompt import load_prompt
    from isogloss.prompts.store.store import open_store

    plan = trial.plan(route or [])
    if len(files) > 1 and (name or route or plan):
        raise InvalidInput(
            "--name, --route, --canary and --shadow are for a single file: publish the files one "
            "by one"
        )
    names = [name or name_from(file) for file in files]
    if len(set(names)) < len(names):
        raise InvalidInput(f"two files would be published as one name, of {sorted(names)}")
    prompts = {name: load_prompt(file) for name, file in zip(names, files, strict=True)}
    opened = open_store(store, create=plan is None)
    answer = publish_to(opened, prompts, route or [], note, request_id, plan)
    report(answer, as_json, tables.published)


def publish_to(
    store: PromptStore,
    prompts: Mapping[str, Prompt],
    clades: Sequence[str],
    note: str,
    request_id: str | None,
    plan: TrialPlan | None = None,
) -> dict[str, Any]:
    """Publish prompts, or put the only one on trial, and return what changed.

    Raises:
        InvalidInput, InvalidPrompt, StoreError: see `PromptStore.publish` and `begin_trial`.
    """
    from isogloss.prompts.store import listing

    for prompt in prompts.values():
        prompt.check_served()  # a store is for servers
    before = store.latest()
    digests = {name: prompt.digest for name, prompt in prompts.items()}
    if plan is None:
        state = store.publish(prompts, (), note, clades=clades, request_id=request_id)
        return listing.changed(store, before, state, digests, request_id)
    ((name, prompt),) = prompts.items()
    state = store.begin_trial(name, prompt, **vars(plan), note=note, request_id=request_id)
    answer = listing.changed(store, before, state, digests, request_id)
    running = listing.trials(store, state)["trials"]
    return {**answer, "trials": [trial for trial in running if trial["name"] == name]}


def name_from(path: Path) -> str:
    """Make a prompt's name of a file's: lower case, "-" for what a name cannot hold.

    Raises:
        InvalidInput: nothing is left.
    """
    stem = path.name.removesuffix(".safetensors").lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:64].rstrip("-._")
    if not name:
        raise InvalidInput(f"no prompt name can be made of {path.name!r}; give --name")
    return name
