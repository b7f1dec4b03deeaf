"""`isogloss prompts combine`: files and stored prompts, as a file or as a version of a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples
from tests.prompts.command_line import Cli

ONE, TWO, THREE = (samples.prompt(seed) for seed in (1, 2, 3))


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A store with a and b; a answers for everybody."""
    cli = Cli(tmp_path)
    PromptStore.open(cli.store, create=True).publish(
        {"a": ONE, "b": TWO}, [samples.table("a", Romance="b")]
    )
    return cli


def test_stored_prompts_are_published_together_and_routed(cli: Cli) -> None:
    done = cli.json("combine", "a", "b@1", "--name", "duo", "--route", "universal", "--note", "why")
    digest = samples.ensemble(ONE, TWO).digest
    assert done["prompts"] == [{"name": "duo", "version": 1, "digest": digest}]
    assert (done["generation"], done["changed"]) == (2, True)
    state = PromptStore.open(cli.store).state()
    assert (state.routes[0].universal, state.note) == ("duo", "why")
    again = cli.json("combine", "a", "b", "--name", "duo")
    assert (again["generation"], again["changed"]) == (2, False)


def test_files_and_stored_prompts_make_one_file_that_is_published(cli: Cli) -> None:
    out = cli.folder / "together.safetensors"
    done = cli.json("combine", cli.file("Seed 3", THREE), "b", "--out", out)
    made = load_prompt(out)
    assert isinstance(made, Ensemble)
    assert done == {"file": str(out), "digest": made.digest, "members": ["seed-3", "b@1"]}
    assert [member.prompt.digest for member in made.members] == [THREE.digest, TWO.digest]
    assert PromptStore.open(cli.store).latest() == 1
    published = cli.json("publish", out, "--route", "Romance")
    assert published["prompts"][0]["digest"] == made.digest
    said = cli.run("combine", "a", "b", "--out", cli.folder / "duo.safetensors").stdout
    assert "a@1, b@1 together, sha256:" in said


def test_files_alone_need_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli = Cli(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, prompt in (("one", ONE), ("two", TWO)):
        cli.file(name, prompt).rename(tmp_path / name)  # a file is one by any name
    cli.json("combine", "one", "two", "--out", "duo")
    assert load_prompt(tmp_path / "duo").hidden_size == 8
    assert not cli.store.exists()


def test_it_is_put_on_trial_and_promoted(cli: Cli) -> None:
    options = ("--name", "a", "--canary", "5%", "--route", "universal")
    done = cli.json("combine", "a", "b", *options)
    (trial,) = done["trials"]
    assert (trial["candidate"], trial["kind"], trial["share"]) == ("a@2", "canary", 0.05)
    assert cli.json("promote", "a")["generation"] == 3
    shown = cli.json("show", "a")
    assert (shown["version"], shown["card"]["kind"]) == (2, "ensemble")
    table = cli.run("show", "a").stdout
    assert "members" in table
    assert "a@1, b@1" in table
    assert "ensemble" in cli.run("list").stdout
    cli.json("rollback")
    assert cli.json("show", "a")["version"] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a", "b"], "give --name NAME to publish them together, or --out FILE"),
        (["a", "b", "--name", "c", "--out", "c.safetensors"], "or --out FILE"),
        (["a", "b", "--out", "c.safetensors", "--route", "universal"], "go with --name"),
        (["a", "b", "--out", "c.safetensors", "--shadow"], "go with --name"),
        (["a", "b", "--out", "c.safetensors", "--note", "why"], "go with --name"),
        (["a", "b", "--name", "../c"], "prompt name '../c'"),
        (["a", "b", "--out", "none/c.safetensors"], "--out none/c.safetensors cannot be written"),
        (["a", "--name", "c"], "2 to 16 members, and 1 are given"),
        (["a", "b", "a@1", "--name", "c"], "member 'a@1' is in the ensemble twice"),
        (["a", "nobody", "--name", "c"], "no prompt 'nobody'"),
        (["a", "b@9", "--name", "c"], "b@1 to b@1 exist"),
        (["a", "none.safetensors", "--name", "c"], "none.safetensors"),
        (["a", "b@x", "--name", "c"], "number from 1"),
    ],
)
def test_errors(cli: Cli, monkeypatch: pytest.MonkeyPatch, given: list[str], words: str) -> None:
    monkeypatch.chdir(cli.folder)
    assert words in cli.error(2, "combine", *given)
    assert PromptStore.open(cli.store).latest() == 1
    assert not list(cli.folder.glob("*.safetensors"))


def test_an_ensemble_is_no_member_from_a_file_either(cli: Cli) -> None:
    out = cli.folder / "duo.safetensors"
    cli.json("combine", "a", "b", "--out", out)
    cli.json("combine", "a", "b", "--name", "duo")
    for duo in (str(out), "duo"):
        said = cli.error(2, "combine", "a", duo, "--name", "more")
        assert "2 prompts that answer together; name those you want instead: a@1, b@1" in said


def test_an_adapter_holds_one_prompt(cli: Cli) -> None:
    cli.json("combine", "a", "b", "--name", "duo")
    said = cli.error(2, "export-peft", "duo", "--out", cli.folder / "adapter")
    assert "name those you want instead: a@1, b@1" in said
