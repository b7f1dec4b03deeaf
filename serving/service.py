"""What the reading routes are answered from: the served models and the prompts they serve."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from typing import Protocol

from prompts.errors import IsoglossError, NotFound, Unavailable
from prompts.listing import routes_to
from prompts.soft_prompt import PromptCard
from prompts.store import PromptStore, StoreState
from serving.admission import Stopping
from serving.caller import NOBODY_ELSE, Caller
from serving.classifier import Classifier
from serving.config import ServingSettings
from serving.live import LiveBank
from serving.metrics import merge
from serving.replicas import Lookout
from serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    ModelAnswer,
    ModelsAnswer,
    PromptDetails,
    PromptRoute,
    PromptsAnswer,
    ReadyAnswer,
    ReplicaAnswer,
    RoutesAnswer,
)

DESCRIPTIONS_KEPT = 1024
"""Prompts whose cards are remembered: every publish brings a new one, and a server lives long."""


class ServedModel(Protocol):
    """One model, in this process or in another."""

    async def classify(
        self, request: ClassifyRequest, caller: Caller = NOBODY_ELSE
    ) -> ClassifyResponse:
        """Answer one request; raises IsoglossError."""
        ...

    async def describe(self) -> ModelAnswer:
        """Tell what the model is."""
        ...


class Service:
    """The default model in this process, the others behind their handles, and their store."""

    def __init__(
        self,
        classifier: Classifier,
        others: Mapping[str, ServedModel],
        store: PromptStore,
        lookout: Lookout,
        settings: ServingSettings,
    ) -> None:
        self.classifier = classifier
        self.store = store
        self.lookout = lookout
        self.settings = settings
        self.metrics = classifier.metrics
        self.live: LiveBank = classifier.bank
        self._models: dict[str, ServedModel] = {settings.default_model: classifier, **others}
        self._descriptions: dict[str, ModelAnswer] = {}
        self._describe = functools.lru_cache(DESCRIPTIONS_KEPT)(self._read_description)

    async def classify(
        self, request: ClassifyRequest, caller: Caller = NOBODY_ELSE
    ) -> ClassifyResponse:
        """Answer a request with the model it names, or the default one.

        Raises:
            NotFound: this server has no such model; those it has are named.
            IsoglossError: as `Classifier.classify`.
        """
        name = request.model or self.settings.default_model
        if name not in self._models:
            raise NotFound(
                f"model: {name[:80]!r} is not served here; served are {', '.join(self._models)}"
            )
        return await self._models[name].classify(request, caller)

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

    async def prompts(self) -> PromptsAnswer:
        """List the current prompts of the served models."""
        served = {model.fingerprint for model in (await self.models()).models}
        state = self.live.current.state
        return await asyncio.to_thread(self._list_prompts, state, served)

    async def prompt(self, reference: str) -> PromptDetails:
        """Describe one prompt: `name`, or `name@version`.

        Raises:
            NotFound: there is none.
        """
        return await asyncio.to_thread(self._details, self.live.current.state, reference)

    async def prompt_file(self, reference: str) -> tuple[str, bytes]:
        """Return the digest and the bytes of one prompt's file.

        Raises:
            NotFound: there is none.
            StoreError: it cannot be read.
        """
        _, _, digest = self.live.current.state.resolve(reference)
        return digest, await asyncio.to_thread(self.store.read_bytes, digest)

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
        reports = await asyncio.to_thread(self.lookout.board.reports)
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
        try:
            reports = await asyncio.to_thread(self.lookout.board.reports)
        except Unavailable:  # then at least one's own: numbers are wanted most when things fail
            reports = []
        numbers = {(report.model, report.replica): report.metrics for report in reports}
        own = self.lookout.report()
        return merge({**numbers, (own.model, own.replica): own.metrics})

    def forget_prompts(self) -> None:
        """Let go of what was read of prompt files, for some were deleted."""
        self._describe.cache_clear()

    def _list_prompts(self, state: StoreState, served: set[str]) -> PromptsAnswer:
        current = [name for name, entry in state.prompts.items() if entry.current is not None]
        details = [self._details(state, name) for name in sorted(current)]
        return PromptsAnswer(
            generation=state.generation,
            generation_digest=state.identity.digest,
            prompts=[d for d in details if d.card is None or d.card.model.fingerprint in served],
        )

    def _details(self, state: StoreState, reference: str) -> PromptDetails:
        name, number, digest = state.resolve(reference)
        entry = state.prompts[name]
        version = next(own for own in entry.versions if own.version == number)
        length, card, problem = None, None, None
        try:
            length, card = self._describe(digest)
        except IsoglossError as unreadable:
            problem = str(unreadable)
        return PromptDetails(
            name=name,
            version=number,
            digest=digest,
            published_at=version.published_at,
            versions=[each.version for each in entry.versions],
            length=length,
            routes=[PromptRoute(**route) for route in routes_to(state, digest)],
            card=card,
            problem=problem,
        )

    def _read_description(self, digest: str) -> tuple[int, PromptCard]:
        """Read a prompt's length and card; raises IsoglossError where it cannot be read."""
        prompt = self.store.read(digest)
        return prompt.length, prompt.card
