"""What is counted of a trial equals a hand computation, adds up over replicas, and ends it."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from isogloss.prompts.errors import StoreError
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.trials import Trial, TrialLimits
from isogloss.prompts.store.state import StoreState
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.registry.candidates import key_of
from isogloss.serving.registry.replicas import LocalBoard, ReplicaReport, Reporter
from isogloss.serving.schemas import ClassifyRequest
from isogloss.serving.telemetry.tally import BOUNDS_S, Latency, Tally, TrialKey, TrialTallies
from isogloss.serving.trials.judge import TrialJudge
from isogloss.serving.trials.reports import broken_limit, tally_of, trial_report
from tests.fakes import (
    MODEL,
    OVERFLOWING,
    expected_scores,
    fake_classifier,
    fake_settings,
    fake_store,
    soft_prompt,
)

ROUTED, CANDIDATE = soft_prompt(2.0, length=5), soft_prompt(-0.4)
WILD = soft_prompt(OVERFLOWING, length=1)
TEXTS = ["fra_Latn: " + "x" * n for n in range(5, 65)]
KEY = TrialKey("romance@2", "canary", datetime(2026, 1, 1, tzinfo=UTC))


class Replicas:
    """Some classifiers over one store, in this process, and their board."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        self.store = fake_store(folder)
        self.board = LocalBoard()
        settings = fake_settings(folder)
        self.classifiers = [fake_classifier(settings) for _ in range(count)]
        self.reporters = [
            Reporter(f"replica-{n}", MODEL, each.registry, each.metrics, self.board)
            for n, each in enumerate(self.classifiers)
        ]
        self.watches = [
            TrialJudge(each.registry, each.metrics, self.board) for each in self.classifiers
        ]

    def begin(self, candidate: SoftPrompt = CANDIDATE, **plan: Any) -> Trial:
        given = {"kind": "shadow", "share": 1.0, **plan}
        state = self.store.begin_trial("romance", candidate, **given)
        self.poll()
        return state.trials[0]

    def poll(self) -> None:
        for reporter in self.reporters:
            reporter.poll()

    def ask(self, texts: Sequence[str], *, of: int = 0, key: str = "") -> None:
        async def answer(classifier: Classifier) -> None:
            request = ClassifyRequest(inputs=list(texts))
            await classifier.classify(request, Caller(routing_key=key))

        asyncio.run(answer(self.classifiers[of]))

    def reports(self) -> list[ReplicaReport]:
        """As they are now, and as they would cross from one process to another."""
        return [pickle.loads(pickle.dumps(reporter.report())) for reporter in self.reporters]

    def tally(self, trial: Trial, clade: str = "Romance") -> Tally:
        return tally_of(trial, clade, self.reports())

    def judge(self) -> None:
        """What the board knows is what each replica would report after a second."""
        for reporter in self.reporters:
            self.board.report(reporter.report())
        for watch in self.watches:
            watch.poll()


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    return Replicas(tmp_path / "store")


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_two_replicas_numbers_are_those_computed_by_hand(replicas: Replicas, kind: str) -> None:
    trial = replicas.begin(kind=kind)
    replicas.ask(TEXTS[:20], of=0)
    replicas.ask(TEXTS[20:], of=1)
    pairs = [(expected_scores(text, ROUTED), expected_scores(text, CANDIDATE)) for text in TEXTS]
    agreed = sum(max(a, key=a.__getitem__) == max(b, key=b.__getitem__) for a, b in pairs)
    shift = sum(max(b.values()) - max(a.values()) for a, b in pairs) / len(pairs)
    variation = sum(sum(abs(a[k] - b[k]) for k in a) / 2 for a, b in pairs) / len(pairs)
    tally = replicas.tally(trial)
    assert (tally.texts, tally.compared, tally.failures) == (60, 60, 0)
    assert 0 < agreed < 60
    assert tally.agreed == agreed
    assert tally.mean_score_shift == pytest.approx(shift, abs=1e-6)
    assert tally.mean_variation == pytest.approx(variation, abs=1e-6)
    assert (tally.on_trial.count, tally.off_trial.count) == (60, 0)
    (report,) = trial_report(trial, CANDIDATE.digest, MODEL, replicas.reports()).clades
    assert report.agreement == pytest.approx(agreed / 60, abs=1e-6)
    assert report.latency_ratio is None
    assert report.off_trial.mean_ms is None


def test_texts_off_trial_tell_their_latency_only(replicas: Replicas) -> None:
    trial = replicas.begin(share=0.5)
    for text in TEXTS:
        replicas.ask([text])
    replicas.ask(["swh_Latn: not of this clade"])
    tally = replicas.tally(trial)
    taken = sum(trial.takes(text) for text in TEXTS)
    assert (tally.on_trial.count, tally.off_trial.count) == (taken, 60 - taken)
    assert tally.texts == tally.compared == taken
    assert tally.latency_ratio == pytest.approx(
        (tally.on_trial.sum_s / taken) / (tally.off_trial.sum_s / (60 - taken))
    )


def test_failures_of_the_candidate_are_counted_and_agree_with_nothing(replicas: Replicas) -> None:
    trial = replicas.begin(WILD)
    replicas.ask(TEXTS[:7])
    tally = replicas.tally(trial)
    assert (tally.texts, tally.compared, tally.failures) == (7, 0, 7)
    assert (tally.agreement, tally.mean_score_shift) == (0.0, None)


def test_a_second_trial_of_the_same_candidate_begins_at_nothing(replicas: Replicas) -> None:
    first = replicas.begin()
    replicas.ask(TEXTS)
    late = replicas.reports()
    replicas.store.end_trial("romance")
    again = replicas.begin()
    assert again.candidate == first.candidate
    assert replicas.tally(again).texts == 0
    assert tally_of(again, "Romance", late).texts == 0  # a report from before
    replicas.ask(TEXTS[:2])
    assert replicas.tally(again).texts == 2


def test_another_share_goes_on_counting(replicas: Replicas) -> None:
    replicas.begin()
    replicas.ask(TEXTS)
    assert replicas.tally(replicas.begin(share=0.5)).texts == 60


def test_answers_of_a_generation_that_is_over_count_nowhere(replicas: Replicas) -> None:
    replicas.begin()
    replicas.store.end_trial("romance")
    replicas.poll()
    tallies = replicas.classifiers[0].metrics.trials
    with tallies.counting(KEY, "Romance") as tally:
        tally.texts += 1
    assert tallies.snapshot() == ()


@pytest.mark.parametrize(
    ("limits", "numbers", "broken"),
    [
        ({"min_agreement": 0.9}, {"compared": 10, "agreed": 9}, None),
        ({"min_agreement": 0.9}, {"compared": 10, "agreed": 8}, "agreement 0.8 < 0.9"),
        ({"min_agreement": 0.9}, {"compared": 9, "agreed": 0}, None),  # too few
        ({"min_agreement": 0.9}, {"compared": 9, "agreed": 9, "failures": 9}, "agreement 0.5"),
        ({"max_score_drop": 0.1}, {"compared": 10, "score_shift": -0.9}, None),
        ({"max_score_drop": 0.1}, {"compared": 10, "score_shift": 5.0}, None),
        ({"max_score_drop": 0.1}, {"compared": 10, "score_shift": -1.1}, "score drop 0.11 > 0.1"),
        ({"max_latency_ratio": 2}, {"on": (10, 1.9), "off": (10, 1.0)}, None),
        ({"max_latency_ratio": 2}, {"on": (10, 2.1), "off": (10, 1.0)}, "latency ratio 2.1 > 2"),
        ({"max_latency_ratio": 2}, {"on": (10, 2.1), "off": (9, 0.9)}, None),  # too few to compare
        ({"max_latency_ratio": 2}, {"on": (10, 2.1), "off": (0, 0.0)}, None),
        ({}, {"compared": 10, "agreed": 0, "score_shift": -9.0}, None),
    ],
)
def test_limits(limits: dict[str, float], numbers: dict[str, Any], broken: str | None) -> None:
    on, off = (Latency(*numbers.pop(side, (0, 0.0))) for side in ("on", "off"))
    tally = Tally(**{"compared": 10, **numbers}, on_trial=on, off_trial=off)
    found = broken_limit(TrialLimits.model_validate({"min_texts": 10, **limits}), tally)
    assert (found[1][: len(broken or "")] if found else None) == broken
    assert broken_limit(None, tally) is None


def test_a_trial_that_breaks_a_limit_ends_by_itself(replicas: Replicas) -> None:
    """Neither replica has seen enough texts; together they have. Both end it; it ends once."""
    trial = replicas.begin(limits=TrialLimits(min_agreement=0.9, min_texts=50))
    replicas.ask(TEXTS[:30], of=0)
    replicas.judge()
    assert replicas.store.state().trials == (trial,)
    replicas.ask(TEXTS[30:], of=1)
    tally = replicas.tally(trial)
    replicas.judge()
    state = replicas.store.state()
    assert state.trials == ()
    assert state.note == (
        f"ended by itself: agreement {tally.agreement:.4g} < 0.9 on Romance after 60 texts"
    )
    assert state.generation == 3
    assert state.resolve("romance")[1] == 1  # the routed prompt answers, as before
    replicas.poll()
    assert not any(each.registry.current.trials for each in replicas.classifiers)
    replicas.judge()
    metrics = replicas.classifiers[0].metrics
    assert metrics.registry.get_sample_value(
        "isogloss_trial_ended_total", {"limit": "agreement"}
    ) == (1)


def test_a_trial_within_its_limits_goes_on(replicas: Replicas) -> None:
    trial = replicas.begin(limits=TrialLimits(min_agreement=0.01, min_texts=5))
    replicas.ask(TEXTS)
    replicas.judge()
    assert replicas.store.state().trials == (trial,)


def test_a_store_that_is_read_only_is_said_once_and_shown(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trial = replicas.begin(limits=TrialLimits(min_agreement=0.9, min_texts=5))
    replicas.ask(TEXTS)

    def read_only(*_: object, **__: object) -> StoreState:
        raise StoreError("the store is read-only")

    monkeypatch.setattr(type(replicas.store), "end_trial", read_only)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            replicas.judge()
    assert caplog.text.count("cannot be ended: the store is read-only") == 2  # one a replica
    report = trial_report(trial, CANDIDATE.digest, MODEL, replicas.reports())
    assert report.problems == ["it breaks a limit and cannot be ended: the store is read-only"]
    (clade,) = report.clades
    assert (clade.broken_limit or "").startswith("agreement 0.")
    monkeypatch.undo()
    replicas.judge()
    assert replicas.store.state().trials == ()


def test_a_candidate_that_is_lost_is_shown(replicas: Replicas) -> None:
    state = replicas.store.begin_trial("romance", CANDIDATE, kind="shadow", share=1.0)
    digest = state.resolve("romance@2")[2].removeprefix("sha256:")
    (replicas.store.root / "objects" / f"{digest}.safetensors").unlink()
    replicas.poll()
    assert [each.generation for each in replicas.reports()] == [2, 2]
    (problem,) = trial_report(state.trials[0], CANDIDATE.digest, MODEL, replicas.reports()).problems
    assert digest in problem
    page = generate_latest(replicas.classifiers[0].metrics.registry).decode()
    assert 'isogloss_trial_problem{candidate="romance@2",kind="shadow"} 1.0' in page


def test_the_metrics_page_shows_the_same_numbers_and_forgets_what_is_over(
    replicas: Replicas,
) -> None:
    trial = replicas.begin()
    replicas.ask(TEXTS)
    registry = replicas.classifiers[0].metrics.registry
    tally, labels = replicas.tally(trial), {"candidate": "romance@2", "kind": "shadow"}
    labels["clade"] = "Romance"
    for name, wanted in (
        ("texts_total", 60),
        ("agreed_total", tally.agreed),
        ("variation_total", tally.variation),
        ("score_shift", tally.score_shift),
    ):
        assert registry.get_sample_value(f"isogloss_trial_{name}", labels) == pytest.approx(wanted)
    for name, wanted in (("count", 60), ("sum", tally.on_trial.sum_s)):
        value = registry.get_sample_value(
            f"isogloss_trial_seconds_{name}", {**labels, "side": "on"}
        )
        assert value == pytest.approx(wanted)
    replicas.store.end_trial("romance")
    replicas.poll()
    assert "romance@2" not in generate_latest(registry).decode()


def test_quantiles_are_estimated_within_their_bucket() -> None:
    latency = Latency()
    for n in range(1, 1001):
        latency.observe(n / 1000)  # evenly, 1 ms to 1 s
    assert latency.mean_s == pytest.approx(0.5005)
    assert latency.quantile_s(0.5) == pytest.approx(0.5, abs=0.01)
    assert latency.quantile_s(0.99) == pytest.approx(0.99, abs=0.01)
    latency.observe(1e6)
    assert latency.quantile_s(1.0) == BOUNDS_S[-1]
    assert sum(latency.buckets) == latency.count
    assert Latency().quantile_s(0.5) is None


def test_what_is_kept_is_told_by_the_whole_trial() -> None:
    tallies = TrialTallies(CollectorRegistry())
    later = KEY._replace(started_at=datetime(2026, 1, 2, tzinfo=UTC))
    tallies.keep({KEY: None})
    with tallies.counting(KEY, "Romance") as tally:
        tally.texts += 1
    tallies.keep({KEY: None, later: "lost"})
    assert [(t.key, dict(t.clades), t.problem) for t in tallies.snapshot()] == [
        (KEY, {"Romance": Tally(texts=1)}, None),
        (later, {}, "lost"),
    ]


def test_a_key_is_a_trial_s(replicas: Replicas) -> None:
    trial = replicas.begin()
    assert key_of(trial) == ("romance@2", "shadow", trial.started_at)
