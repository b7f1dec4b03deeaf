"""The prompts one model serves, as one immutable snapshot that is swapped whole.

A `Snapshot` holds one generation of the store: every current prompt of this backbone, and every
version its routes and trials name, on the device and in the backbone's dtype. A new snapshot is
built aside from a new generation, takes over what has not changed, and replaces the old one by one
assignment. A request keeps the snapshot it began with; its rows hold the prompts themselves, so a
batch may mix generations and still answer each row with the prompt it names. Older versions, asked
for by `name@version`, are read when first asked for, and the last few are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from isogloss.prompts.errors import (
    InvalidInput,
    InvalidPrompt,
    IsoglossError,
    NotFound,
    StoreError,
    Unavailable,
)
from isogloss.prompts.routing.routes import Route, RouteTable
from isogloss.prompts.routing.trials import Trial
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import StoreState
from isogloss.serving.registry.candidates import Problems, Trials, candidates
from isogloss.serving.registry.loaded import LoadedPrompts, ServedPrompt
from isogloss.serving.registry.loader import PromptLoader, Read, usable

logger = logging.getLogger(__name__)


class SnapshotRefused(StoreError):
    """A generation would break a route this model serves; the one before stays."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One generation of the store, as one backbone serves it."""

    state: StoreState
    routes: Mapping[str, RouteTable]  # by task
    loaded: LoadedPrompts
    served: Mapping[str, ServedPrompt]  # by reference: current names, what routes and trials name
    loader: PromptLoader
    trials: Trials = field(default_factory=dict)
    trial_problems: Problems = field(default_factory=dict)

    @property
    def generation(self) -> int:
        """The generation of the store this is."""
        return self.state.generation

    @property
    def identity(self) -> GenerationId:
        """The same, with its digest: a store that was restored counts the same numbers again."""
        return self.state.identity

    @property
    def own_trials(self) -> list[Trial]:
        """This model's, also those that cannot run."""
        return _own_trials(self.state, self.loader)

    @property
    def answering(self) -> list[ServedPrompt]:
        """The prompts that answer without being on trial."""
        routed = {reference for table in self.routes.values() for reference in table.references}
        tried = {trial.candidate for trial in self.own_trials} - routed
        return [prompt for reference, prompt in self.served.items() if reference not in tried]

    def find(self, reference: str) -> ServedPrompt:
        """Look up `name` or `name@version`; may read an older version from the store.

        Raises:
            NotFound: no such prompt or version.
            InvalidInput: not a reference, or a prompt of another model.
            Unavailable: the version exists but cannot be read or tried now.
        """
        if (here := self.at_hand(reference)) is not None:
            return here
        name, version, digest = self.state.resolve(reference)
        try:
            return ServedPrompt(name, version, digest, self.loader.recall(digest))
        except InvalidPrompt as unfit:
            raise _cannot_answer(reference, unfit) from unfit

    def at_hand(self, reference: str) -> ServedPrompt | None:
        """Look up `name` or `name@version` in memory alone; None: the store must be asked.

        Raises:
            NotFound: no such prompt or version.
            InvalidInput: not a reference, or a prompt that is known not to fit.
        """
        if reference in self.served:
            return self.served[reference]
        name, version, digest = self.state.resolve(reference)
        here = self.loaded.get(digest) or self.loader.recent.get(digest)
        if here is None:
            return None
        try:
            return ServedPrompt(name, version, digest, usable(here))
        except InvalidPrompt as unfit:
            raise _cannot_answer(reference, unfit) from unfit

    def choose(
        self, task: str, lineage: Sequence[str], code: str | None = None
    ) -> tuple[ServedPrompt, Route]:
        """Take the prompt of the deepest routed clade of a language's lineage.

        Raises:
            NotFound: this model has no routes for the task; those it has are named.
        """
        if task not in self.routes:
            raise NotFound(self._no_routes(task))
        route = self.routes[task].route(lineage, code)
        return self.served[route.reference], route

    def _no_routes(self, task: str) -> str:
        model = self.loader.backbone.model_id
        if any(table.task == task and table.model.id == model for table in self.state.routes):
            return (
                f"task: {task[:80]!r} has routes for {model}, but for other weights than those "
                "loaded here; publish prompts and routes trained for these, or use a new store"
            )
        known = ", ".join(sorted(self.routes)) or "none"
        return (
            f"task: {task[:80]!r} has no routes on model {model} (tasks with routes: {known}); "
            "name one of those, name a prompt, or publish a route table for it"
        )


def build_snapshot(
    state: StoreState, loader: PromptLoader, previous: Snapshot | None = None
) -> Snapshot:
    """Load one generation aside, taking over every prompt that `previous` already holds.

    A prompt that no route of this model names may be of another model, or damaged: it is left out,
    and so is the trial whose candidate it is.

    Raises:
        SnapshotRefused: a route of this model names a prompt that is missing or does not fit.
        Unavailable: a routed prompt cannot be read or tried now.
    """
    fingerprint = loader.backbone.fingerprint
    routes = {table.task: table for table in state.routes if table.model.fingerprint == fingerprint}
    trials = _own_trials(state, loader)
    routed = {reference for table in routes.values() for reference in table.references}
    tried = {trial.candidate for trial in trials}
    current = {name for name, entry in state.prompts.items() if entry.current is not None}
    named = {each: _resolve(state, each) for each in sorted(current | routed | tried)}
    digests = {each[2] for each in named.values() if not isinstance(each, IsoglossError)}
    read = loader.read_all(sorted(digests), previous.loaded if previous else {})
    served, left_out = _usable_of(named, read, routed, state.generation)
    loaded = {digest: each for digest, each in read.items() if not isinstance(each, Unavailable)}
    running, problems = candidates(trials, routes, served, left_out)
    return Snapshot(state, routes, loaded, served, loader, running, problems)


_Named = tuple[str, int, str]
"""Name, version and digest."""


def _usable_of(
    named: Mapping[str, _Named | IsoglossError],
    read: Mapping[str, Read],
    routed: Set[str],
    generation: int,
) -> tuple[dict[str, ServedPrompt], dict[str, str]]:
    """Divide references into those that can answer and, if no route names them, those that cannot
    and why.

    Raises:
        SnapshotRefused, Unavailable: as `build_snapshot`.
    """
    served: dict[str, ServedPrompt] = {}
    left_out: dict[str, str] = {}
    for reference, meant in named.items():
        try:
            served[reference] = _served(meant, read)
        except (InvalidInput, NotFound) as problem:
            if reference in routed:
                raise SnapshotRefused(
                    f"generation {generation} is refused: its routes name {reference!r}: "
                    f"{problem}; publish another prompt under that name, or roll back"
                ) from problem
            left_out[reference] = str(problem)
        except Unavailable as problem:
            if reference in routed:
                raise
            left_out[reference] = str(problem)
            logger.warning("prompt %s is left out: %s", reference, problem)
    return served, left_out


def _own_trials(state: StoreState, loader: PromptLoader) -> list[Trial]:
    fingerprint = loader.backbone.fingerprint
    return [trial for trial in state.trials if trial.fingerprint == fingerprint]


def _resolve(state: StoreState, reference: str) -> _Named | IsoglossError:
    try:
        return state.resolve(reference)
    except (InvalidInput, NotFound) as problem:
        return problem


def _served(named: _Named | IsoglossError, read: Mapping[str, Read]) -> ServedPrompt:
    """Put a name to what was read; raises why it cannot answer."""
    if isinstance(named, IsoglossError):
        raise named
    name, version, digest = named
    return ServedPrompt(name, version, digest, usable(read[digest]))


def _cannot_answer(reference: str, unfit: InvalidPrompt) -> InvalidInput:
    return InvalidInput(f"prompt: {reference!r} cannot answer here: {unfit}")
