"""Ends trials that break their limits, judged by what all replicas counted together."""

from __future__ import annotations

import logging

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.routing.trials import Trial
from isogloss.serving.registry.candidates import key_of
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.replicas import Board, ReplicaReport
from isogloss.serving.telemetry.metrics import ServingMetrics
from isogloss.serving.telemetry.tally import TrialKey
from isogloss.serving.trials.reports import broken_limit, tally_of

logger = logging.getLogger(__name__)

TRIAL_INTERVAL_S = 1.0
"""How often a replica polls: as often as the others report."""


class TrialJudge:
    """Judges a model's trials in one replica. Every replica may end one: the first one does."""

    def __init__(self, live: Registry, metrics: ServingMetrics, board: Board) -> None:
        self._live = live
        self._metrics = metrics
        self._board = board
        self._broken: set[TrialKey] = set()
        self._problems: dict[TrialKey, str] = {}

    def poll(self) -> None:
        """End what breaks a limit. May block on the board and on the store."""
        trials = self._live.current.own_trials
        self._broken &= {key_of(trial) for trial in trials}
        limited = [trial for trial in trials if trial.limits is not None]
        if not limited:
            return
        reports = self._board.reports()
        for trial in limited:
            self._judge(trial, reports)

    def _judge(self, trial: Trial, reports: list[ReplicaReport]) -> None:
        for clade in trial.clades:
            tally = tally_of(trial, clade, reports)
            if broken := broken_limit(trial.limits, tally):
                limit, how = broken
                why = f"{how} on {clade} after {tally.judged} texts"
                self._note_once(trial, limit, why)
                self._end(trial, why)
                return

    def _note_once(self, trial: Trial, limit: str, why: str) -> None:
        if key_of(trial) not in self._broken:
            self._broken.add(key_of(trial))
            self._metrics.trials_ended.labels(limit).inc()
            logger.warning("the trial of %s is ended: %s", trial.candidate, why)

    def _end(self, trial: Trial, why: str) -> None:
        key = key_of(trial)
        try:
            self._live.store.end_trial(
                trial.name,
                f"ended by itself: {why}",
                candidate=trial.candidate,
                begun_at=trial.started_at,
            )
        except IsoglossError as error:  # tried again at the next poll, and said once
            if self._problems.get(key) != str(error):
                logger.error("the trial of %s cannot be ended: %s", trial.candidate, error)
            self._problems = {key: str(error)}
            self._metrics.trials.report(key, f"it breaks a limit and cannot be ended: {error}")
