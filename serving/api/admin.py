"""Changing what is served: publish to the store, then wait until every replica has it.

A request whose answer was lost is asked again, by whoever made it or by what stands in front of us,
of another replica and maybe after others' changes. Under the id it bears it is therefore made once,
and answered again with what it made (see `prompts.store.change_records`).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial

from pydantic import SecretStr

from isogloss.prompts.errors import InvalidPrompt, NotFound, Unauthorized, Unavailable
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt, read_prompt
from isogloss.prompts.routing.routes import RouteTable, check_name
from isogloss.prompts.store.collect import free_deleted
from isogloss.prompts.store.listing import versions_of
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.serving.api.trial_query import TrialQuery
from isogloss.serving.config import ADMIN_TOKEN_VARIABLE
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.admission import Stopping
from isogloss.serving.registry.rollout import wait_until_served
from isogloss.serving.registry.store_calls import StoreCalls, StoreSilent
from isogloss.serving.schemas import ModelAnswer, PromptAnswer, SwapAnswer

Given = bytes | tuple[str, ...]
"""A prompt file, or references of stored prompts that are to answer together."""

_MOST_CHANGES = 8
"""At a time; each waits until every replica serves it."""


class Admin:
    """The admin routes' work. Each answers with a generation that every replica serves."""

    def __init__(self, service: Service, token: SecretStr | None) -> None:
        self._service = service
        self._store = copy(service.store)
        self._store.guard = self._vet
        self._token = token
        self._calls = StoreCalls("isogloss-admin", most_threads=_MOST_CHANGES)
        self._loop: asyncio.AbstractEventLoop | None = None

    def authorize(self, header: str | None) -> None:
        """Require `Bearer <token>`, compared in constant time.

        Raises:
            Unauthorized: it is missing or wrong, or this server has no token.
        """
        if self._token is None:
            raise Unauthorized(
                "admin routes are off, for this server has no token; set "
                f"{ADMIN_TOKEN_VARIABLE} in its environment and restart it"
            )
        scheme, _, given = (header or "").partition(" ")
        expected = self._token.get_secret_value().encode()
        right = hmac.compare_digest(given.strip().encode(), expected)
        if scheme.lower() != "bearer" or not right:
            raise Unauthorized(
                "the admin token is missing or wrong; send the header "
                f"'Authorization: Bearer ${ADMIN_TOKEN_VARIABLE}'"
            )

    async def publish_prompt(self, name: str, given: Given, request_id: str | None) -> SwapAnswer:
        """Publish a prompt file, or an ensemble, as the current version of a name.

        Raises:
            InvalidInput: the name is malformed, or the request id stands for another change.
            InvalidPrompt: the file is broken, or fits no model that is served here.
            StoreError: the store cannot be written.
            Unavailable: published, but a replica does not serve it in time.
        """
        check_name(name)
        models = (await self._service.models()).models

        def publish() -> SwapAnswer:
            prompt = _fitting(given, self._store, models)
            note = _noted("published", request_id)
            state = self._store.publish({name: prompt}, (), note, request_id=request_id)
            return self._settled(state, request_id, {name: prompt.digest})

        return await self._change(publish)

    async def begin_trial(
        self, name: str, given: Given, wanted: TrialQuery, request_id: str | None
    ) -> SwapAnswer:
        """Put a prompt file, or an ensemble, on trial, as a version of a name.

        Raises:
            InvalidInput: the name is malformed, or the trial is of no route, or of one that has
                another, or the request id stands for another change.
            InvalidPrompt: the file is broken, or fits no model that is served here.
            StoreError: the store cannot be written.
            Unavailable: begun, but a replica does not serve it in time.
        """
        check_name(name)
        models = (await self._service.models()).models

        def begin() -> SwapAnswer:
            assert wanted.kind is not None
            prompt = _fitting(given, self._store, models)
            state = self._store.begin_trial(
                name,
                prompt,
                kind=wanted.kind,
                share=wanted.part,
                clades=wanted.route,
                limits=wanted.limits,
                note=_noted(f"{wanted.kind} begun", request_id),
                request_id=request_id,
            )
            return self._settled(state, request_id, {name: prompt.digest})

        return await self._change(begin)

    async def promote(self, name: str, request_id: str | None) -> SwapAnswer:
        """End a trial: its candidate answers from now on.

        Raises:
            InvalidInput: the request id stands for another change.
            NotFound: the name is not on trial.
            StoreError: the store cannot be written.
            Unavailable: promoted, but a replica does not serve it in time.
        """
        note = _noted("promoted", request_id)
        change = partial(self._store.promote, name, note, request_id=request_id)
        return await self._change(lambda: self._settled(change(), request_id))

    async def end_trial(self, name: str, request_id: str | None) -> SwapAnswer:
        """End a trial without its candidate.

        Raises:
            InvalidInput: the request id stands for another change.
            NotFound: the name is not on trial.
            StoreError: the store cannot be written.
            Unavailable: ended, but a replica does not know in time.
        """
        note = _noted("trial ended", request_id)
        change = partial(self._store.end_trial, name, note, request_id=request_id)
        return await self._change(lambda: self._settled(change(), request_id))

    async def publish_routes(
        self, tables: Sequence[RouteTable], request_id: str | None
    ) -> SwapAnswer:
        """Publish route tables; each replaces that of its model and task.

        Raises:
            InvalidPrompt: a table is for no model served here, or its prompts do not fit it.
            StoreError: the store cannot be written.
            Unavailable: published, but a replica does not serve it in time.
        """
        served = {m.fingerprint: m.name for m in (await self._service.models()).models}
        for table in tables:
            if table.model.fingerprint not in served:
                raise InvalidPrompt(
                    f"routes: a table is for model {table.model.id} ({table.model.fingerprint}), "
                    f"which is not served here; served are {', '.join(served.values())}"
                )
        note = _noted("published", request_id)
        change = partial(self._store.publish, {}, tables, note, request_id=request_id)
        return await self._change(lambda: self._settled(change(), request_id))

    async def rollback(self, to: int | None, request_id: str | None) -> SwapAnswer:
        """Bring an earlier generation's content back, as a new generation.

        Raises:
            InvalidInput: the request id stands for another change.
            NotFound: there is no such generation.
            StoreError: the store cannot be written.
            Unavailable: published, but a replica does not serve it in time.
        """
        note = _noted("rolled back", request_id)
        change = partial(self._store.rollback, to, note, request_id=request_id)
        return await self._change(lambda: self._settled(change(), request_id))

    async def delete_prompt(self, name: str, request_id: str | None) -> SwapAnswer:
        """Delete a prompt in all versions: its files, and what replicas hold of them.

        Raises:
            NotFound: there is no such prompt.
            InvalidInput: the name is malformed, a route chooses the prompt, or the request id
                stands for another change.
            StoreError: the store cannot be written.
            Unavailable: deleted, but a replica does not know in time; its files stay until the
                store is collected.
        """

        def delete() -> SwapAnswer:
            state = self._store.delete(name, _noted("deleted", request_id), request_id=request_id)
            answer = self._settled(state, request_id)
            free_deleted(self._store)
            self._service.forget_prompts()
            return answer

        return await self._change(delete)

    async def _change(self, work: Callable[[], SwapAnswer]) -> SwapAnswer:
        """Change the store where it may hang without keeping anything else from going on."""
        self._loop = asyncio.get_running_loop()
        timeout_s = self._service.settings.request_timeout_s
        try:
            return await self._calls.call(object(), work, timeout_s)
        except StoreSilent as silent:
            raise Unavailable(
                f"{silent}; whether the change was made is not known, and it may still be: look at "
                "GET /v1/prompts before you ask again"
            ) from silent

    def _vet(self, before: StoreState, following: StoreState, given: Mapping[str, Prompt]) -> None:
        """Have the models try what a change brings, from the thread that is about to make it."""
        assert self._loop is not None
        vetting = self._service.vet(before, following, given)
        try:
            asked = asyncio.run_coroutine_threadsafe(vetting, self._loop)
        except RuntimeError as closed:
            vetting.close()
            raise Stopping("this replica has stopped, and nothing was changed") from closed
        try:
            asked.result(self._service.settings.request_timeout_s)
        except TimeoutError:
            asked.cancel()
            raise Unavailable(
                "the prompts could not be tried in time, and nothing was changed; try again"
            ) from None

    def _settled(
        self, state: StoreState, request_id: str | None, digests: Mapping[str, str] | None = None
    ) -> SwapAnswer:
        """Wait until every replica serves what a request made, now or when it came first."""
        made = self._made_by(state, request_id)
        limit_s = self._service.settings.swap_timeout_s
        wait_until_served(self._store, self._service.reporter, made or state.identity, limit_s)
        prompts = versions_of(state, digests or {})
        return SwapAnswer(
            generation=state.generation_of(request_id),
            generation_digest=made.digest if made else None,
            prompt=PromptAnswer(**prompts[0]) if prompts else None,
        )

    def _made_by(self, state: StoreState, request_id: str | None) -> GenerationId | None:
        """The generation that a request made; None where that was collected since."""
        number = state.generation_of(request_id)
        if number == state.generation:
            return state.identity
        try:
            return self._store.generations.identity(number)
        except NotFound:
            return None


def _fitting(given: Given, store: PromptStore, models: Sequence[ModelAnswer]) -> Prompt:
    """Read a prompt file, or put members together; InvalidPrompt where it fits no model."""
    if isinstance(given, bytes):
        prompt = read_prompt(given)
    else:
        prompt = Ensemble.of([store.member(reference) for reference in given])
    fitting = [model for model in models if model.fingerprint == prompt.card.model.fingerprint]
    prompt.check_fits((fitting or models)[0])
    prompt.check_served()
    return prompt


def _noted(done: str, request_id: str | None) -> str:
    return f"{done} over HTTP" + (f" ({request_id})" if request_id else "")
