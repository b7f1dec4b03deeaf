"""Prompts that answer together in a store: one version of a name, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from isogloss.prompts.errors import InvalidPrompt, NotFound, StoreError
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.checks import LARGEST
from isogloss.prompts.store.collect import collect, free_deleted
from isogloss.prompts.store.listing import read_details
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.upgrade import add_shipped
from isogloss.prompts.store.verify import verify
from tests.prompts import samples
from tests.prompts.damaged_files import split

ONE, TWO = samples.prompt(1), samples.prompt(2)
DUO = samples.ensemble(ONE, TWO)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """One generation: a, b, and duo for everybody."""
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"a": ONE, "b": TWO, "duo": DUO}, [samples.table("duo", Romance="a")])
    return store


def object_path(store: PromptStore, digest: str) -> Path:
    return store.root / "objects" / f"{digest.removeprefix('sha256:')}.safetensors"


def spoil(store: PromptStore, member: int) -> None:
    """Change a bit of a member's numbers on the disk."""
    path = object_path(store, DUO.digest)
    data = bytearray(path.read_bytes())
    header, body = split(bytes(data))
    begin = header[f"prompt.{member}"]["data_offsets"][0]
    data[len(data) - len(body) + begin] ^= 1
    path.write_bytes(data)


def put_together(store: PromptStore, *references: str) -> Ensemble:
    return Ensemble.of([store.member(reference) for reference in references])


def test_members_are_those_that_the_store_has_now(store: PromptStore) -> None:
    assert put_together(store, "a", "b@1").digest == DUO.digest
    store.publish({"a": samples.prompt(3)})
    newer = put_together(store, "a", "b")
    assert [member.reference for member in newer.members] == ["a@2", "b@1"]
    assert put_together(store, "a@1", "b").digest == DUO.digest


def test_an_ensemble_is_no_member(store: PromptStore) -> None:
    with pytest.raises(InvalidPrompt, match=r"duo@1 is 2 prompts .* instead: a@1, b@1"):
        put_together(store, "a", "duo")
    with pytest.raises(NotFound, match="no prompt 'c'"):
        put_together(store, "a", "c")


def test_it_is_a_version_like_any_other(store: PromptStore) -> None:
    read = store.read(DUO.digest)
    assert isinstance(read, Ensemble)
    assert read.to_bytes() == DUO.to_bytes()
    assert store.publish({"duo": put_together(store, "a", "b")}).generation == 1
    state = store.publish({"duo": samples.ensemble(TWO, ONE)})
    assert (state.generation, state.resolve("duo")[1]) == (2, 2)
    assert store.publish({"duo": ONE}).resolve("duo")[1] == 3
    assert store.rollback(1).digest_of("duo") == DUO.digest


def test_it_goes_on_when_its_members_names_do_not(store: PromptStore) -> None:
    store.publish({}, [samples.table("duo")])
    store.delete("b")
    free_deleted(store)
    store.publish({"a": samples.prompt(3)})
    assert not object_path(store, TWO.digest).exists()
    read = store.read(store.state().digest_of("duo"))
    assert isinstance(read, Ensemble)
    assert [prompt.digest for prompt in read.prompts] == [ONE.digest, TWO.digest]
    assert verify(store).whole
    collect(store, keep=1)
    assert verify(store).whole
    assert store.read(DUO.digest).digest == DUO.digest


def test_a_route_s_prompts_share_their_labels_with_it(store: PromptStore) -> None:
    health = samples.card(names=("sports", "health"))
    other = samples.ensemble(*(samples.prompt(seed, of_card=health) for seed in (5, 6)))
    with pytest.raises(InvalidPrompt, match=r"'duo' has labels .*'health'|'a' has labels"):
        store.publish({"duo": other})
    assert store.latest() == 1


def test_numbers_that_no_precision_holds_are_refused_by_the_member(store: PromptStore) -> None:
    vast = samples.prompt(4)
    vast.arrays["prompt"][1, 2] = 2 * LARGEST
    with pytest.raises(InvalidPrompt, match=r"'b@1, a member of duo'.*\[1, 2\]"):
        store.publish({"duo": samples.ensemble(ONE, vast)})
    assert store.latest() == 1


def test_it_is_tried_promoted_and_ended_like_one(store: PromptStore) -> None:
    more = samples.ensemble(ONE, TWO, samples.prompt(3, of_card=samples.card(position="prefix")))
    (trial,) = store.begin_trial("duo", more, kind="canary", share=0.1).trials
    assert (trial.candidate, trial.clades) == ("duo@2", ("universal",))
    store.end_trial("duo")
    store.begin_trial("duo", more, kind="shadow", share=1)
    assert store.promote("duo").digest_of("duo") == more.digest


def test_what_is_told_of_it_holds_its_members_cards(store: PromptStore) -> None:
    told = read_details(store, store.state(), "duo")
    assert (told["length"], told["hidden_size"], told["problem"]) == (6, 8, None)
    assert told["card"]["kind"] == "ensemble"
    assert [member["name"] for member in told["card"]["members"]] == ["a", "b"]
    assert told["card"]["members"][1]["card"]["training"] == TWO.card.training
    assert [route["clade"] for route in told["routes"]] == ["universal"]


@pytest.mark.parametrize(("member", "name"), [(0, "a@1"), (1, "b@1")])
def test_damage_is_told_by_the_member_s_name(store: PromptStore, member: int, name: str) -> None:
    spoil(store, member)
    with pytest.raises(StoreError, match=rf"is damaged: .*member '{name}' is damaged.*publish"):
        store.read(DUO.digest)
    assert name in read_details(store, store.state(), "duo")["problem"]
    (problem,) = verify(store).problems
    assert (problem.kind, problem.needed_by) == ("damaged", ("duo@1",))
    assert f"member '{name}' is damaged" in problem.reason


def test_damage_is_mended_from_a_copy_or_by_publishing_again(
    store: PromptStore, tmp_path: Path
) -> None:
    copy = PromptStore.open(tmp_path / "copy", create=True)
    copy.publish({"duo": DUO})
    spoil(store, 1)
    assert verify(store, repair=True, copies=[copy]).whole
    spoil(store, 0)
    store.publish({"duo": put_together(store, "a", "b"), "other": DUO})
    assert verify(store).whole


def test_shipped_ensembles_are_added_to_an_earlier_store(
    store: PromptStore, tmp_path: Path
) -> None:
    xglm = samples.card(model=samples.OTHER_MODEL)
    shipped = PromptStore.open(tmp_path / "shipped", create=True)
    duo = samples.ensemble(*(samples.prompt(seed, of_card=xglm) for seed in (7, 8)))
    table = samples.table("pair").model_copy(update={"model": samples.OTHER_MODEL})
    shipped.publish({"pair": duo}, [table])
    state = add_shipped(store, shipped, "shipped")
    assert store.read(state.digest_of("pair")).digest == duo.digest
    assert state.digest_of("duo") == DUO.digest


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path / "cache"))
    files = MemoryFileSystem()
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


@pytest.mark.usefixtures("memory")
def test_a_store_far_away_keeps_it_and_a_spoiled_cache_is_passed_over(tmp_path: Path) -> None:
    far = PromptStore.open("memory://team/ensembles", create=True)
    far.publish({"duo": DUO}, [samples.table("duo")])
    assert far.read(DUO.digest).digest == DUO.digest
    (cached,) = (tmp_path / "cache" / "objects").glob("*.safetensors")
    data = bytearray(cached.read_bytes())
    data[-1] ^= 1
    cached.write_bytes(data)
    assert far.read(DUO.digest).digest == DUO.digest


# Label priors in manifests


def test_a_manifest_has_the_format_of_priors_only_where_a_table_has_some(
    store: PromptStore,
) -> None:
    without = store.state()
    assert without.format_version == 1
    assert b"priors" not in without.to_json()
    table = samples.table("duo", Romance="a")
    prior = {"sports": -0.5, "travel": -1.5}
    with_priors = table.model_copy(update={"priors": {"fra_Latn": prior}})
    state = store.publish({}, [with_priors])
    assert state.format_version == 5
    assert b'"priors"' in state.to_json()
    (read,) = store.state().routes
    assert read.priors == {"fra_Latn": prior}
    assert StoreState.model_validate_json(state.to_json()).format_version == 5
    other = RouteTable(model=samples.MODEL, task="mood", universal="mood")
    mood = samples.prompt(5, of_card=samples.card(task="mood"))
    assert store.publish({"mood": mood}, [other]).format_version == 5
    back = store.rollback(1)
    assert (back.format_version, back.routes) == (1, without.routes)
    assert b"priors" not in back.to_json()


def test_priors_go_with_the_prompt_that_they_were_measured_with(store: PromptStore) -> None:
    prior = {"sports": -0.5, "travel": -1.5}
    table = samples.table("duo", Romance="a").model_copy(
        update={"priors": {"Romance": prior, "universal": prior}}
    )
    store.publish({}, [table])
    state = store.publish({"duo": samples.ensemble(TWO, ONE)})
    assert state.routes[0].priors == {"Romance": prior}
    assert state.format_version == 5
    assert store.publish({"a": samples.prompt(9)}).format_version == 1
