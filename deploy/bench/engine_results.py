"""From turns to what the report says: one result a point, and each model's ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.deploy.bench.agreement import Agreement
from isogloss.deploy.bench.contest import latencies, paired, spread
from isogloss.deploy.bench.curves import Contest, Entry, Point
from isogloss.deploy.bench.engine_settings import EngineSettings
from isogloss.deploy.bench.number_formats import SHORT
from isogloss.deploy.bench.turns import Turns

_GIGA = 1e9


def results_of(
    model: str, contest: Contest, turns: Sequence[Turns], agreed: Mapping[Turns, Agreement]
) -> list[dict[str, Any]]:
    """One result for each point of a contest, as JSON."""
    first, *_ = contest.points
    return [
        {"model": model, **_described(point), **_result(point, first, turns, agreed)}
        for point in contest.points
    ]


def _described(point: Point) -> dict[str, Any]:
    batch = point.batch(0)
    tokens = statistics.fmean(point.work.tokens(batch) for batch in point.batches)
    return {
        "curve": point.curve,
        "x": point.x,
        "texts": len(batch.texts),
        "prompts_per_text": batch.prompts_per_text,
        "resident_prompts": len(point.work.prompts),
        "tokens_per_batch": round(tokens, 1),
    }


def _result(
    point: Point, first: Point, turns: Sequence[Turns], agreed: Mapping[Turns, Agreement]
) -> dict[str, Any]:
    here = [t for t in turns if t.entry.point is point]
    ours, peers, rates = (
        {t.name: t for t in here if t.entry.player.kind == kind}
        for kind in ("ours", "peer", "rate")
    )
    before = {t.name: t for t in turns if t.entry.point is first and point is not first}
    return {
        "contenders": {name: _measured(t, turns) for name, t in {**ours, **peers}.items()},
        "ratios": {
            name: {f"vs_{peer}": _times(theirs, own) for peer, theirs in peers.items()}
            for name, own in ours.items()
        },
        "costs": {name: _times(own, before[name]) for name, own in ours.items() if name in before},
        "rates_gflop_per_s": {t.entry.player.precision: spread(_rates(t)) for t in rates.values()},
        "agreement": {t.name: agreed[t].shown() for t in here if t in agreed},
    }


def _times(one: Turns, other: Turns) -> dict[str, float]:
    """How many times the other's seconds one takes, round by round."""
    return paired([own_s / other_s for _, own_s, other_s in one.beside(other)])


def _rates(rate: Turns) -> list[float]:
    return [rate.entry.operations(r) / seconds / _GIGA for r, seconds in rate.kept().items()]


def _measured(own: Turns, turns: Sequence[Turns]) -> dict[str, Any]:
    point, kept = own.entry.point, own.kept()
    batches = {r: point.batch(r) for r in kept}
    rate = _rate_of(own, turns)
    return {
        "precision": own.entry.player.precision,
        "rounds": len(kept),
        "seconds": latencies(list(kept.values())),
        "texts_per_s": spread([len(batches[r].texts) / s for r, s in kept.items()]),
        "tokens_per_s": spread([point.work.tokens(batches[r]) / s for r, s in kept.items()]),
        "share_of_rate": rate and spread(_shares(own, rate)),
        "peak_memory_bytes": own.peak_bytes,
    }


def _rate_of(own: Turns, turns: Sequence[Turns]) -> Turns | None:
    """The rate in the same precision over as many rows, of the same contest."""
    wanted = f"rate_{own.entry.player.precision}"
    for other in turns:
        if other.name == wanted and _rows(other.entry) == _rows(own.entry):
            return other
    return None


def _shares(own: Turns, rate: Turns) -> list[float]:
    return [
        (own.entry.operations(r) / seconds) / (rate.entry.operations(r) / rate_s)
        for r, seconds, rate_s in own.beside(rate)
    ]


def _rows(entry: Entry) -> list[int]:
    return [entry.point.work.tokens(batch) for batch in entry.point.batches]


def headline(
    results: Sequence[Mapping[str, Any]], settings: EngineSettings
) -> dict[str, dict[str, float]]:
    """Each model's ratios: the contract's names, and the same of other precisions."""
    return {model: _ratios(results, model, settings) for model in settings.models}


def _ratios(
    results: Sequence[Mapping[str, Any]], model: str, settings: EngineSettings
) -> dict[str, float]:
    at = {(r["curve"], r["x"]): r for r in results if r["model"] == model}
    found: dict[str, float] = {}
    if main := at.get(("batch_size", settings.headline_batch)):
        for name, ratios in main["ratios"].items():
            own = main["contenders"][name]
            found |= {f"{own['precision']}_{key}": r["median"] for key, r in ratios.items()}
            found[f"{own['precision']}_share_of_rate"] = own["share_of_rate"]["median"]
    first = f"isogloss_{SHORT[settings.dtypes[0]]}"
    for name, (curve, x) in _costs(settings).items():
        if result := at.get((curve, x)):
            found[name] = result["costs"][first]["median"]
    return found


def _costs(settings: EngineSettings) -> dict[str, tuple[str, int]]:
    """Names of costs and where they are measured; a curve of one place has none."""
    found = {}
    residents, per_text = settings.places("resident_prompts"), settings.places("prompts_per_text")
    if len(residents) > 1:
        found[f"prompts_{residents[-1]}_vs_{residents[0]}"] = ("resident_prompts", residents[-1])
        mixed = min(settings.prompts, settings.resident_batch)
        if residents[0] == 1 < mixed:
            found["mixed_vs_single"] = ("resident_prompts", mixed)
    if len(per_text) > 1:
        most = 8 if 8 in per_text[1:] else per_text[-1]
        found[f"prompts_per_text_{most}_vs_{per_text[0]}"] = ("prompts_per_text", most)
    return found
