"""Puts what was chosen for each model into one store with one generation: `prompts/shipped`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.files import durable
from isogloss.prompts.format.prompt import Prompt, load_prompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore, StoreState, is_store
from isogloss.training.files import writing


@dataclass(frozen=True, slots=True)
class Chosen:
    """One model's routes, and the prompts that ship for it, by name."""

    table: RouteTable
    prompts: Mapping[str, Prompt]


def chosen(store: PromptStore, more: Mapping[str, Path]) -> Chosen:
    """What a model's own store holds, and further prompts by the names they ship under.

    Raises:
        StoreError: the store cannot be read.
    """
    state = store.state()
    (table,) = state.routes
    return Chosen(
        table,
        {
            **{name: store.read(state.resolve(name)[2]) for name in state.prompts},
            **{name: load_prompt(path) for name, path in more.items()},
        },
    )


def ship(models: Sequence[Chosen], shipped: Path, note: str) -> StoreState:
    """Replace the shipped store, whole; models that are not given keep what they have in it.

    Raises:
        InvalidPrompt: a table and its prompts do not fit each other.
        StoreError: a store cannot be read or written.
        InvalidInput: the shipped folder cannot be replaced.
    """
    everything = [*_others(models, shipped), *models]
    aside = durable.temporary_name(shipped.parent)
    try:
        state = PromptStore.open(aside, create=True).publish(
            {name: prompt for each in everything for name, prompt in each.prompts.items()},
            [each.table for each in everything],
            note,
        )
        shutil.rmtree(aside / "tmp")  # a package carries no empty folders
        with writing(shipped):
            _replace(shipped, aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return state


def _others(models: Sequence[Chosen], shipped: Path) -> list[Chosen]:
    """What ships for other models, with the prompts that are for their weights."""
    if not is_store(shipped):
        return []
    store, ours = PromptStore(shipped), {each.table.model.id for each in models}
    state = store.state()
    prompts = {name: store.read(state.resolve(name)[2]) for name in state.prompts}
    return [
        Chosen(table, {n: p for n, p in prompts.items() if p.card.model == table.model})
        for table in state.routes
        if table.model.id not in ours
    ]


def _replace(folder: Path, by: Path) -> None:
    if not folder.exists():
        os.rename(by, folder)
        return
    old = durable.temporary_name(folder.parent)
    os.rename(folder, old)
    os.rename(by, folder)
    shutil.rmtree(old)
