"""Replicas of the fake model on one store, each polling it as a server's does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from isogloss.prompts.store.store import PromptStore
from isogloss.serving.registry.registry import Poller, Registry
from isogloss.serving.registry.replicas import Board, Reporter
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import MODEL, FakeBackbone


class Clock:
    """Goes on when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def registry_of(store: PromptStore, clock: Clock | None = None) -> Registry:
    """What a replica that starts now serves."""
    return Registry(
        PromptStore.open(store.root), FakeBackbone(), ServingMetrics(), clock or Clock()
    )


@contextlib.contextmanager
def polling(name: str, live: Registry, board: Board) -> Iterator[Reporter]:
    """A replica that polls its store all the time, while open."""
    reporter = Reporter(name, MODEL, live, ServingMetrics(), board)
    reporter.join()
    watch = Poller(reporter.poll, 0.01)
    try:
        yield reporter
    finally:
        watch.close()
