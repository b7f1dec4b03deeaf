"""Changing what is served: publish to the store, then wait until every replica has it."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

from pydantic import SecretStr

from prompts import collecting
from prompts.errors import InvalidPrompt, Unauthorized, Unavailable
from prompts.routes import RouteTable, check_name
from prompts.soft_prompt import SoftPrompt
from prompts.store import StoreState
from serving.admission import Stopping
from serving.config import ADMIN_TOKEN_VARIABLE
from serving.schemas import ModelAnswer, PromptAnswer, SwapAnswer
from serving.service import Service
from serving.store_calls import StoreCalls, StoreSilent
from serving.trials.query import TrialQuery

_LOOK_INTERVAL_S = 0.1
_NOTE = "published over HTTP"
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

    async def publish_prompt(self, name: str, data: bytes) -> SwapAnswer:
        """Publish a prompt file as the current version of a name.

        Raises:
            InvalidInput: the name is malformed.
            InvalidPrompt: the file is broken, or fits no model that is served here.
            StoreError: the store cannot be written.
            Unavailable: published, but a replica does not serve it in time.
        """
        check_name(name)
        models = (await self._service.models()).models
        return await self._change(self._publish_prompt, name, data, models)

    async def begin_trial(self, name: str, data: bytes, wanted: TrialQuery) -> SwapAnswer:
        """Put a prompt file on trial, as a version of a name.

        Raises:
            InvalidInput: the name is malformed, or the trial is of no route, or of one that has
                another.
            InvalidPrompt: the file is broken, or fits no model that is served here.
            StoreError: the store cannot be written.
            Unavailable: begun, but a replica does not serve it in time.
        """
        check_name(name)
        models = (await self._service.models()).models
        return await self._change(self._begin_trial, name, data, wanted, models)

    async def promote(self, name: str, request_id: str) -> SwapAnswer:
        """End a trial: its candidate answers from now on. Asked again, it is done once.

        Raises:
            NotFound: the name is not on trial.
            StoreError: the store cannot be written.
            Unavailable: promoted, but a replica does not serve it in time.
        """
        note = f"promoted over HTTP ({request_id})"
        return await self._change(self._once, note, partial(self._store.promote, name))

    async def end_trial(self, name: str, request_id: str) -> SwapAnswer:
        """End a trial without its candidate. Asked again, it is done once.

        Raises:
            NotFound: the name is not on trial.
            StoreError: the store cannot be written.
            Unavailable: ended, but a replica does not know in time.
        """
        note = f"trial ended over HTTP ({request_id})"
        return await self._change(self._once, note, partial(self._store.end_trial, name))

    async def _change(self, work: Callable[..., SwapAnswer], *arguments: Any) -> SwapAnswer:
        """Change the store where it may hang without keeping anything else from going on."""
        self._loop = asyncio.get_running_loop()
        timeout_s = self._service.settings.request_timeout_s
        try:
            return await self._calls.call(object(), partial(work, *arguments), timeout_s)
        except StoreSilent as silent:
            raise Unavailable(
                f"{silent}; whether the change was made is not known, and it may still be: look at "
                "GET /v1/prompts before you ask again"
            ) from silent

    def _vet(
        self, before: StoreState, following: StoreState, given: Mapping[str, SoftPrompt]
    ) -> None:
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

    def _begin_trial(
        self, name: str, data: bytes, wanted: TrialQuery, models: Sequence[ModelAnswer]
    ) -> SwapAnswer:
        assert wanted.kind is not None
        state = self._store.begin_trial(
            name,
            _fitting(data, models),
            kind=wanted.kind,
            share=wanted.part,
            clades=wanted.route,
            limits=wanted.limits,
            note=f"{wanted.kind} begun over HTTP",
        )
        (reference,) = (trial.candidate for trial in state.trials if trial.name == name)
        return self._settle(state).model_copy(update={"prompt": _answer(state, reference)})

    def _once(self, note: str, change: Callable[[str], StoreState]) -> SwapAnswer:
        """Make a change, unless it is what the store has seen last."""
        newest = self._store.state()
        return self._settle(newest if newest.note == note else change(note))

    async def publish_routes(self, tables: Sequence[RouteTable]) -> SwapAnswer:
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
        return await self._change(lambda: self._settle(self._store.publish({}, tables, _NOTE)))

    async def rollback(self, to: int | None, request_id: str) -> SwapAnswer:
        """Bring an earlier generation's content back, as a new generation.

        Asked again under the same request id, as is done where the replica that was asked first
        died, it is done once.

        Raises:
            NotFound: there is no such generation.
            StoreError: the store cannot be written.
            Unavailable: published, but a replica does not serve it in time.
        """
        note = f"rolled back over HTTP ({request_id})"
        return await self._change(self._once, note, partial(self._store.rollback, to))

    async def delete_prompt(self, name: str) -> SwapAnswer:
        """Delete a prompt in all versions: its files, and what replicas hold of them.

        Raises:
            NotFound: there is no such prompt.
            InvalidInput: the name is malformed, or a route chooses the prompt.
            StoreError: the store cannot be written.
            Unavailable: deleted, but a replica does not know in time; its files stay until the
                store is collected.
        """
        return await self._change(self._delete_prompt, name)

    def _delete_prompt(self, name: str) -> SwapAnswer:
        answer = self._settle(self._store.delete(name, "deleted over HTTP"))
        collecting.free_deleted(self._store)
        self._service.forget_prompts()
        return answer

    def _publish_prompt(self, name: str, data: bytes, models: Sequence[ModelAnswer]) -> SwapAnswer:
        state = self._store.publish({name: _fitting(data, models)}, (), _NOTE)
        return self._settle(state).model_copy(update={"prompt": _answer(state, name)})

    def _settle(self, state: StoreState) -> SwapAnswer:
        """Wait until every replica serves this generation, or a newer one."""
        lookout, timeout_s = self._service.lookout, self._service.settings.swap_timeout_s
        lookout.look()
        give_up_s = time.monotonic() + timeout_s
        while behind := self._behind(state.generation, give_up_s - time.monotonic()):
            if time.monotonic() > give_up_s:
                raise Unavailable(
                    f"generation {state.generation} is published, but after {timeout_s:g} s "
                    f"{'; '.join(behind)}; the others serve it; look at its log, or roll back"
                )
        return SwapAnswer(generation=state.generation)

    def _behind(self, generation: int, wait_s: float) -> list[str]:
        """Who does not serve a generation after waiting for it, as far as the board tells."""
        try:
            return self._service.lookout.board.wait_for(generation, max(0.0, wait_s))
        except Unavailable as silent:
            time.sleep(_LOOK_INTERVAL_S)
            return [str(silent)]


def _fitting(data: bytes, models: Sequence[ModelAnswer]) -> SoftPrompt:
    """Read a prompt file; raises InvalidPrompt where it fits none of the models."""
    prompt = SoftPrompt.from_bytes(data)
    own = [model for model in models if model.fingerprint == prompt.card.model.fingerprint]
    prompt.check_fits((own or models)[0])
    return prompt


def _answer(state: StoreState, reference: str) -> PromptAnswer:
    name, version, digest = state.resolve(reference)
    return PromptAnswer(name=name, version=version, digest=digest)
