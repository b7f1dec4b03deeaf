"""Loops of tests that are about something: a loop over nothing asserts nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def some(items: Iterable[Item]) -> list[Item]:
    """The items as a list, of which there must be at least one."""
    listed = list(items)
    assert listed, "nothing to look at"
    return listed
