"""What a check finds, in one sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isogloss.serving.config import ServingSettings

Level = Literal["ok", "warn", "fail"]
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked at."""

    settings: ServingSettings


def ok(check: str, said: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", said)


def warn(check: str, said: str, remedy: str) -> Finding:
    """A server starts, and something of it will be missing or slow."""
    return Finding(check, "warn", said, remedy)


def fail(check: str, said: str, remedy: str) -> Finding:
    """A server does not start, or does not answer; or nobody knows in time."""
    return Finding(check, "fail", said, remedy)


def gib(size: float) -> str:
    """Bytes for a person."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):.0f} MiB"
