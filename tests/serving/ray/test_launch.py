"""What `isogloss serve` says once it answers."""

from __future__ import annotations

from pathlib import Path

from isogloss.prompts.store.store import PromptStore
from isogloss.serving.ray.launch import _example
from tests.fakes import fake_store, route_table, soft_prompt


def test_the_request_to_try_is_one_that_the_store_answers(tmp_path: Path) -> None:
    assert '"task"' not in _example("http://x", fake_store(tmp_path / "a").root)
    other = PromptStore.open(tmp_path / "b", create=True)
    other.publish({"a": soft_prompt(1.0, task="tickets")}, [route_table("a", task="tickets")])
    told = _example("http://x", other.root)
    assert told.startswith("curl -s http://x/v1/classify")
    assert ', "task": "tickets"}' in told
