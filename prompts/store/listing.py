"""What is told of a store, as plain values in the words of the HTTP API.

The command line prints them as JSON or as tables; a server answers with those of its schemas.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import EnsembleCard
from isogloss.prompts.languages.languages import languages
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.prompts.routing.trials import Trial
from isogloss.prompts.store.files import StoreFiles
from isogloss.prompts.store.state import StoreState


class Description(NamedTuple):
    """What a prompt's file says of it, or why it cannot be read."""

    length: int | None = None
    hidden_size: int | None = None
    card: PromptCard | EnsembleCard | None = None
    problem: str | None = None


def describe(store: StoreFiles, digest: str) -> Description:
    """Read a prompt's file; one that cannot be read has a `problem` and no card."""
    try:
        prompt = store.read(digest)
    except IsoglossError as error:
        return Description(problem=str(error))
    return Description(prompt.length, prompt.hidden_size, prompt.card)


def details(state: StoreState, reference: str, about: Description) -> dict[str, Any]:
    """Return one prompt's name, version, card, routes, and what its name has on trial, or null.

    Raises:
        InvalidInput: the reference is malformed.
        NotFound: there is no such prompt.
    """
    name, number, digest = state.resolve(reference)
    entry = state.prompts[name]
    published_at = next(each.published_at for each in entry.versions if each.version == number)
    trial = next((trial for trial in state.trials if trial.name == name), None)
    return {
        "name": name,
        "version": number,
        "digest": digest,
        "published_at": published_at,
        "current": entry.current,
        "versions": [version.version for version in entry.versions],
        "routes": _routes_to(state, digest),
        "trial": _trial(state, trial) if trial else None,
        **about._asdict(),
    }


def read_details(store: StoreFiles, state: StoreState, reference: str) -> dict[str, Any]:
    """Return `details` of a prompt whose file is read now, as JSON has them."""
    about = describe(store, state.digest_of(reference))
    told = details(state, reference, about)
    card = about.card.model_dump(mode="json") if about.card else None
    return {**told, "published_at": told["published_at"].isoformat(), "card": card}


def _routes_to(state: StoreState, digest: str) -> list[dict[str, Any]]:
    """Return every route that chooses this content: model, task and clade ("universal" is one).

    `temperatures` is what the scores are divided by on this route, clade by clade; a language takes
    its deepest clade's, and 1 where there is none. `priors` are taken off the labels'
    log-probabilities first, by language or clade.
    """
    return [
        {
            "model": table.model.id,
            "task": table.task,
            "clade": clade,
            "temperatures": _temperatures(table, clade),
            "priors": _priors(table, clade),
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


def _priors(table: RouteTable, route: str) -> dict[str, dict[str, float]]:
    """Return the priors of the languages and clades that one route answers."""
    return {
        name: prior
        for name, prior in table.priors.items()
        if route == (table.route(_lineage(name)).clade or UNIVERSAL)
    }


def _lineage(name: str) -> tuple[str, ...]:
    """The path from the root to a clade, or to a language by its code."""
    known = languages().get(name)
    return known.lineage if known else _lineages().get(name, ())


@functools.cache
def _lineages() -> dict[str, tuple[str, ...]]:
    """Every clade, with the path from the root to it."""
    return {
        clade: entry.lineage[: depth + 1]
        for entry in languages().values()
        for depth, clade in enumerate(entry.lineage)
    }


def listing(store: StoreFiles, state: StoreState) -> dict[str, Any]:
    """Return the current version of every prompt, the route tables, and what is on trial."""
    return {
        **_head(store, state),
        "prompts": [
            read_details(store, state, reference)
            for name, entry in sorted(state.prompts.items())
            # A name that a rollback left without a current version is shown by its newest.
            for reference in [name if entry.current else f"{name}@{entry.newest}"]
        ],
        "routes": [table.model_dump(mode="json") for table in state.routes],
        "trials": _trials(state),
    }


def trials(store: StoreFiles, state: StoreState) -> dict[str, Any]:
    """Return what is on trial."""
    return {**_head(store, state), "trials": _trials(state)}


def _head(store: StoreFiles, state: StoreState) -> dict[str, Any]:
    number, digest = state.identity
    return {"store": store.location, "generation": number, "generation_digest": digest}


def _trials(state: StoreState) -> list[dict[str, Any]]:
    return [_trial(state, trial) for trial in state.trials]


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


def history(store: StoreFiles) -> dict[str, Any]:
    """Return every generation, newest first: when, why, what was current and what on trial.

    One that cannot be read has `problem`, and nothing else is known of it.
    """
    return {
        "store": store.location,
        "generations": [
            _generation(store, number) for number in reversed(store.generations.numbers())
        ],
    }


def _generation(store: StoreFiles, number: int) -> dict[str, Any]:
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
        "trials": _trials(state),
        "problem": problem,
    }


def changed(
    store: StoreFiles,
    before: int,
    state: StoreState,
    digests: Mapping[str, str],
    request_id: str | None = None,
) -> dict[str, Any]:
    """Return what a publish did: the generation, and each prompt's name, version and digest."""
    generation = state.generation_of(request_id)
    made = state if generation == state.generation else store.state(generation)
    return {
        **_head(store, made),
        "changed": state.generation != before,
        "prompts": versions_of(made, digests),
    }


def versions_of(state: StoreState, digests: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return name, version and digest of each name's content, where it was not deleted since."""
    return [
        {"name": name, "version": version, "digest": digest}
        for name, digest in digests.items()
        if (entry := state.prompts.get(name)) and (version := entry.number_of(digest))
    ]
