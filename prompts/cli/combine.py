"""`isogloss prompts combine`: prompts that answer together, as a file or as a version of a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, RequestId, Routes, Store
from isogloss.prompts.cli.publish import name_from, publish_to
from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.cli.trials import TrialOptions
from isogloss.prompts.console.console import report
from isogloss.prompts.errors import InvalidInput

if TYPE_CHECKING:
    from isogloss.prompts.format.ensemble import Ensemble


@as_command
def combine(
    *,
    members: Annotated[
        list[str],
        typer.Argument(metavar="PROMPT...", help="Prompt files, or `name[@version]` of the store."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Publish them together under this name, or try them there.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write them as one file instead, for `publish`.")
    ] = None,
    route: Routes = None,
    trial: TrialOptions,
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Put 2 to 16 prompts together: they answer by the mean of their log-probabilities.

    Members keep answering together when they are published anew or deleted under their own names.
    """
    from isogloss.prompts.cli import tables
    from isogloss.prompts.files import durable
    from isogloss.prompts.store.store import open_store

    plan = trial.plan(route or [])
    if (name is None) == (out is None):
        raise InvalidInput("give --name NAME to publish them together, or --out FILE for a file")
    if out is not None and (route or plan):
        raise InvalidInput("--route, --canary and --shadow go with --name: a file is not published")
    ensemble = combined(members, store)
    if out is not None:
        durable.write_atomically(out, ensemble.to_bytes())
        answer = {"file": str(out), "digest": ensemble.digest, "members": list(members)}
        report(answer, as_json, f"{out}: {len(members)} prompts, {ensemble.digest}")
        return
    assert name is not None
    opened = open_store(store, create=plan is None)
    published = publish_to(opened, {name: ensemble}, route or [], note, request_id, plan)
    report(published, as_json, tables.published)


def combined(members: list[str], store: Path | None) -> Ensemble:
    """Read prompts, from files or from the store, and put them together.

    Raises:
        NotFound: there is no such file, name or version.
        InvalidPrompt: one cannot be read, is an ensemble itself, or they do not go together.
    """
    from isogloss.prompts.format.ensemble import Ensemble
    from isogloss.prompts.format.soft_prompt import SoftPrompt
    from isogloss.prompts.store.store import open_store

    listed: list[tuple[str, int | None, SoftPrompt]] = []
    for given in members:
        if given.endswith(".safetensors") or "/" in given:
            path = Path(given).expanduser()
            listed.append((name_from(path), None, SoftPrompt.load(path)))
            continue
        listed.append(open_store(store).member(given))
    return Ensemble.of(listed)
