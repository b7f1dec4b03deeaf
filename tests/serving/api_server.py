"""The HTTP routes over a fake model in this process, as one replica has them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from isogloss.prompts.store.store import PromptStore
from isogloss.serving.http.keys import ApiKeys
from tests.fakes import fake_classifier, fake_settings, fake_store, http_client

TOKEN = "open sesame"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


class Server:
    """Runs scenarios against the routes over a fresh store."""

    def __init__(self, folder: Path) -> None:
        self.store: PromptStore = fake_store(folder / "store")

    @contextlib.asynccontextmanager
    async def client(
        self, token: str | None = TOKEN, keys: ApiKeys | None = None, **changes: object
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the routes, with these settings changed."""
        settings = fake_settings(self.store.root, **changes)
        classifier = fake_classifier(settings)
        async with http_client(classifier, self.store, settings, token, keys=keys) as client:
            yield client

    def __call__(
        self,
        scenario: Scenario,
        token: str | None = TOKEN,
        keys: ApiKeys | None = None,
        **changes: object,
    ) -> None:
        async def run() -> None:
            async with self.client(token, keys, **changes) as client:
                await scenario(client)

        asyncio.run(run())


async def ask(client: httpx.AsyncClient, **request: Any) -> dict[str, Any]:
    answer = await client.post("/v1/classify", json=request)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
