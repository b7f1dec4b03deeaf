"""`isogloss classify` of files without a server, and of texts with one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from isogloss.prompts.console.console import ReportingGroup
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.cli import commands
from tests.fakes import MODEL, fake_classifier, fake_store
from tests.serving.client.served import fake_server

app = typer.Typer(cls=ReportingGroup)
commands.register(app)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    monkeypatch.setattr("isogloss.serving.pipeline.engine.build_classifier", fake_classifier)
    return fake_store(tmp_path / "store")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["classify", *map(str, arguments)])


def test_a_file_is_answered_the_same_here_and_by_a_server(
    tmp_path: Path, store: PromptStore
) -> None:
    path = tmp_path / "in.csv"
    texts = ["fra_Latn: un", "", "swh_Latn: mbili", "x" * 100_001, *["three"] * 600]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    asked = (path, "--column", "text")
    done = run(*asked, "--out", here, "--model", MODEL, "--store", store.root)
    assert done.exit_code == 0, done.output
    with fake_server(tmp_path / "server") as url:
        assert run(*asked, "--out", there, "--url", url).exit_code == 0
    assert here.read_bytes() == there.read_bytes()
    with here.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["prompt"] for row in rows[:5]] == ["romance@1", "", "congo@1", "", "everywhere@1"]
    assert [row["clade"] for row in rows[:3]] == ["Romance", "", "Atlantic-Congo"]
    assert [row["known"] for row in rows[:3]] == ["0.25", "", "0.0"]
    assert rows[3]["error"].startswith("100001 characters are too many")
    assert len(rows) == 604


def test_an_option_that_cannot_be_met_ends_the_run(tmp_path: Path, store: PromptStore) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b"text\none\n")
    asked = (path, "--column", "text", "--out", out, "--model", MODEL, "--store", store.root)
    done = run(*asked, "--language", "xx")
    assert (done.exit_code, out.exists()) == (2, False)
    assert "unknown language 'xx'" in done.stderr
    assert run(*asked, "--language", "fr").exit_code == 0


def test_texts_are_answered_the_same_by_a_server(tmp_path: Path, store: PromptStore) -> None:
    texts = ("fra_Latn: un", "three", "--json")
    here = run(*texts, "--model", MODEL, "--store", store.root)
    with fake_server(tmp_path / "server") as url:
        there = run(*texts, "--url", url)
        refused = run("a", " ", "--url", url)
    assert json.loads(here.stdout) == json.loads(there.stdout)
    assert (refused.exit_code, "text 2: the text is empty" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("in.csv", "--column", "text"), "--out: missing; a file takes both"),
        (("in.csv", "--out", "out.csv"), "--column: missing; a file takes both"),
        (("-", "--column", "text", "--out", "out.csv"), "it goes with one file, and '-' is none"),
        (("a", "b", "--column", "text", "--out", "out.csv"), "it goes with one file"),
        (("a", "--url", "http://127.0.0.1:1", "--device", "cpu"), "--device: a server has its own"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
