"""How many replicas there are to be, and that Ray Serve is told how to find out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.config import ServingSettings
from isogloss.serving.environment import settings_from
from isogloss.serving.ray.autoscaling import QUEUE_TOKENS, QueueTokens, wanted_replicas
from isogloss.serving.telemetry.metrics import ServingMetrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from isogloss.serving.ray import app


@pytest.mark.parametrize(
    ("waiting", "now", "expected"),
    [
        ([], 3, 3),  # nobody has reported yet: all stay
        ([0.0], 1, 0),  # Ray's min_replicas stay
        ([0.0, 0.0, 0.0], 3, 0),
        ([1000.0], 1, 1),
        ([1001.0], 1, 2),
        ([65_536.0], 1, 66),
        ([3000.0, 1000.0], 2, 4),  # shared out unevenly, but shared out again
        ([500.0, 400.0], 2, 1),
        ([3000.0], 4, 3),  # three that came just now have not reported: what waits is known
    ],
)
def test_as_many_as_bring_the_queue_to_its_target(
    waiting: list[float], now: int, expected: int
) -> None:
    assert math.ceil(wanted_replicas(waiting, 1000, now)) == expected


@dataclass
class Context:
    """Of Ray's, what the policy uses."""

    target_num_replicas: int = 2
    aggregated_metrics: dict[str, dict[str, float]] | None = field(default_factory=dict)


def test_the_policy_reads_what_replicas_report() -> None:
    policy = QueueTokens(target_queue_tokens=100)
    others = {"running_requests": {"a": 9.0}}
    assert policy(Context(aggregated_metrics=None)) == (2, {})
    assert policy(Context(aggregated_metrics=others)) == (2, {})
    reported = {**others, QUEUE_TOKENS: {"a": 250.0, "b": 50.0}}
    assert policy(Context(aggregated_metrics=reported)) == (3, {})


def test_it_is_the_metric_of_that_name() -> None:
    page = ServingMetrics().registry
    assert page.get_sample_value(QUEUE_TOKENS) == 0


def deployment_of(monkeypatch: pytest.MonkeyPatch, gpus: int = 0, **settings: Any) -> Any:
    """The deployment of the default model, as `serve.yaml` asks for it."""
    monkeypatch.setattr(app, "_gpus", lambda settings: gpus)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return app.application(settings)._bound_deployment


def test_ray_scales_between_the_bounds_by_our_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"replicas": 2, "max_replicas": 5, "target_queue_tokens": 100}
    deployment = deployment_of(monkeypatch, **given)
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)
    policy = scaling.policy.get_policy()(**scaling.policy.policy_kwargs)
    assert policy(Context(aggregated_metrics={QUEUE_TOKENS: {"a": 250.0}}))[0] == 2.5
    assert callable(deployment.func_or_class.record_autoscaling_stats)


def test_without_a_maximum_their_number_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployment_of(monkeypatch, replicas=3)
    assert deployment._deployment_config.autoscaling_config is None
    assert deployment.num_replicas == 3


def test_threads_are_shared_by_all_that_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_cores", lambda: 16)
    settings = deployment_of(monkeypatch, max_replicas=4).init_args[0]
    assert (settings.replicas, settings.threads) == (1, 4)


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("auto", 0, 0), ("auto", 2, 1), ("cuda", 0, 1), ("cuda", 2, 1), ("cpu", 0, 0)],
)
def test_replicas_wait_for_gpus_that_have_yet_to_join(
    device: str, gpus: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = deployment_of(monkeypatch, gpus, device=device).ray_actor_options
    assert options["num_gpus"] == expected


def test_a_command_without_gpus_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody joins a machine: its replica says that there is no GPU."""
    monkeypatch.setattr(app, "_gpus", lambda settings: 0)
    built: Any = app.application(ServingSettings(device="cuda"))
    assert built._bound_deployment.ray_actor_options["num_gpus"] == 0


def test_fewer_at_most_than_at_least_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"ISOGLOSS_MAX_REPLICAS: .*fewer than replicas, 3"):
        settings_from({"replicas": 3}, environ={"ISOGLOSS_MAX_REPLICAS": "2"})
