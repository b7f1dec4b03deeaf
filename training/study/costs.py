"""Section 4's claims: what is trained and stored, and how long it takes.

The paper compares plain training of a prompt with plain training of all weights, so that is told
first; then what this study's prompts took, which train beside each other on cached text.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from isogloss.prompts.files.tables import table_bytes
from isogloss.training.study.accuracy_tables import ordered
from isogloss.training.study.estimates import (
    Interval,
    Verdict,
    duration,
    interval_of,
    judged,
    plain,
    share,
    size,
    span,
)
from isogloss.training.study.findings import finding, of_its_models
from isogloss.training.study.results import StudyResults, StudyRun
from isogloss.training.study.rows import CostRow, FindingRow

_PAPER_SHARE_PERCENT = 0.01  # "less than 0.01% of the parameters"
_PAPER_BYTES = 100_000  # "a prompt needs less than 100KB"
_PAPER_TIME = 0.5  # "less than half compared to when training all model parameters"


def cost_rows(results: StudyResults) -> tuple[CostRow, ...]:
    """What one prompt takes beside all weights: an unfrozen run's, else the model's own."""
    prompt, full = results.base("frozen")[0], results.base("full")
    trained = full[0].trained_parameters if full else results.model_parameters
    stored = full[0].prompt_bytes if full else results.model_bytes
    return (
        _row("trained parameters", "parameters", prompt.trained_parameters, trained),
        _row("storage", "bytes", prompt.prompt_bytes, stored),
    )


def _row(cost: str, unit: str, frozen: int, full: int) -> CostRow:
    return CostRow(cost, unit, frozen, full, 100 * frozen / full)


def cost_findings(results: StudyResults, rows: Sequence[CostRow]) -> tuple[FindingRow, ...]:
    """What is trained and what is stored, against the paper's bounds."""
    trained, stored = rows
    return (
        finding(
            "section4",
            "trained parameters",
            Interval(trained.frozen_share_percent, None, None, 1),
            "percent of the weights",
            f"A prompt trains {trained.frozen:,} numbers, {share(trained.frozen_share_percent)} of "
            f"the {trained.full:,} that training all weights changes.",
            *of_its_models(
                results,
                "Less than 0.01 % of the parameters (of models from 560 million up).",
                _within(trained.frozen_share_percent, _PAPER_SHARE_PERCENT),
            ),
        ),
        finding(
            "section4",
            "storage",
            Interval(float(stored.frozen), None, None, 1),
            "bytes",
            f"A prompt takes {size(stored.frozen)}; the weights take {size(stored.full)}.",
            *of_its_models(
                results,
                "Less than 100 KB, where a copy of XGLM-1.7B takes about 3.2 GB.",
                _within(stored.frozen, _PAPER_BYTES),
            ),
        ),
    )


def _within(value: float, bound: float) -> Verdict:
    return "agrees" if value < bound else "does not agree"


def times_csv(results: StudyResults) -> bytes:
    """timings.csv: seconds of every run, of a plain step and of every stage of the study.

    It is the only table that differs between two runs of the same study.
    """
    runs = (("run", r.name, r.setting, r.train_seconds) for r in ordered(results.runs))
    steps = (
        ("plain step", f"seed{seed}", setting, seconds)
        for seed, step in results.plain_steps.items()
        for setting, seconds in (("frozen", step.prompt_s), ("full", step.weights_s))
    )
    stages = (("stage", name, "", seconds) for name, seconds in results.seconds.items())
    return table_bytes(("what", "name", "setting", "seconds"), (*runs, *steps, *stages), ".6g")


def time_findings(results: StudyResults) -> tuple[FindingRow, ...]:
    """How long a prompt trains beside all weights, per seed; nothing where only one was trained."""
    return tuple(one for one in (_plain_time(results), _time_taken(results)) if one)


def _plain_time(results: StudyResults) -> FindingRow | None:
    steps = results.plain_steps.values()
    if not steps:
        return None
    ratio = interval_of([step.prompt_s / step.weights_s for step in steps])
    times = [fmean(s.prompt_s for s in steps), fmean(s.weights_s for s in steps)]
    return finding(
        "section4",
        "training time, plain against plain",
        ratio,
        "times as long as unfrozen",
        f"Alone and without cached text, a step takes {duration(times[0])} for the prompt and "
        f"{duration(times[1])} for all weights: {plain(ratio.mean, 2)} times as long "
        f"{span(ratio, 2, sign=False)}.",
        *of_its_models(
            results, "Less than half of the time.", judged(ratio.shifted(-_PAPER_TIME), "below")
        ),
    )


def _time_taken(results: StudyResults) -> FindingRow | None:
    frozen, full = _seconds(results.base("frozen")), _seconds(results.base("full"))
    both = [seed for seed in sorted(frozen.keys() & full.keys()) if full[seed] > 0]
    if not both:
        return None
    ratio = interval_of([frozen[seed] / full[seed] for seed in both])
    times = [duration(fmean(by_seed[seed] for seed in both)) for by_seed in (frozen, full)]
    return finding(
        "section4",
        "training time, as trained here",
        ratio,
        "times as long as unfrozen",
        f"As trained here, a prompt took {times[0]} (its share, where it trained beside others "
        f"on cached text) and all weights {times[1]} alone: {plain(ratio.mean, 3)} times as "
        f"long {span(ratio, 3, sign=False)}.",
    )


def _seconds(runs: Sequence[StudyRun]) -> dict[int, float]:
    return {run.seed: run.train_seconds for run in runs}
