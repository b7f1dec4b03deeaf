"""Changing what is served: publish to the store, then wait until every replica has it."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence

from pydantic import SecretStr

from prompts import collecting
from prompts.errors import InvalidPrompt, Unauthorized, Unavailable
from prompts.routes import RouteTable, check_name
from prompts.soft_prompt import SoftPrompt
from prompts.store import StoreState
from serving.config import ADMIN_TOKEN_VARIABLE
from serving.replicas import lagging
from serving.schemas import ModelAnswer, PromptAnswer, SwapAnswer
from serving.service import Service

_LOOK_INTERVAL_S = 0.01
_NOTE = "published over HTTP"


class Admin:
    """The admin routes' work. Each answers with a generation that every replica serves."""

    def __init__(self, service: Service, token: SecretStr | None) -> None:
        self._service = service
        self._store = service.store
        self._token = token

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
        return await asyncio.to_thread(self._publish_prompt, name, data, models)

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
        return await asyncio.to_thread(lambda: self._settle(self._store.publish({}, tables, _NOTE)))

    async def rollback(self, to: int | None, request_id: str) -> SwapAnswer:
        """Bring an earlier generation's content back, as a new generation.

        Asked again under the same request id, as is done where the replica that was asked first
        died, it is done once.

        Raises:
            NotFound: there is no such generation.
            StoreError: the store cannot be written.
            Unavailable: published, but a replica does not serve it in time.
        """
        return await asyncio.to_thread(self._rollback, to, f"rolled back over HTTP ({request_id})")

    async def delete_prompt(self, name: str) -> SwapAnswer:
        """Delete a prompt in all versions: its files, and what replicas hold of them.

        Raises:
            NotFound: there is no such prompt.
            InvalidInput: the name is malformed, or a route chooses the prompt.
            StoreError: the store cannot be written.
            Unavailable: deleted, but a replica does not know in time; its files stay until the
                store is collected.
        """
        return await asyncio.to_thread(self._delete_prompt, name)

    def _rollback(self, to: int | None, note: str) -> SwapAnswer:
        newest = self._store.state()
        done = newest.restores is not None and newest.note == note
        return self._settle(newest if done else self._store.rollback(to, note))

    def _delete_prompt(self, name: str) -> SwapAnswer:
        answer = self._settle(self._store.delete(name, "deleted over HTTP"))
        collecting.free_deleted(self._store)
        self._service.forget_prompts()
        return answer

    def _publish_prompt(self, name: str, data: bytes, models: Sequence[ModelAnswer]) -> SwapAnswer:
        prompt = SoftPrompt.from_bytes(data)
        own = [model for model in models if model.fingerprint == prompt.card.model.fingerprint]
        prompt.check_fits((own or models)[0])
        state = self._store.publish({name: prompt}, (), _NOTE)
        _, version, digest = state.resolve(name)
        answer = PromptAnswer(name=name, version=version, digest=digest)
        return self._settle(state).model_copy(update={"prompt": answer})

    def _settle(self, state: StoreState) -> SwapAnswer:
        """Wait until every replica serves this generation, or a newer one."""
        lookout, timeout_s = self._service.lookout, self._service.settings.swap_timeout_s
        lookout.look()
        give_up_s = time.monotonic() + timeout_s
        while behind := self._behind(state.generation):
            if time.monotonic() > give_up_s:
                raise Unavailable(
                    f"generation {state.generation} is published, but after {timeout_s:g} s "
                    f"{'; '.join(behind)}; the others serve it; look at its log, or roll back"
                )
            time.sleep(_LOOK_INTERVAL_S)
        return SwapAnswer(generation=state.generation)

    def _behind(self, generation: int) -> list[str]:
        """Who does not serve a generation yet, as far as the board tells."""
        try:
            return lagging(self._service.lookout.board.reports(), generation)
        except Unavailable as silent:
            return [str(silent)]
