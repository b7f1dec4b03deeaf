"""What tests of the benchmarks share."""

from typing import Any

import pytest
import torch


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How torch was asked to compile, which takes minutes; modules stay as they are."""
    asked: list[dict[str, Any]] = []

    def same(module: Any, **how: Any) -> Any:
        asked.append(how)
        return module

    monkeypatch.setattr(torch, "compile", same)
    return asked
