"""From runs to what the report says: one result a point, and each model's ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.deploy.bench.comparing import paired, percentiles, spread
from isogloss.deploy.bench.curves import Comparison, Point, Run
from isogloss.deploy.bench.engine_settings import EngineSettings
from isogloss.deploy.bench.number_formats import SHORT

Agreed = Mapping[Run, Mapping[str, Any]]
_GIGA = 1e9


def results_of(model: str, comparison: Comparison, agreed: Agreed) -> list[dict[str, Any]]:
    """One result for each point of a comparison, as JSON."""
    first, *_ = comparison.points
    return [
        {"model": model, **_described(point), **_result(point, first, comparison.runs, agreed)}
        for point in comparison.points
    ]


def _described(point: Point) -> dict[str, Any]:
    batch = point.batch(0)
    tokens = statistics.fmean(map(point.work.tokens, point.batches))
    return {
        "curve": point.curve,
        "x": point.x,
        "texts": len(batch.texts),
        "prompts_per_text": batch.prompts_per_text,
        "resident_prompts": len(point.work.prompts),
        "tokens_per_batch": round(tokens, 1),
    }


def _result(point: Point, first: Point, runs: Sequence[Run], agreed: Agreed) -> dict[str, Any]:
    here = [run for run in runs if run.point is point]
    ours, peers, rates = (
        {run.name: run for run in here if run.contender.kind == kind}
        for kind in ("ours", "peer", "rate")
    )
    before = {run.name: run for run in runs if run.point is first and point is not first}
    return {
        "contenders": {name: _measured(run, runs) for name, run in {**ours, **peers}.items()},
        "ratios": {
            name: {f"vs_{peer}": _times(theirs, run) for peer, theirs in peers.items()}
            for name, run in ours.items()
        },
        "costs": {name: _times(run, before[name]) for name, run in ours.items() if name in before},
        "rates_gflop_per_s": {
            rate.contender.precision: spread(
                [rate.operations(r) / seconds / _GIGA for r, seconds in rate.kept().items()]
            )
            for rate in rates.values()
        },
        "agreement": {run.name: agreed[run] for run in here if run in agreed},
    }


def _times(one: Run, other: Run) -> dict[str, float]:
    """How many times the other's seconds one takes, round by round."""
    return paired([one_s / other_s for _, one_s, other_s in one.beside(other)])


def _measured(run: Run, runs: Sequence[Run]) -> dict[str, Any]:
    point, kept = run.point, run.kept()
    rate = _rate_of(run, runs)
    return {
        "precision": run.contender.precision,
        "rounds": len(kept),
        "seconds": percentiles(list(kept.values())),
        "texts_per_s": spread([len(point.batch(r).texts) / s for r, s in kept.items()]),
        "tokens_per_s": spread([point.tokens(r) / s for r, s in kept.items()]),
        "share_of_rate": rate and spread(_shares(run, rate)),
        "peak_memory_bytes": run.peak_bytes,
    }


def _rate_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """The rate in the same precision over as many rows, of the same comparison."""
    wanted = f"rate_{run.contender.precision}"
    return next((r for r in runs if r.name == wanted and _rows(r) == _rows(run)), None)


def _shares(run: Run, rate: Run) -> list[float]:
    return [
        (run.operations(r) / seconds) / (rate.operations(r) / rate_s)
        for r, seconds, rate_s in run.beside(rate)
    ]


def _rows(run: Run) -> list[int]:
    return [run.point.work.tokens(batch) for batch in run.point.batches]


def headline(
    results: Sequence[Mapping[str, Any]], settings: EngineSettings
) -> dict[str, dict[str, float]]:
    """Each model's ratios: the contract's names, and the same of other precisions."""
    return {model: _ratios(results, model, settings) for model in settings.models}


def _ratios(
    results: Sequence[Mapping[str, Any]], model: str, settings: EngineSettings
) -> dict[str, float]:
    at = {(r["curve"], r["x"]): r for r in results if r["model"] == model}
    ratios: dict[str, float] = {}
    if main := at.get(("batch_size", settings.headline_batch)):
        for name, of_peers in main["ratios"].items():
            measured = main["contenders"][name]
            precision = measured["precision"]
            ratios |= {f"{precision}_{key}": ratio["median"] for key, ratio in of_peers.items()}
            ratios[f"{precision}_share_of_rate"] = measured["share_of_rate"]["median"]
    first = f"isogloss_{SHORT[settings.torch_dtypes[0]]}"
    for name, point in _costs(settings).items():
        if result := at.get(point):
            ratios[name] = result["costs"][first]["median"]
    return ratios


def _costs(settings: EngineSettings) -> dict[str, tuple[str, int]]:
    """Names of costs and where they are measured; a curve of one point has none."""
    costs = {}
    residents, per_text = settings.points("resident_prompts"), settings.points("prompts_per_text")
    members = settings.points("ensemble_members")
    if len(residents) > 1:
        costs[f"prompts_{residents[-1]}_vs_{residents[0]}"] = ("resident_prompts", residents[-1])
        mixed = min(settings.prompts, settings.resident_batch)
        if residents[0] == 1 < mixed:
            costs["mixed_vs_single"] = ("resident_prompts", mixed)
    if len(per_text) > 1:
        most = 8 if 8 in per_text[1:] else per_text[-1]
        costs[f"prompts_per_text_{most}_vs_{per_text[0]}"] = ("prompts_per_text", most)
    if len(members) > 1:
        costs[f"ensemble_{members[-1]}_vs_{members[0]}"] = ("ensemble_members", members[-1])
    return costs
