"""A server of one release, while the next release brings its prompts into the same store."""

from __future__ import annotations

from pathlib import Path

from isogloss.prompts.languages.languages import language
from isogloss.prompts.store.store import PromptStore, open_default
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import FakeBackbone, fake_store, route_table, soft_prompt

RETRAINED = "fake-bloom-retrained"


def digests(snapshot: Snapshot) -> list[str]:
    lineages = [language(code).lineage for code in ("fra_Latn", "swh_Latn", "fin_Latn")]
    return [snapshot.choose("topic", lineage)[0].digest for lineage in lineages]


def test_it_answers_as_before_and_the_new_one_with_the_new_prompts(tmp_path: Path) -> None:
    shipped = PromptStore.open(tmp_path / "shipped", create=True)
    shipped.publish(
        {
            "everywhere": soft_prompt(7.0, model=RETRAINED),
            "romance": soft_prompt(8.0, model=RETRAINED),
        },
        [route_table("everywhere", {"Romance": "romance"}, model=RETRAINED)],
    )
    store = fake_store(tmp_path / "store")
    running = Registry(store, FakeBackbone(), ServingMetrics())
    before = digests(running.current)
    open_default(store.root, shipped.root)
    assert running.refresh()
    assert running.problem is None
    assert digests(running.current) == before
    started = Registry(store, FakeBackbone(RETRAINED), ServingMetrics())
    romance, everywhere = soft_prompt(8.0, model=RETRAINED), soft_prompt(7.0, model=RETRAINED)
    assert digests(started.current) == [romance.digest, everywhere.digest, everywhere.digest]
