"""From a cost table to prices, budgets and lines; the model is a fake one, quick to measure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from isogloss.serving.batching.costs import UNMEASURED_BUDGET_TOKENS, CostTable, Pricing
from isogloss.serving.batching.kept_costs import keep, recall
from isogloss.serving.config import ServingSettings
from isogloss.serving.detection.detectors import Detection
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.warm_up import cost_key, find_costs
from isogloss.serving.registry.registry import Registry
from isogloss.serving.schemas import ClassifyRequest
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import FakeBackbone, FakeDetector, fake_settings, fake_store

TABLE = CostTable(fixed_s=0.001, token_s=0.000_02, square_s=1e-8)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(fake_store(tmp_path / "store"), FakeBackbone(), ServingMetrics())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "costs"


@pytest.mark.parametrize(
    ("given", "table", "budget", "price"),
    [
        ({}, TABLE, 19_000, 1025),  # microseconds
        ({"batch_goal_s": 0.011}, TABLE, 10_000, 1025),
        ({}, None, UNMEASURED_BUDGET_TOKENS, 50),  # tokens
        ({"budget_tokens": 512}, TABLE, 512, 50),  # who names a budget gets it
    ],
)
def test_prices_are_predicted_time_unless_tokens_are_named(
    given: dict[str, object], table: CostTable | None, budget: int, price: int
) -> None:
    pricing = Pricing.of(ServingSettings.model_validate(given), table)
    assert (pricing.budget, pricing.price(50)) == (budget, price)


def test_prompts_and_long_texts_wait_in_lines_of_their_own() -> None:
    pricing = Pricing(19_000, TABLE)
    assert pricing.flow("everywhere", 50) == "everywhere"
    assert pricing.flow("congo", 50) == "congo"
    assert pricing.flow("everywhere", 210) == "everywhere"  # 4,641 us
    assert pricing.flow("everywhere", 220) == "long everywhere"  # 4,884 us: over a quarter
    assert Pricing(400).flow("everywhere", 101) == "long everywhere"


def test_the_first_start_measures_and_the_next_one_remembers(
    registry: Registry, cache: Path
) -> None:
    backbone = FakeBackbone()
    table = find_costs(backbone, registry.current, limit_s=0.2)
    assert table is not None
    assert table.token_s > 0
    assert max(map(len, backbone.batches)) >= 8
    assert max(map(max, backbone.batches)) <= FakeBackbone.max_text_tokens
    slow = CostTable(table.fixed_s + 10, table.token_s, table.square_s)
    keep(cache, cost_key(backbone), slow)
    mended = find_costs(backbone, registry.current, limit_s=0.2)
    assert mended is not None
    assert mended.fixed_s < 10
    quick = CostTable(1e-9, 1e-9)  # nothing is so quick: it stays
    keep(cache, cost_key(backbone), quick)
    again = FakeBackbone()
    assert find_costs(again, registry.current, limit_s=0.2) == quick
    assert [len(batch) for batch in again.batches] == [2, 2]
    assert recall(cache, cost_key(backbone)) == quick
    other = FakeBackbone("another-bloom")
    find_costs(other, registry.current, limit_s=0.2)
    assert other.batches


def test_without_a_prompt_after_the_text_there_is_nothing_to_measure(
    tmp_path: Path, cache: Path
) -> None:
    store = fake_store(tmp_path / "store")
    registry = Registry(store, FakeBackbone(), ServingMetrics()).current
    for prompt in registry.served.values():
        (member,) = prompt.loaded.members
        object.__setattr__(prompt.loaded, "members", (replace(member, position="prefix"),))
    assert find_costs(FakeBackbone(), registry, limit_s=0.2) is None


def classifier(
    tmp_path: Path, backbone: FakeBackbone, detector: FakeDetector | None = None, **given: object
) -> Classifier:
    settings = fake_settings(fake_store(tmp_path / "store").root, **given)
    return build_classifier(
        settings, backbone=lambda *_: backbone, detector=lambda _: detector or FakeDetector()
    )


async def test_a_warm_replica_batches_by_its_table(tmp_path: Path, cache: Path) -> None:
    backbone = FakeBackbone()
    keep(cache, cost_key(backbone), CostTable(fixed_s=1e-6, token_s=1e-7))
    served = classifier(tmp_path, backbone, budget_tokens=None)
    served.warm_up()
    backbone.batches.clear()
    # A batch may take 46 us of texts, and each of these takes 9: quicker than any fake is.
    answer = await served.classify(ClassifyRequest(inputs=["x" * 90] * 12))
    assert len(answer.results) == 12
    assert [len(batch) for batch in backbone.batches] == [5, 5, 2]
    page = {
        sample.name: sample.value
        for family in served.metrics.snapshot()
        for sample in family.samples
        if not sample.labels
    }
    assert page["isogloss_batch_cost_ratio_count"] == 3
    assert page["isogloss_batch_tokens_sum"] == 12 * 92  # tokens, whatever texts cost
    served.close()


@pytest.mark.parametrize("given", [{"budget_tokens": 100}, {"calibration_s": 0.0}])
def test_nothing_is_measured_where_nothing_is_to_be(
    tmp_path: Path, cache: Path, given: dict[str, object]
) -> None:
    served = classifier(tmp_path, FakeBackbone(), None, **{"budget_tokens": None, **given})
    served.warm_up()
    assert not cache.exists()


class Watched(FakeDetector):
    """Remembers in which threads it was asked."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        self.threads.append(threading.current_thread().name)
        return super().detect(texts)


async def test_only_a_lone_short_request_is_planned_on_the_loop(tmp_path: Path) -> None:
    detector = Watched()
    served = classifier(tmp_path, FakeBackbone(), detector)
    here = threading.current_thread().name
    await served.classify(ClassifyRequest(inputs="short"))
    assert detector.threads == [here]
    await served.classify(ClassifyRequest(inputs="x" * 5000))
    assert detector.threads[1:] == ["isogloss-planning"]
    await asyncio.gather(*(served.classify(ClassifyRequest(inputs="a")) for _ in range(3)))
    assert set(detector.threads[3:]) == {"isogloss-planning"}
    served.close()


async def test_loading_leaves_no_thread_behind_and_warming_up_is_done_where_batches_are(
    tmp_path: Path,
) -> None:
    """Helpers of a thread that once computed would slow the scoring thread's down for good."""
    loaded_in: list[threading.Thread] = []
    scored_in: list[str] = []

    class Remembering(FakeBackbone):
        def read_suffixed(
            self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
        ) -> Tensor:
            scored_in.append(threading.current_thread().name)
            return super().read_suffixed(texts, prompts)

    def load(name: str, settings: ServingSettings) -> FakeBackbone:
        loaded_in.append(threading.current_thread())
        return Remembering()

    settings = fake_settings(fake_store(tmp_path / "store").root)
    served = build_classifier(settings, backbone=load, detector=lambda _: FakeDetector())
    assert not loaded_in[0].is_alive()
    served.warm_up()
    await served.classify(ClassifyRequest(inputs="a"))
    assert scored_in[0].startswith("isogloss-loading")  # the prompts' rehearsal
    assert scored_in[1:] == ["isogloss-scoring", "isogloss-scoring"]
    served.close()
