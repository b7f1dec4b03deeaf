"""Prompts with numbers that no precision holds: no way of changing a store lets them answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store import files as store_files
from isogloss.prompts.store.checks import check_servable, newly_answering
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples
from tests.prompts.command_line import Cli

WILD = SoftPrompt(samples.prompt(3).card, torch.full((3, 8), 1e38))
REFUSED = r"prompt '%s'.*'prompt' holds 1e\+38 at \[0, 0\].*65504.*; train it again"


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"world": samples.prompt(1)}, [samples.table()])
    return store


def planted(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Make a change as an earlier release would, which asked nothing."""
    with monkeypatch.context() as earlier:
        earlier.setattr(store_files, "check_servable", lambda name, prompt: None)
        change()


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.publish({"world": WILD}),
        lambda store: store.publish({"new": WILD}),
        lambda store: store.publish({"new": WILD}, [samples.table("new")]),
        lambda store: store.begin_trial("new", WILD, kind="canary", share=1, clades=["universal"]),
    ],
)
def test_none_is_written(store: PromptStore, change: Callable[[PromptStore], object]) -> None:
    with pytest.raises(InvalidPrompt, match=REFUSED % "(new|world)"):
        change(store)
    assert store.latest() == 1
    assert not store.objects.has(WILD.digest)


def test_none_that_is_there_is_routed_to_promoted_or_brought_back(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, lambda: store.publish({"world": WILD, "spare": WILD}))
    store.publish({"world": samples.prompt(1)})  # the way out
    with pytest.raises(InvalidPrompt, match=REFUSED % "world"):
        store.rollback(to=2)
    with pytest.raises(InvalidPrompt, match=REFUSED % "spare"):
        store.publish({}, [samples.table("spare")])
    other = SoftPrompt(WILD.card, WILD.vectors * -1)
    planted(monkeypatch, lambda: begin_canary(store, other))
    with pytest.raises(InvalidPrompt, match="'world'"):
        store.promote("world")
    store.end_trial("world")
    assert store.rollback(to=1).routes == store.state(1).routes


def begin_canary(store: PromptStore, prompt: SoftPrompt) -> None:
    store.begin_trial("world", prompt, kind="canary", share=1.0)


def test_what_answers_already_is_not_asked_about_again(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, lambda: store.publish({"world": WILD}))
    state = store.publish({"other": samples.prompt(2)})
    assert state.generation == 3
    assert newly_answering(store.state(1), state) == {WILD.digest: "world"}
    assert newly_answering(store.state(1), state, samples.OTHER_MODEL.fingerprint) == {}
    assert newly_answering(store.state(2), state) == {}


def test_the_command_says_which_number_and_publishes_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.json("publish", cli.file("world", samples.prompt(1)), "--route", "universal")
    message = cli.error(2, "publish", cli.file("wild", WILD), "--route", "universal")
    assert re.search(REFUSED % "wild", message)
    assert cli.json("list")["generation"] == 1


@pytest.mark.parametrize("value", [1e38, -1e38, 1e30, 1e19, 65_520.0, -65_505.0])
def test_what_no_precision_holds_is_refused_without_a_model(value: float) -> None:
    vectors = torch.zeros(3, 8)
    vectors[1, 1] = value
    with pytest.raises(InvalidPrompt, match=r"'mine'.*'prompt' holds .* at \[1, 1\].*65504"):
        check_servable("mine", SoftPrompt(WILD.card, vectors))


@pytest.mark.parametrize("value", [65_504.0, -65_504.0, 1e-45, -1e-40, 0.0])
def test_what_every_precision_holds_is_not(value: float) -> None:
    prompt = SoftPrompt(WILD.card, torch.full((3, 8), value))
    check_servable("mine", prompt)
    assert torch.isfinite(prompt.vectors.half()).all()
