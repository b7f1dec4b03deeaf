"""A store that the release before wrote opens, tells what it told, and is published on.

`release_before/` is one with every format of manifest: seven generations with a deleted prompt, a
trial, a rollback under a request id and another trial.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from isogloss.prompts.store import change_records
from isogloss.prompts.store.collect import collect
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from tests.prompts import samples

WRITTEN = Path(__file__).with_name("release_before")


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    shutil.copytree(WRITTEN, tmp_path / "store")
    return PromptStore.open(tmp_path / "store")


def test_it_says_what_it_said(store: PromptStore) -> None:
    assert verify(store).whole
    assert [state.format_version for state in store.history()] == [4, 4, 3, 2, 1, 1, 1]
    state = store.state()
    (table,), (trial,), (record,) = state.routes, state.trials, state.records
    assert (table.universal, table.clades) == ("world", {"Romance": "romance"})
    assert state.digest_of("romance") == samples.prompt(4).digest
    assert (trial.candidate, trial.kind, trial.clades) == ("romance@3", "shadow", ("Romance",))
    assert (record.id, record.generation, state.deleted["spare"].newest) == ("r-1", 6, 1)
    for digest in (samples.prompt(1).digest, samples.prompt(4).digest, samples.prompt(5).digest):
        assert store.read(digest).digest == digest


def test_manifests_are_written_byte_for_byte_alike(store: PromptStore) -> None:
    names = sorted(path.name for path in (WRITTEN / "generations").iterdir())
    assert len(names) == 7
    for number, name in enumerate(names, start=1):
        assert store.state(number).to_json() == (WRITTEN / "generations" / name).read_bytes()


def test_it_is_changed_in_every_way(store: PromptStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_records, "_expired", lambda record, now: False)
    assert store.rollback(3, request_id="r-1").generation_of("r-1") == 6  # made by the old release
    assert store.promote("romance").digest_of("romance") == samples.prompt(5).digest
    again = store.publish({"spare": samples.prompt(6)}, clades=["East_Bantu"])
    assert (again.generation, again.resolve("spare")[1]) == (9, 2)
    back, third = store.rollback(3), store.state(3)
    assert (back.routes, back.digest_of("romance")) == (third.routes, third.digest_of("romance"))
    assert collect(store, keep=1).newest == 10
    assert verify(store).whole
