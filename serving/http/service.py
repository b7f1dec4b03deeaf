"""What the reading routes are answered from: the served models and the prompts they serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from isogloss.prompts.errors import NotFound, Unavailable
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.store.checks import names_of, newly_answering
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.serving.config import ServingSettings
from isogloss.serving.http.cards import PromptCards
from isogloss.serving.pipeline.admission import Stopping
from isogloss.serving.pipeline.caller import NOBODY_ELSE, Caller
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.replicas import ReplicaReport, Reporter
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    ModelAnswer,
    ModelsAnswer,
    PromptDetails,
    PromptsAnswer,
    ReadyAnswer,
    ReplicaAnswer,
    RoutesAnswer,
)
from isogloss.serving.telemetry.metrics import merge
from isogloss.serving.trials.answers import TrialsAnswer
from isogloss.serving.trials.reports import newest, trial_report

Tasks = Mapping[str, tuple[str, ...]]
"""Labels by task, in alphabetical order: one that no new prompt changes."""


class ServedModel(Protocol):
    """One model, in this process or in another."""

    async def ask(
        self, request: ClassifyRequest, tasks: Sequence[str], caller: Caller = NOBODY_ELSE
    ) -> list[ClassifyResponse]:
        """Answer one request for each of the tasks, or its own; as `Classifier.ask`."""
        ...

    async def describe(self) -> ModelAnswer:
        """Tell what the model is."""
        ...

    async def vet(self, prompts: Mapping[str, str], given: Mapping[str, bytes]) -> None:
        """Require that prompts can answer, before they do; as `Classifier.vet`."""
        ...


class Service:
    """The default model in this process, the others behind their handles, and their store."""

    def __init__(
        self,
        classifier: Classifier,
        others: Mapping[str, ServedModel],
        store: PromptStore,
        reporter: Reporter,
        settings: ServingSettings,
    ) -> None:
        self.classifier = classifier
        self.store = store
        self.reporter = reporter
        self.settings = settings
        self.metrics = classifier.metrics
        self.live: Registry = classifier.registry
        self.started_s = int(time.time())
        self._default = settings.default_model
        self._models: dict[str, ServedModel] = {self._default: classifier, **others}
        self._descriptions: dict[str, ModelAnswer] = {}
        self._cards = PromptCards(store, classifier.registry)
        self._tasks: tuple[GenerationId | None, Mapping[str, Tasks]] = (None, {})

    async def ask(
        self, request: ClassifyRequest, tasks: Sequence[str], caller: Caller = NOBODY_ELSE
    ) -> list[ClassifyResponse]:
        """Answer a request for several tasks with the model it names, or the default one.

        Raises:
            NotFound: this server has no such model; those it has are named.
            IsoglossError: as `Classifier.ask`.
        """
        return await self._models[self._served_name(request.model)].ask(request, tasks, caller)

    def _served_name(self, asked: str | None) -> str:
        name = asked or self._default
        if name not in self._models:
            raise NotFound(
                f"model: {name[:80]!r} is not served here; served are {', '.join(self._models)}"
            )
        return name

    async def drain(self) -> bool:
        """Let nobody in any more and finish what is in; whether that was possible in time."""
        return await self.classifier.drain(self.settings.drain_timeout_s)

    async def models(self) -> ModelsAnswer:
        """Describe every served model."""
        for name, model in self._models.items():
            if name not in self._descriptions:  # a model never changes while it is served
                self._descriptions[name] = await model.describe()
        return ModelsAnswer(
            default=self.settings.default_model, models=list(self._descriptions.values())
        )

    async def tasks(self, model: str | None, caller: Caller = NOBODY_ELSE) -> Tasks:
        """The tasks that a served model has routes for, and the labels of each.

        Raises:
            NotFound: this server has no such model; those it has are named.
            StoreSilent: a card is not in memory, and the store has not answered in time.
        """
        name, state = self._served_name(model), self.live.current.state
        known_of, known = self._tasks
        if known_of != state.identity:
            known = {}
        if name not in known:
            found, whole = await self._read_tasks(name, state, self._wait_s(caller))
            if whole:
                self._tasks = state.identity, {**known, name: found}
            return found
        return known[name]

    async def _read_tasks(self, name: str, state: StoreState, wait_s: float) -> tuple[Tasks, bool]:
        """A model's tasks, and whether all of them could be read."""
        await self.models()
        fingerprint, found, whole = self._descriptions[name].fingerprint, {}, True
        for table in sorted(state.routes, key=lambda table: table.task):
            if table.model.fingerprint == fingerprint:
                about = await self._cards.details(state, table.universal, wait_s)
                if about.card is None:
                    whole = False
                else:
                    labels = [each.label for each in about.card.labels]
                    ordered = about.card.problem == "ordered"
                    found[table.task] = tuple(labels if ordered else sorted(labels))
        return found, whole

    async def prompts(self, caller: Caller = NOBODY_ELSE) -> PromptsAnswer:
        """List the current prompts of the served models.

        Raises:
            StoreSilent: one is not in memory, and the store has not answered in time.
        """
        served = {model.fingerprint for model in (await self.models()).models}
        return await self._cards.list(self.live.current.state, served, self._wait_s(caller))

    async def prompt(self, reference: str, caller: Caller = NOBODY_ELSE) -> PromptDetails:
        """Describe one prompt: `name`, or `name@version`.

        Raises:
            NotFound: there is none.
            StoreSilent: it is not in memory, and the store has not answered in time.
        """
        return await self._cards.details(self.live.current.state, reference, self._wait_s(caller))

    async def prompt_file(self, reference: str, caller: Caller = NOBODY_ELSE) -> tuple[str, bytes]:
        """Return the digest and the bytes of one prompt's file.

        Raises:
            NotFound: there is none.
            StoreError: it cannot be read.
            StoreSilent: the store has not answered in time.
        """
        return await self._cards.file(self.live.current.state, reference, self._wait_s(caller))

    async def vet(
        self, before: StoreState, following: StoreState, given: Mapping[str, Prompt]
    ) -> None:
        """Require that the served models can answer after a change as it asks them to.

        Every prompt that it brings, or brings into routes and trials, is tried by its model.

        Raises:
            InvalidPrompt: one cannot answer.
            Unavailable: one cannot be read or tried now.
        """
        await self.models()
        names = names_of(following)
        for name, model in self._descriptions.items():
            own = {d: p for d, p in given.items() if p.card.model.fingerprint == model.fingerprint}
            wanted = {digest: names.get(digest, digest) for digest in own}
            wanted |= newly_answering(before, following, model.fingerprint)
            if wanted:
                files = {digest: prompt.to_bytes() for digest, prompt in own.items()}
                await self._models[name].vet(wanted, files)

    async def routes(self) -> RoutesAnswer:
        """List the route tables of the served models."""
        served = {model.fingerprint for model in (await self.models()).models}
        state = self.live.current.state
        return RoutesAnswer(
            generation=state.generation,
            generation_digest=state.identity.digest,
            routes=[table for table in state.routes if table.model.fingerprint in served],
        )

    async def ready(self) -> ReadyAnswer:
        """Tell what every replica serves, and why it is not the newest where it is not.

        Raises:
            Stopping: this replica takes nothing more.
            Unavailable: a model has no live replica.
        """
        if self.classifier.gate.stopping:
            raise Stopping("this replica is stopping; ask another one")
        reports = await asyncio.to_thread(self.reporter.board.reports)
        if missing := sorted(set(self._models) - {report.model for report in reports}):
            raise Unavailable(f"no live replica of {', '.join(missing)} yet; ask again in a moment")
        served = self.live.identity
        return ReadyAnswer(
            ready=True,
            generation=served.number,
            generation_digest=served.digest,
            replicas=[
                ReplicaAnswer(
                    replica=report.replica,
                    model=report.model,
                    generation=report.generation,
                    generation_digest=report.digest,
                    problem=report.problem,
                )
                for report in reports
            ],
        )

    async def metrics_page(self) -> bytes:
        """Render the numbers of all replicas: this one's now, the others' as last reported."""
        reports = newest(self.reporter.report(), await self._reports())
        return merge({(each.model, each.replica): each.metrics for each in reports})

    async def trials(self) -> TrialsAnswer:
        """Sum up what replicas counted of trials: this one now, the others as last reported."""
        served = {model.fingerprint: model.name for model in (await self.models()).models}
        reports = newest(self.reporter.report(), await self._reports())
        state = self.live.current.state
        return TrialsAnswer(
            generation=state.generation,
            generation_digest=state.identity.digest,
            trials=[
                trial_report(
                    trial, state.resolve(trial.candidate)[2], served[trial.fingerprint], reports
                )
                for trial in state.trials
                if trial.fingerprint in served
            ],
        )

    async def _reports(self) -> list[ReplicaReport]:
        """What all replicas reported last; nothing where the board does not answer."""
        try:
            return await asyncio.to_thread(self.reporter.board.reports)
        except Unavailable:  # numbers are wanted most when things fail
            return []

    def forget_prompts(self) -> None:
        """Let go of what was read of prompt files, for some were deleted."""
        self._cards.forget()
        self._tasks = (None, {})

    def _wait_s(self, caller: Caller) -> float:
        return caller.within(self.settings.store_timeout_s)
