"""The same client for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar, Unpack, overload

import httpx

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.routing.routes import RouteTable
from isogloss.serving.client import asks, exchange
from isogloss.serving.client.answering import (
    Answered,
    ClassifyOptions,
    Outcome,
    answering,
    drive_async,
    named,
    request_of,
)
from isogloss.serving.client.asks import Ask, PromptFile, TrialOptions
from isogloss.serving.client.batches import batches, bytes_of
from isogloss.serving.client.in_order import in_order_async
from isogloss.serving.client.replies import Passing, unreachable
from isogloss.serving.client.retries import Clock
from isogloss.serving.client.target import target
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    LanguagesAnswer,
    ModelsAnswer,
    PromptDetails,
    PromptsAnswer,
    ReadyAnswer,
    Result,
    RoutesAnswer,
    SwapAnswer,
)
from isogloss.serving.trials.answers import TrialsAnswer

Answer = TypeVar("Answer")


class AsyncClient:
    """Asks a server from an event loop; an asynchronous context that closes its connections.

    Every call raises the errors of `isogloss.prompts.errors`, with the server's sentence; where no
    server answers, `Unavailable`. What may be over in a moment (429, 503, a lost connection) is
    tried again, after the time that `Retry-After` names or after longer and longer pauses, and
    never for longer than `timeout_s`.

    Args:
        url: of the server; None: $ISOGLOSS_URL, or this machine's port 8000.
        api_key: sent as `x-api-key`, which tells clients apart; None: $ISOGLOSS_CLIENT_KEY.
        admin_token: that changes need; None: $ISOGLOSS_ADMIN_TOKEN.
        timeout_s: of one call, or of each request where a call takes several.
        retries: after a first attempt.
        concurrency: requests at a time, where a call takes several.
        transport: what httpx sends with.
        clock, sleep: of the pauses.

    Raises:
        InvalidInput: the address is none, or a number is out of range.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        admin_token: str | None = None,
        timeout_s: float = 100.0,
        retries: int = 5,
        concurrency: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.target = target(url, api_key, admin_token, timeout_s, retries, concurrency)
        self._http = httpx.AsyncClient(transport=transport, **exchange.connection(self.target))
        self._clock = clock or Clock()
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @overload  # a text is an iterable of texts, too: the first that fits counts
    async def classify(  # type: ignore[overload-overlap]
        self, inputs: str, **options: Unpack[ClassifyOptions]
    ) -> Result: ...

    @overload
    async def classify(
        self, inputs: Iterable[str], **options: Unpack[ClassifyOptions]
    ) -> list[Result]: ...

    async def classify(
        self, inputs: str | Iterable[str], **options: Unpack[ClassifyOptions]
    ) -> Result | list[Result]:
        """Classify a text, or any number of them.

        Args:
            inputs: a text, or texts.
            options: `model`, `task`, `language`, `languages`, `prompt`, `top_k`, `abstain`, as in
                HTTP.

        Returns:
            The text's result, or a list of results in the order of the texts.
        """
        if isinstance(inputs, str):
            return (await self.ask(request_of(inputs, options))).results[0]
        return [result async for result in self.classify_stream(inputs, **options)]

    async def classify_stream(
        self,
        texts: Iterable[str],
        progress: Callable[[int], object] | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[Result, None]:
        """Yield results of any number of texts, in their order, while later ones are on their way.

        Args:
            texts: taken as they are needed, some requests ahead.
            progress: is told how many texts have their results.
            options: as those of `classify`.

        Raises:
            IsoglossError: a text cannot be answered; it is named by its index.
        """
        async with aclosing(self.classify_each(texts, progress, **options)) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, IsoglossError):
                    raise outcome
                yield outcome

    async def classify_each(
        self,
        texts: Iterable[str],
        progress: Callable[[int], object] | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[Outcome, None]:
        """As `classify_stream`, but a text that cannot be answered has its error in its place."""

        async def answered(texts: Sequence[str]) -> Answered:
            return await drive_async(answering(texts, options), self.ask)

        most, done = self.target.concurrency, 0
        batched = batches(texts, bytes_of)
        async with aclosing(in_order_async(batched, answered, most)) as found:
            async for each in found:
                for index, outcome in enumerate(each.outcomes, start=done):
                    if isinstance(outcome, IsoglossError):
                        yield named(outcome, f"inputs[{index}]")
                    else:
                        yield outcome
                done += len(each.outcomes)
                if progress is not None:
                    progress(done)

    async def ask(self, request: ClassifyRequest) -> ClassifyResponse:
        """Answer one request of up to 256 texts, as `POST /v1/classify` does."""
        return await self._send(asks.classify(request))

    async def health(self) -> bool:
        """Tell that the server is alive; never tried again."""
        return await self._send(asks.health())

    async def ready(self) -> ReadyAnswer:
        """Tell what every replica serves; `Unavailable` where one is missing. Never tried again."""
        return await self._send(asks.of_model("/ready", ReadyAnswer, at_once=True))

    async def models(self) -> ModelsAnswer:
        """List the served models."""
        return await self._send(asks.of_model("/v1/models", ModelsAnswer))

    async def prompts(self) -> PromptsAnswer:
        """List the current prompts."""
        return await self._send(asks.of_model("/v1/prompts", PromptsAnswer))

    async def prompt(self, name: str) -> PromptDetails:
        """Describe a prompt, `name` or `name@version`."""
        return await self._send(asks.of_model(asks.prompt_path(name), PromptDetails))

    async def prompt_file(self, name: str) -> bytes:
        """Return a prompt's safetensors file."""
        return await self._send(asks.prompt_file(name))

    async def routes(self) -> RoutesAnswer:
        """List the route tables."""
        return await self._send(asks.of_model("/v1/routes", RoutesAnswer))

    async def languages(self) -> LanguagesAnswer:
        """List the languages that a request may name."""
        return await self._send(asks.of_model("/v1/languages", LanguagesAnswer))

    async def trials(self) -> TrialsAnswer:
        """Tell how the candidates on trial do."""
        return await self._send(asks.of_model("/v1/trials", TrialsAnswer))

    async def publish(
        self,
        name: str,
        prompt: PromptFile | Sequence[str],
        *,
        request_id: str | None = None,
        **trial: Unpack[TrialOptions],
    ) -> SwapAnswer:
        """Publish a prompt, or try it on part of the traffic.

        Args:
            name: that it gets.
            prompt: a file's bytes or path, or a list of stored prompts that answer together.
            request_id: under which the change is made once; None: a new one.
            trial: `canary` or `shadow`, and what goes with them; none: no trial.
        """
        return await self._send(asks.publish(name, prompt, request_id, trial))

    async def publish_routes(
        self, routes: RoutesAnswer | Iterable[RouteTable], *, request_id: str | None = None
    ) -> SwapAnswer:
        """Publish route tables, such as those that `routes` answers with."""
        return await self._send(asks.publish_routes(routes, request_id))

    async def rollback(
        self, to: int | None = None, *, trial: str | None = None, request_id: str | None = None
    ) -> SwapAnswer:
        """Bring back a generation's content (None: the one before), or end a trial."""
        return await self._send(asks.rollback(to, trial, request_id))

    async def promote(self, trial: str, *, request_id: str | None = None) -> SwapAnswer:
        """End a trial: its candidate answers from now on."""
        return await self._send(asks.promote(trial, request_id))

    async def delete(self, name: str, *, request_id: str | None = None) -> SwapAnswer:
        """Delete a prompt that no route chooses, in all versions."""
        return await self._send(asks.delete(name, request_id))

    async def _send(self, ask: Ask[Answer]) -> Answer:
        attempts = exchange.attempts(self.target, ask, self._clock)
        while True:
            try:
                return await self._attempt(ask, attempts.left_s)
            except Passing as failed:
                await self._sleep(attempts.pause_s(failed))

    async def _attempt(self, ask: Ask[Answer], left_s: float) -> Answer:
        sent = exchange.request(self.target, ask, left_s)
        try:
            async with asyncio.timeout(left_s):  # httpx limits the wait for each piece only
                reply = await self._http.request(**sent)
        except TimeoutError as error:
            raise exchange.too_late(self.target) from error
        except httpx.TransportError as error:
            raise unreachable(self.target.shown_url, error) from error
        return exchange.answer(self.target, ask, reply, reply.content)
