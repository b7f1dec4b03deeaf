"""Operating-system calls that fail, or kill the process, at a chosen call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

WATCHED = ("open", "write", "fsync", "close", "replace", "link", "unlink", "mkdir")


class FailingDisk:
    """Stands in for `os` in `prompts.files.durable`: `fail` happens in place of call number `at`.

    A write that fails has written half of its bytes. With `after`, it happens behind the call.
    """

    def __init__(self, at: int, fail: Callable[[], None], *, after: bool = False) -> None:
        self.calls: list[tuple[str, str]] = []
        self._at = at
        self._fail = fail
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._watched(name, real) if name in WATCHED else real

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, str(arguments[0])))
            if len(self.calls) != self._at:
                return real(*arguments)
            if self._after:
                result = real(*arguments)
                self._fail()
                return result
            if name == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            if name == "close":
                real(*arguments)  # a failing close still gives the descriptor back
            self._fail()
            raise AssertionError("`fail` must not return before a call")

        return call
