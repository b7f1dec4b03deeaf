"""What `isogloss prompts` shows of a store, as plain values in the words of the HTTP API."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.languages.languages import languages
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.prompts.routing.trials import Trial
from isogloss.prompts.store.store import PromptStore, StoreState


def details(store: PromptStore, state: StoreState, reference: str) -> dict[str, Any]:
    """Return one prompt's name, version, card, routes, and what its name has on trial, or null.

    A prompt whose file cannot be read has `card` null, and `problem` says why.

    Raises:
        InvalidInput: the reference is malformed.
        NotFound: there is no such prompt.
    """
    name, number, digest = state.resolve(reference)
    entry = state.prompts[name]
    published = next(own for own in entry.versions if own.version == number)
    found: dict[str, Any] = {"length": None, "hidden_size": None, "card": None, "problem": None}
    try:
        prompt = store.read(digest)
        found["length"], found["hidden_size"] = prompt.length, prompt.hidden_size
        found["card"] = prompt.card.model_dump(mode="json")
    except IsoglossError as error:
        found["problem"] = str(error)
    return {
        "name": name,
        "version": number,
        "digest": digest,
        "published_at": published.published_at.isoformat(),
        "current": entry.current,
        "versions": [version.version for version in entry.versions],
        "routes": routes_to(state, digest),
        "trial": next((_trial(state, own) for own in state.trials if own.name == name), None),
        **found,
    }


def routes_to(state: StoreState, digest: str) -> list[dict[str, Any]]:
    """Return every route that chooses this content: model, task and clade ("universal" is one).

    `temperatures` is what the scores are divided by on this route, clade by clade; a language takes
    its deepest clade's, and 1 where there is none.
    """
    return [
        {
            "model": table.model.id,
            "task": table.task,
            "clade": clade,
            "temperatures": _temperatures(table, clade),
        }
        for table in state.routes
        for clade, reference in table.by_clade.items()
        if state.resolve(reference)[2] == digest
    ]


def _temperatures(table: RouteTable, route: str) -> dict[str, float]:
    """Return the temperatures of the languages that one route answers."""
    return {
        clade: temperature
        for clade, temperature in table.temperatures.items()
        if route == (table.route(_lineages().get(clade, ())).clade or UNIVERSAL)
    }


@functools.cache
def _lineages() -> dict[str, tuple[str, ...]]:
    """Every clade, with the path from the root to it."""
    return {
        clade: entry.lineage[: depth + 1]
        for entry in languages().values()
        for depth, clade in enumerate(entry.lineage)
    }


def listing(store: PromptStore, state: StoreState) -> dict[str, Any]:
    """Return the current version of every prompt, the route tables, and what is on trial."""
    return {
        "store": store.location,
        "generation": state.generation,
        "generation_digest": state.identity.digest,
        "prompts": [
            details(store, state, reference)
            for name, entry in sorted(state.prompts.items())
            # A name that a rollback left without a current version is shown by its newest.
            for reference in [name if entry.current else f"{name}@{entry.newest}"]
        ],
        "routes": [table.model_dump(mode="json") for table in state.routes],
        "trials": [_trial(state, trial) for trial in state.trials],
    }


def trials(store: PromptStore, state: StoreState) -> dict[str, Any]:
    """Return what is on trial."""
    running = [_trial(state, trial) for trial in state.trials]
    number, digest = state.identity
    answer = {"store": store.location, "generation": number, "generation_digest": digest}
    return {**answer, "trials": running}


def _trial(state: StoreState, trial: Trial) -> dict[str, Any]:
    """Return a trial; `routed` says what is routed for each of its clades."""
    table = next(table for table in state.routes if table.key == trial.key)
    facts = trial.model_dump(mode="json", exclude={"fingerprint", "clades", "limits"})
    return {
        **facts,
        "digest": state.digest_of(trial.candidate),
        "model": table.model.id,
        "routed": {clade: _versioned(state, table.by_clade[clade]) for clade in trial.clades},
        "limits": trial.limits.model_dump() if trial.limits else None,
    }


def _versioned(state: StoreState, reference: str) -> str:
    name, version, _ = state.resolve(reference)
    return f"{name}@{version}"


def history(store: PromptStore) -> dict[str, Any]:
    """Return every generation, newest first: when, why, what was current and what on trial.

    One that cannot be read has `problem`, and nothing else is known of it.
    """
    return {
        "store": store.location,
        "generations": [
            _generation(store, number) for number in reversed(store.generations.numbers())
        ],
    }


def _generation(store: PromptStore, number: int) -> dict[str, Any]:
    try:
        state, problem = store.state(number), None
    except IsoglossError as error:
        state, problem = StoreState(generation=number), str(error)
    return {
        "generation": number,
        "digest": state.identity.digest or None,
        "published_at": state.published_at.isoformat() if state.published_at else None,
        "note": state.note,
        "restores": state.restores,
        "current": {name: entry.current for name, entry in sorted(state.prompts.items())},
        "trials": [_trial(state, trial) for trial in state.trials],
        "problem": problem,
    }


def changed(
    store: PromptStore, before: int, state: StoreState, references: Sequence[str]
) -> dict[str, Any]:
    """Return what a publish did: the generation, and each prompt's name, version and digest."""
    resolved = [state.resolve(reference) for reference in references]
    return {
        "store": store.location,
        "generation": state.generation,
        "generation_digest": state.identity.digest,
        "changed": state.generation != before,
        "prompts": [
            {"name": name, "version": version, "digest": digest}
            for name, version, digest in resolved
        ],
    }
