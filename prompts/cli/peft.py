"""`isogloss prompts import-peft` and `export-peft`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, Reference, RequestId, Routes, Store
from isogloss.prompts.cli.publish import name_from, publish_to
from isogloss.prompts.console.console import report
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.labels import parse_words, settle_words

if TYPE_CHECKING:
    from isogloss.prompts.format.verbalizer import LabelToken
    from isogloss.prompts.model.backbone import Backbone


def import_peft(
    folder: Annotated[Path, typer.Argument(help="Folder that PEFT's save_pretrained wrote.")],
    model: Annotated[
        str, typer.Option(help="The model it was trained for: hub id, folder or pocket model.")
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label, in order; repeatable. By default those of the store's routes."),
    ] = None,
    word: Annotated[
        list[str] | None, typer.Option(help="LABEL=WORD: the word that stands for a label.")
    ] = None,
    task: Annotated[str, typer.Option(help="Task by name.")] = "topic",
    name: Annotated[str | None, typer.Option(help="Name; by default the folder's.")] = None,
    origin_differs: Annotated[
        bool,
        typer.Option(
            "--origin-differs",
            help="Take it although it names another base model, revision or task type.",
        ),
    ] = False,
    route: Routes = None,
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Publish a PEFT prompt tuning adapter; its prompt stays *before* the text (`prefix`)."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.format.card import ModelRef
    from isogloss.prompts.format.peft import check_origin, import_adapter, read_config
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.prompts.store.store import open_store

    name = name or name_from(folder)
    words = parse_words(word or [])
    config = read_config(folder)  # a wrong folder is refused before a model is loaded
    check_origin(config, folder, model, origin_differs=origin_differs)
    backbone = Backbone.load(model, device="cpu")
    ref = ModelRef(id=model, revision=backbone.revision, fingerprint=backbone.fingerprint)
    prompt = import_adapter(
        folder,
        model=ref,
        hidden_size=backbone.hidden_size,
        architecture=backbone.architecture,
        layers=backbone.layers,
        task=task,
        labels=_labels(label or [], words, backbone, task, store),
        origin_differs=origin_differs,
    )
    prompt.check_fits(backbone)
    answer = publish_to(
        open_store(store, create=True), {name: prompt}, route or [], note, request_id
    )
    if config.base_model is None:
        told = "warning: the adapter does not say which base model it was trained for"
        typer.echo(f"{told}; it is taken for one of {model}", err=True)
    report(answer, as_json, tables.published)


def export_peft(
    reference: Reference,
    out: Annotated[Path, typer.Option(help="New folder for the adapter.")],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Write a `prefix` prompt as a folder that PEFT's PeftModel.from_pretrained loads."""
    from isogloss.prompts.format.peft import export_adapter
    from isogloss.prompts.format.soft_prompt import SoftPrompt
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    name, version, digest = opened.state().resolve(reference)
    prompt = opened.read(digest)
    if not isinstance(prompt, SoftPrompt):
        raise InvalidInput(
            f"prompt {name}@{version} is {len(prompt.prompts)} prompts that answer together, and "
            "an adapter holds one: export a member, "
            f"{', '.join(member.reference for member in prompt.members)}"
        )
    export_adapter(prompt, out)
    answer = {"name": name, "version": version, "digest": digest, "folder": str(out)}
    report(answer, as_json, f"{name}@{version} is in {out}")


def _labels(
    labels: Sequence[str],
    words: Mapping[str, str],
    backbone: Backbone,
    task: str,
    store: Path | None,
) -> tuple[LabelToken, ...]:
    """Return the labels a person gave, or those of the store's prompts for this model and task."""
    from isogloss.prompts.format.verbalizer import verbalize
    from isogloss.prompts.store.filesystems import is_store
    from isogloss.prompts.store.store import open_store

    if labels := [label.strip() for label in labels]:
        return verbalize(labels, backbone.tokenizer, settle_words(words, labels))
    if words:
        raise InvalidInput("--word needs --label: give every label of the task, in order")
    if store is None or is_store(store):
        opened = open_store(store)
        state = opened.state()
        if table := state.routes_for(backbone.fingerprint, task):
            return opened.read(state.resolve(table.universal)[2]).card.labels
    raise InvalidInput(
        f"give the labels of task {task!r} with --label: the store has no routes of "
        f"{backbone.model_id} to take them from"
    )
