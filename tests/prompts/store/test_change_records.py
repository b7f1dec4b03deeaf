"""What was asked for under one id is done once, and told again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.store.change_records import (
    RECORDS_KEPT,
    RECORDS_KEPT_FOR,
    ChangeRequest,
    find,
    unexpired,
    with_record,
)
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from tests.prompts import samples

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = "same"
BACK = ChangeRequest(ID, "rollback", "to generation 1")


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Three generations of p."""
    store = PromptStore.open(tmp_path / "store", create=True)
    for seed in (1, 2, 3):
        store.publish({"p": samples.prompt(seed)}, [samples.table("p")])
    return store


def test_asked_again_a_change_is_not_made_again(store: PromptStore) -> None:
    made = store.rollback(1, request_id=ID)
    assert (made.generation, made.generation_of(ID)) == (4, 4)
    assert PromptStore.open(store.root).rollback(1, request_id=ID) == made
    others = store.publish({"p": samples.prompt(7)})
    again = PromptStore.open(store.root).rollback(1, request_id=ID)
    assert (again.identity, again.generation_of(ID)) == (others.identity, 4)
    assert store.latest() == 5
    assert again.resolve("p")[2] == samples.prompt(7).digest  # nobody's publish is undone


CHANGES: dict[str, Callable[[PromptStore], StoreState]] = {
    "publish": lambda store: store.publish({"p": samples.prompt(1)}, request_id=ID),
    "rollback": lambda store: store.rollback(request_id=ID),
    "begin": lambda store: store.begin_trial(
        "p", samples.prompt(8), kind="shadow", share=1.0, request_id=ID
    ),
    "delete": lambda store: store.delete("spare", request_id=ID),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_retry_after_others_changes_leaves_these(store: PromptStore, name: str) -> None:
    store.publish({"spare": samples.prompt(5)})
    change = CHANGES[name]
    made = change(store)
    assert made.generation == 5
    others = store.publish({"p": samples.prompt(9), "spare": samples.prompt(6)})
    again = change(store)
    assert again.identity == others.identity
    assert again.generation_of(ID) == 5
    assert {"p", "spare"} <= set(again.prompts)


def test_trials_end_once(store: PromptStore) -> None:
    for operation in ("promote", "end_trial"):
        store.begin_trial("p", samples.prompt(20 + len(operation)), kind="canary", share=1.0)
        made = getattr(store, operation)("p", request_id=operation)
        store.begin_trial("p", samples.prompt(40 + len(operation)), kind="canary", share=1.0)
        again = getattr(store, operation)("p", request_id=operation)
        assert again.generation_of(operation) == made.generation
        assert again.trials  # of another candidate, which nobody spoke of
        store.end_trial("p")


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (lambda store: store.rollback(2, request_id=ID), "rollback to generation 2"),
        (lambda store: store.promote("p", request_id=ID), "promotion of 'p'"),
    ],
)
def test_one_id_cannot_stand_for_two_changes(
    store: PromptStore, change: Callable[[PromptStore], StoreState], asked: str
) -> None:
    store.rollback(1, request_id=ID)
    with pytest.raises(InvalidInput) as refusal:
        change(store)
    said = str(refusal.value)
    assert "'same' stands for rollback to generation 1, which made generation 4" in said
    assert f"cannot stand for {asked} too" in said
    assert store.latest() == 4


def test_an_id_that_no_record_can_hold_is_refused(store: PromptStore) -> None:
    with pytest.raises(InvalidInput, match="65 characters are too many, at most 64"):
        store.rollback(1, request_id="x" * 65)
    assert store.latest() == 3


def test_what_is_refused_leaves_no_record(store: PromptStore) -> None:
    with pytest.raises(InvalidInput, match="answers for"):
        store.delete("p", request_id=ID)
    assert store.rollback(1, request_id=ID).generation == 4


def test_two_that_ask_at_once_make_one_change(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Generations.append

    def beaten(generations: Generations, state: StoreState) -> bool:
        monkeypatch.undo()
        PromptStore.open(store.root).rollback(1, request_id=ID)
        return append(generations, state)

    monkeypatch.setattr(Generations, "append", beaten)
    state = store.rollback(1, request_id=ID)
    assert (state.generation, state.generation_of(ID), store.latest()) == (4, 4, 4)


def test_records_outlive_rollbacks_repairs_and_collection(store: PromptStore) -> None:
    store.rollback(1, request_id=ID)
    store.rollback(3)
    assert store.rollback(1, request_id=ID).generation_of(ID) == 4
    (store.root / "generations" / "00000005.json").write_bytes(b"rot")
    assert verify(store, repair=True).whole
    for number in store.generations.numbers()[:-1]:
        store.generations.remove(number)
    assert store.rollback(1, request_id=ID).generation_of(ID) == 4


def test_a_backup_knows_no_more_than_it_holds(store: PromptStore) -> None:
    store.rollback(1, request_id=ID)
    (store.root / "generations" / "00000004.json").unlink()
    assert store.rollback(1, request_id=ID).generation == 4  # it was lost, so it is made


def test_ids_mean_nothing_any_more_after_a_while() -> None:
    records = with_record((), BACK, 4, NOW)
    other = ChangeRequest(BACK.id, "rollback", "to generation 9")
    for later, known in (
        (RECORDS_KEPT_FOR, True),
        (RECORDS_KEPT_FOR + timedelta(seconds=1), False),
    ):
        assert (find(records, BACK, NOW + later) is not None) == known
        assert bool(unexpired(records, NOW + later)) == known
    assert find(records, other, NOW + RECORDS_KEPT_FOR + timedelta(seconds=1)) is None
    for number in range(RECORDS_KEPT):
        records = with_record(records, ChangeRequest(str(number), "rollback", ""), number + 5, NOW)
    assert len(records) == RECORDS_KEPT
    assert find(records, BACK, NOW) is None


def test_manifests_change_their_format_only_where_there_are_records(store: PromptStore) -> None:
    def manifest(generation: int) -> dict[str, object]:
        path = store.root / "generations" / f"{generation:08d}.json"
        found: dict[str, object] = json.loads(path.read_text())
        return found

    assert manifest(3)["format_version"] == 1
    assert "records" not in manifest(3)
    store.rollback(1, request_id=ID)
    assert manifest(4)["format_version"] == 4
    assert store.publish({"q": samples.prompt(1)}).records == store.state(4).records
