"""The prompts one model serves, as one immutable snapshot that is swapped whole.

A `PromptBank` holds one generation of the store: every current prompt of this backbone, and every
version its routes and trials name, on the device and in the backbone's dtype. A new bank is built
aside from a new generation, taking over what has not changed, and replaces the old one by one
assignment. A request keeps the bank it began with; its rows hold the prompts themselves, so a batch
may mix generations and still answer each row with the prompt it names. Older versions, asked for by
`name@version`, are read when first asked for, and the last few are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prompts.errors import InvalidInput, InvalidPrompt, NotFound, StoreError
from prompts.numbering import GenerationId
from prompts.routes import Route, RouteTable
from prompts.store import StoreState
from prompts.trials import Trial
from serving.residents import PromptReader, ResidentPrompt, Residents, ServedPrompt, Unfit
from serving.trials.candidates import Problems, Trials, candidates

logger = logging.getLogger(__name__)


class BankRefused(StoreError):
    """A generation would break a route this model serves; the one before stays."""


@dataclass(frozen=True, eq=False)
class PromptBank:
    """One generation of the store, as one backbone serves it."""

    state: StoreState
    routes: Mapping[str, RouteTable]  # by task
    residents: Residents
    served: Mapping[str, ServedPrompt]  # by reference: current names, what routes and trials name
    reader: PromptReader
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
        return _own_trials(self.state, self.reader)

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
            StoreError: the version exists but cannot be read.
        """
        if reference in self.served:
            return self.served[reference]
        name, version, digest = self.state.resolve(reference)
        try:
            resident = self.residents.get(digest) or self.reader.recall(digest)
            return ServedPrompt(name, version, digest, _usable(resident))
        except InvalidPrompt as unfit:
            raise InvalidInput(f"prompt: {reference!r} cannot answer here: {unfit}") from unfit

    def choose(self, task: str, lineage: Sequence[str]) -> tuple[ServedPrompt, Route]:
        """Take the prompt of the deepest routed clade of a language's lineage.

        Raises:
            NotFound: this model has no routes for the task; those it has are named.
        """
        if task not in self.routes:
            raise NotFound(self._no_routes(task))
        route = self.routes[task].route(lineage)
        return self.served[route.reference], route

    def _no_routes(self, task: str) -> str:
        model = self.reader.backbone.model_id
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


def build_bank(
    state: StoreState, reader: PromptReader, previous: PromptBank | None = None
) -> PromptBank:
    """Load one generation aside, taking over every prompt that `previous` already holds.

    A prompt that no route of this model names may be of another model, or damaged: it is left out,
    and so is the trial whose candidate it is.

    Raises:
        BankRefused: a route of this model names a prompt that is missing or does not fit.
        StoreError: a routed prompt cannot be read now.
    """
    fingerprint = reader.backbone.fingerprint
    routes = {table.task: table for table in state.routes if table.model.fingerprint == fingerprint}
    trials = _own_trials(state, reader)
    routed = {reference for table in routes.values() for reference in table.references}
    tried = {trial.candidate for trial in trials}
    current = {name for name, entry in state.prompts.items() if entry.current is not None}
    residents: dict[str, ResidentPrompt | Unfit] = {}
    served: dict[str, ServedPrompt] = {}
    left_out: dict[str, str] = {}
    for reference in sorted(current | routed | tried):
        try:
            name, version, digest = state.resolve(reference)
            if digest not in residents:
                residents[digest] = _read(digest, reader, previous)
            resident = _usable(residents[digest])
            served[reference] = ServedPrompt(name, version, digest, resident)
        except (InvalidInput, NotFound) as problem:
            if reference in routed:
                raise BankRefused(
                    f"generation {state.generation} is refused: its routes name {reference!r}: "
                    f"{problem}; publish another prompt under that name, or roll back"
                ) from problem
            left_out[reference] = str(problem)
        except StoreError as problem:
            if reference in routed:
                raise
            left_out[reference] = str(problem)
            logger.warning("prompt %s is left out: %s", reference, problem)
    running, problems = candidates(trials, routes, served, left_out)
    return PromptBank(state, routes, residents, served, reader, running, problems)


def _own_trials(state: StoreState, reader: PromptReader) -> list[Trial]:
    own = reader.backbone.fingerprint
    return [trial for trial in state.trials if trial.fingerprint == own]


def _read(digest: str, reader: PromptReader, previous: PromptBank | None) -> ResidentPrompt | Unfit:
    if previous is not None and digest in previous.residents:
        return previous.residents[digest]
    try:
        return reader.read(digest)
    except InvalidPrompt as unfit:
        return Unfit(str(unfit))


def _usable(resident: ResidentPrompt | Unfit) -> ResidentPrompt:
    if isinstance(resident, Unfit):
        raise InvalidPrompt(resident.reason)
    return resident
