"""From rounds of measurements to the report of `bench http`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isogloss.deploy.bench.comparing import spread
from isogloss.deploy.bench.http_load import Load
from isogloss.deploy.bench.http_servers import CONTENDERS, OURS, RAY_SERVE, Batches
from isogloss.deploy.bench.http_workload import HttpWorkload

_BUSY = 32  # connections at which rates are compared


@dataclass(frozen=True, slots=True)
class Level:
    """One contender at one concurrency."""

    load: Load
    reached: Batches
    """What it did in that time."""


@dataclass(slots=True)
class Round:
    """All contenders once, one after the other."""

    levels: dict[str, dict[int, Level]] = field(default_factory=dict)
    """Contender -> concurrency -> what was measured."""
    seconds_to_ready: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int | None] = field(default_factory=dict)
    answers: list[dict[str, float]] = field(default_factory=list)
    """Ours, which the peers' are compared with."""
    differences: dict[str, float] = field(default_factory=dict)
    engine: dict[int, float] = field(default_factory=dict)
    """Concurrency -> texts a second of the engine alone at the batch sizes reached there."""


def model_result(work: HttpWorkload, rounds: Sequence[Round]) -> dict[str, Any]:
    """One model's part of the report."""
    return {
        "model": work.model,
        "tokens_per_text": round(work.tokens_per_text, 1),
        "servers": {each.name: _server(each.name, rounds) for each in CONTENDERS},
        "largest_differences": {
            name: max(round_.differences[name] for round_ in rounds)
            for name in rounds[0].differences
        },
        "levels": [
            _level(connections, work, rounds) for connections in rounds[0].levels[OURS.name]
        ],
    }


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """The contract's: at 32 connections (else the most there are) and at the fewest."""
    levels = {level["concurrency"]: level for level in result["levels"]}
    busy, calm = levels.get(_BUSY, levels[max(levels)]), levels[min(levels)]
    peer = RAY_SERVE.name
    return {
        "requests_vs_ray_serve": busy["ratios"][peer]["requests"]["median"],
        "p50_vs_ray_serve": calm["ratios"][peer]["p50"]["median"],
        "share_of_engine": busy["share_of_engine"]["median"],
    }


def _server(name: str, rounds: Sequence[Round]) -> dict[str, Any]:
    peaks = [round_.peak_memory_bytes[name] for round_ in rounds]
    known = [peak for peak in peaks if peak is not None]
    return {
        "peak_memory_bytes": max(known) if known else None,
        "seconds_to_ready": statistics.median(round_.seconds_to_ready[name] for round_ in rounds),
    }


def _level(connections: int, work: HttpWorkload, rounds: Sequence[Round]) -> dict[str, Any]:
    measured = {
        each.name: [round_.levels[each.name][connections] for round_ in rounds]
        for each in CONTENDERS
    }
    ours = measured[OURS.name]
    shares = [
        level.load.requests_per_s / round_.engine[connections]
        for level, round_ in zip(ours, rounds, strict=True)
        if connections in round_.engine
    ]
    return {
        "concurrency": connections,
        "contenders": {name: _contender(levels, work) for name, levels in measured.items()},
        "ratios": {
            name: _against(ours, levels) for name, levels in measured.items() if name != OURS.name
        },
        "engine_texts_per_s": spread([round_.engine[connections] for round_ in rounds]),
        "share_of_engine": spread(shares),
    }


def _contender(levels: Sequence[Level], work: HttpWorkload) -> dict[str, Any]:
    rates = [level.load.requests_per_s for level in levels]
    means = [level.reached.mean for level in levels]
    batches = [mean for mean in means if mean is not None]
    return {
        "requests": sum(level.load.replies for level in levels),
        "errors": sum(level.load.refused + level.load.broken for level in levels),
        "requests_per_s": spread(rates),
        "texts_per_s": spread(rates),  # each request has one text
        "tokens_per_s": spread([rate * work.tokens_per_text for rate in rates]),
        "p50_ms": spread([level.load.p50_ms for level in levels]),
        "p95_ms": spread([level.load.p95_ms for level in levels]),
        "p99_ms": spread([level.load.p99_ms for level in levels]),
        "texts_per_batch": spread(batches) if batches else None,
    }


def _against(ours: Sequence[Level], theirs: Sequence[Level]) -> dict[str, dict[str, float]]:
    """Ours over theirs, round by round."""
    pairs = [(a.load, b.load) for a, b in zip(ours, theirs, strict=True)]
    return {
        "requests": spread([a.requests_per_s / b.requests_per_s for a, b in pairs]),
        "p50": spread([a.p50_ms / b.p50_ms for a, b in pairs]),
    }
