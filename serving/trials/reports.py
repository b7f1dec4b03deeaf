"""What all replicas together know of each trial, and whether that breaks a limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from isogloss.prompts.routing.trials import Trial, TrialLimits
from isogloss.serving.registry.candidates import key_of
from isogloss.serving.registry.replicas import ReplicaReport
from isogloss.serving.telemetry.tally import Latency, Tally
from isogloss.serving.trials.answers import CladeReport, LatencyAnswer, TrialReport

LimitName = Literal["agreement", "score", "latency"]

_MS = 1000
_DIGITS = 6


def tally_of(trial: Trial, clade: str, reports: Iterable[ReplicaReport]) -> Tally:
    """Add up what the replicas counted of this very trial."""
    key = key_of(trial)
    found = [
        tally.clades[clade]
        for report in reports
        for tally in report.trials
        if tally.key == key and clade in tally.clades
    ]
    return sum(found, Tally())


def broken_limit(limits: TrialLimits | None, tally: Tally) -> tuple[LimitName, str] | None:
    """Return the limit that a clade's numbers break, and how; None while there are too few."""
    if limits is None or tally.judged < limits.min_texts:
        return None
    agreement, shift = tally.agreement, tally.mean_score_shift
    if limits.min_agreement is not None and (agreement or 0.0) < limits.min_agreement:
        return "agreement", f"agreement {agreement or 0.0:.4g} < {limits.min_agreement:g}"
    if limits.max_score_drop is not None and shift is not None and -shift > limits.max_score_drop:
        return "score", f"score drop {-shift:.4g} > {limits.max_score_drop:g}"
    ratio = tally.latency_ratio
    if (
        limits.max_latency_ratio is not None
        and ratio is not None
        and tally.off_trial.count >= limits.min_texts
        and ratio > limits.max_latency_ratio
    ):
        return "latency", f"latency ratio {ratio:.4g} > {limits.max_latency_ratio:g}"
    return None


def trial_report(
    trial: Trial, digest: str, model: str, reports: Sequence[ReplicaReport]
) -> TrialReport:
    """Sum up one trial."""
    key = key_of(trial)
    problems = {
        tally.problem
        for report in reports
        for tally in report.trials
        if tally.key == key and tally.problem
    }
    return TrialReport(
        trial=trial,
        model=model,
        digest=digest,
        problems=sorted(problems),
        clades=[
            _clade_report(clade, tally_of(trial, clade, reports), trial.limits)
            for clade in trial.clades
        ],
    )


def newest(own: ReplicaReport, reports: Iterable[ReplicaReport]) -> list[ReplicaReport]:
    """The reports of all replicas, with one's own as it is now."""
    by_replica: Mapping[str, ReplicaReport] = {
        **{report.replica: report for report in reports},
        own.replica: own,
    }
    return list(by_replica.values())


def _clade_report(clade: str, tally: Tally, limits: TrialLimits | None) -> CladeReport:
    broken = broken_limit(limits, tally)
    return CladeReport(
        clade=clade,
        texts=tally.texts,
        compared=tally.compared,
        failures=tally.failures,
        agreement=_rounded(tally.agreement),
        score_shift=_rounded(tally.mean_score_shift),
        variation=_rounded(tally.mean_variation),
        on_trial=_latency(tally.on_trial),
        off_trial=_latency(tally.off_trial),
        latency_ratio=_rounded(tally.latency_ratio),
        broken_limit=broken[1] if broken else None,
    )


def _latency(latency: Latency) -> LatencyAnswer:
    return LatencyAnswer(
        texts=latency.count,
        mean_ms=_ms(latency.mean_s),
        p50_ms=_ms(latency.quantile_s(0.5)),
        p99_ms=_ms(latency.quantile_s(0.99)),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * _MS, 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
