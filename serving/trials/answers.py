"""How `GET /v1/trials` tells of trials, field for field as in the contract."""

from __future__ import annotations

from pydantic import BaseModel, Field

from isogloss.prompts.routing.trials import Trial


class LatencyAnswer(BaseModel):
    """Milliseconds from admission to answer; quantiles are estimated. Null: no texts yet."""

    texts: int
    mean_ms: float | None
    p50_ms: float | None
    p99_ms: float | None


class CladeReport(BaseModel):
    """One trial on one clade's texts, over all replicas that are alive."""

    clade: str = Field(description="A language family, or `universal`.")
    texts: int = Field(description="On trial: in the trial's share, and answered.")
    compared: int = Field(description="Of them, those scored under both prompts.")
    failures: int = Field(description="Of them, those that the candidate could not be scored on.")
    agreement: float | None = Field(
        description="Share of compared and failed texts on which both give the same label; a "
        "failure is none. Null: no texts yet."
    )
    score_shift: float | None = Field(
        description="The candidate's best score less the routed prompt's, in the mean."
    )
    variation: float | None = Field(
        description="Total variation distance of both prompts' scores, in the mean: 0 where they "
        "are the same, 1 where they share nothing."
    )
    on_trial: LatencyAnswer = Field(description="Latency of the texts on trial.")
    off_trial: LatencyAnswer = Field(description="Latency of the clade's other texts meanwhile.")
    latency_ratio: float | None = Field(description="Mean on trial over mean off trial.")
    broken_limit: str | None = Field(description="The limit of the trial that these numbers break.")


class TrialReport(BaseModel):
    """One trial: what it is, and how it goes."""

    trial: Trial
    model: str
    digest: str = Field(description="The candidate's.")
    problems: list[str] = Field(
        description="Why it does not run on all its clades, or cannot be ended."
    )
    clades: list[CladeReport]


class TrialsAnswer(BaseModel):
    """The trials of the served models."""

    generation: int
    generation_digest: str
    trials: list[TrialReport]
