"""What tests of stores share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from isogloss.prompts.store.remote import RemoteFolder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that were asked for something, one entry per request."""
    asked: list[str] = []
    call = RemoteFolder._call

    def counted(folder: RemoteFolder, work: Callable[[], Any]) -> Any:
        asked.append(folder.location.rpartition("/")[2])
        return call(folder, work)

    monkeypatch.setattr(RemoteFolder, "_call", counted)
    return asked
