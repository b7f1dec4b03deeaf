"""What the queues of tests hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Waiting:
    name: str
    cost: int
    abandoned: bool = False
    flow: str = ""
    arrived_s: float = 0.0
    waits: bool = False
