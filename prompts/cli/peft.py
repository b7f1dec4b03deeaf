"""`isogloss prompts import-peft` and `export-peft`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder that PEFT's save_pretrained wrote, or a repository of the hub that it was "
            "pushed to, OWNER/NAME.",
        ),
    ],
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
            "--force",
            "--origin-differs",
            help="Take it although it names another base model, revision, task type or tokenizer.",
        ),
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(help="Of the adapter's repository: branch, tag or commit."),
    ] = None,
    peft_task: Annotated[
        int | None,
        typer.Option(min=0, help="Of a multitask adapter, the number of the task to take."),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="What stood around the texts it was trained on, with {text} where they go: "
            "'Tweet text : {text} Label :'. The prompt keeps it.",
        ),
    ] = None,
    route: Routes = None,
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Publish a PEFT adapter that is a prompt; it stays *before* the text (`prefix`)."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.format.card import ModelRef
    from isogloss.prompts.format.peft import check_origin, import_adapter, read_config
    from isogloss.prompts.format.template import check_room, checked_template
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.prompts.store.store import open_store

    name = name or name_from(folder)
    words = parse_words(word or [])
    given = None if template is None else checked_template(template)
    folder = _here(folder, revision)
    settled = _template(given, folder)
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
        labels=_labels(
            label or [], words, _Task(backbone, task, settled, config.classifies), store
        ),
        origin_differs=origin_differs,
        of_task=peft_task,
        template=settled,
    )
    prompt.check_fits(backbone)
    check_room(settled, backbone)
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
    from isogloss.prompts.format.prompt import only_prompt
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    name, version, digest = opened.state().resolve(reference)
    prompt = only_prompt(f"prompt {name}@{version}", opened.read(digest))
    export_adapter(prompt, out)
    said = f"{name}@{version} is in {out}"
    if prompt.card.template is not None:
        said += f"; hand PEFT's model texts in the template {prompt.card.template!r}"
    answer = {"name": name, "version": version, "digest": digest, "folder": str(out)}
    report({**answer, "template": prompt.card.template}, as_json, said)


def _here(given: Path, revision: str | None) -> Path:
    """Return the adapter's folder on this machine; a repository's files are fetched."""
    if not given.is_dir():
        from isogloss.prompts.hub import repository as hub

        if hub.is_repository(str(given)):
            return hub.fetch_adapter(str(given), revision=revision)
    if revision is not None:
        raise InvalidInput(
            f"--revision {revision}: {given} is no repository of the hub; give OWNER/NAME, or "
            "leave --revision out"
        )
    return given


def _template(given: str | None, folder: Path) -> str | None:
    """Return the template that was given, or that of the prompt which was exported as this."""
    from isogloss.prompts.format.peft import exported_template
    from isogloss.prompts.format.template import settled_template

    exported = exported_template(folder)
    if given is None and exported is not None:
        typer.echo(f"the adapter's texts stand in the template {exported!r}", err=True)
    return settled_template(given, exported)


@dataclass(frozen=True, slots=True)
class _Task:
    """What labels are for, and how this adapter answers with them."""

    backbone: Backbone
    name: str
    template: str | None
    classifies: bool  # with a head of the adapter's own, which reads no words

    def answered(self, labels: Sequence[str], words: Mapping[str, str]) -> tuple[LabelToken, ...]:
        """Labels by their rows of the adapter's head, or by the tokens of their words."""
        from isogloss.prompts.format.peft import row_labels
        from isogloss.prompts.format.template import speaker
        from isogloss.prompts.format.verbalizer import verbalize

        if self.classifies:
            return row_labels(labels)
        spoken = speaker(self.backbone.tokenizer, self.template)
        return verbalize(labels, spoken, settle_words(words, labels))


def _labels(
    labels: Sequence[str], words: Mapping[str, str], of: _Task, store: Path | None
) -> tuple[LabelToken, ...]:
    """Return the labels a person gave, or those of the store's prompts for this model and task."""
    from isogloss.prompts.format.ensemble import EnsembleCard
    from isogloss.prompts.store.filesystems import is_store
    from isogloss.prompts.store.store import open_store

    if words and of.classifies:
        raise InvalidInput("--word: the adapter has a head of its own, which reads no words")
    if labels := [label.strip() for label in labels]:
        return of.answered(labels, words)
    if words:
        raise InvalidInput("--word needs --label: give every label of the task, in order")
    if store is None or is_store(store):
        opened = open_store(store)
        state = opened.state()
        if table := state.routes_for(of.backbone.fingerprint, of.name):
            card = opened.read(state.resolve(table.universal)[2]).card
            has_tokens = isinstance(card, EnsembleCard) or card.head == "model"
            if has_tokens and not of.classifies:
                return card.labels
            return of.answered([label.label for label in card.labels], {})
    raise InvalidInput(
        f"give the labels of task {of.name!r} with --label: the store has no routes of "
        f"{of.backbone.model_id} to take them from"
    )
