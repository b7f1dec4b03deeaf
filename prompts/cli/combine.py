"""`isogloss prompts combine`: prompts that answer together, as a file or as a version of a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, RequestId, Routes, Store
from isogloss.prompts.cli.publish import name_from, publish_to
from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.cli.trials import TrialOptions
from isogloss.prompts.console.console import report
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.given_paths import expanded

if TYPE_CHECKING:
    from isogloss.prompts.format.ensemble import Ensemble
    from isogloss.prompts.format.soft_prompt import SoftPrompt


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
    from isogloss.prompts.store.store import open_store

    plan = trial.plan(route or [])
    if (name is None) == (out is None):
        raise InvalidInput("give --name NAME to publish them together, or --out FILE for a file")
    if out is not None and (route or plan or note or request_id):
        raise InvalidInput(
            "--route, --canary, --shadow, --note and --request-id go with --name: a file is not "
            "published"
        )
    ensemble = combined(members, store)
    if name is None:
        assert out is not None
        _write(out, ensemble)
        told = [member.reference for member in ensemble.members]
        answer = {"file": str(out), "digest": ensemble.digest, "members": told}
        report(answer, as_json, f"{out}: {', '.join(told)} together, {ensemble.digest}")
        return
    opened = open_store(store, create=plan is None)
    published = publish_to(opened, {name: ensemble}, route or [], note, request_id, plan)
    report(published, as_json, tables.published)


def _write(out: Path, ensemble: Ensemble) -> None:
    from isogloss.prompts.files import durable

    try:
        durable.write_atomically(expanded(out, "--out"), ensemble.to_bytes())
    except OSError as error:
        raise InvalidInput(
            f"--out {out} cannot be written: {error.strerror or error}; give another file"
        ) from error


def combined(members: Sequence[str], store: Path | None) -> Ensemble:
    """Read prompts, from files or from the store, and put them together.

    The store is opened only where a member is in it.

    Raises:
        NotFound: there is no such file, name or version.
        InvalidPrompt: one cannot be read, is an ensemble itself, or they do not go together.
    """
    from isogloss.prompts.format.ensemble import Ensemble
    from isogloss.prompts.store.store import open_store

    files = {given: file for given in members if (file := _file(given))}
    opened = None if len(files) == len(set(members)) else open_store(store)
    return Ensemble.of(
        [
            _from_file(files[given]) if opened is None or given in files else opened.member(given)
            for given in members
        ]
    )


def _file(given: str) -> Path | None:
    """The file that a member is, unless it is a name in the store."""
    path = expanded(given, "PROMPT")
    named = path.suffix == ".safetensors" or "/" in given
    return path if named or path.is_file() else None


def _from_file(path: Path) -> tuple[str, None, SoftPrompt]:
    from isogloss.prompts.format.prompt import load_prompt, only_prompt

    return name_from(path), None, only_prompt(str(path), load_prompt(path))
