"""Lines of standard input as tools write them: which are answered, and how the others are told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from isogloss.prompts.console.console import ReportingGroup
from isogloss.prompts.errors import InvalidInput, TooLarge
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.cli import commands
from isogloss.serving.cli import texts as command_texts
from isogloss.serving.cli.texts import read_texts
from tests.fakes import MODEL, fake_classifier, fake_store

app = typer.Typer(cls=ReportingGroup)
commands.register(app)
LINES = [f"Satz {n}" + "." * (n % 40) for n in range(1, 601)]
TOO_LONG = "x" * 100_001


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    monkeypatch.setattr("isogloss.serving.pipeline.engine.build_classifier", fake_classifier)
    return fake_store(tmp_path / "store")


def run(store: PromptStore, stdin: bytes, *options: str) -> Result:
    arguments = ["classify", "-", "--model", MODEL, "--store", str(store.root), *options]
    return CliRunner().invoke(app, arguments, input=stdin)


def answered(store: PromptStore, stdin: bytes) -> tuple[list[dict[str, Any]], str]:
    done = run(store, stdin, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["results"], done.stderr


def test_lines_that_cannot_be_answered_keep_their_places(store: PromptStore) -> None:
    odd = {1: "", 2: " \t", 257: "", 281: "", 300: TOO_LONG, 599: "\u3000"}
    lines = [odd.get(n, line) for n, line in enumerate(LINES, start=1)]
    results, said = answered(store, "\n".join(lines).encode())
    assert len(results) == 600
    assert {n for n, each in enumerate(results, start=1) if "error" in each} == set(odd)
    for n, each in enumerate(results, start=1):
        if n in odd:
            assert each["line"] == n
            assert each["error"].startswith(f"line {n} of standard input: ")
            assert f"not answered: line {n} of standard input: " in said
        else:
            assert each["tokens"] == len(LINES[n - 1])
    assert results[280]["error_type"] == "validation"
    assert "the text is empty" in results[280]["error"]
    assert results[299]["error_type"] == "too_large"
    assert "100001 characters are too many" in results[299]["error"]
    assert len(said.splitlines()) == len(odd)


def test_whole_requests_of_blank_lines_are_passed_over(store: PromptStore) -> None:
    results, said = answered(store, b"a\n" + b"\n" * 700 + b"b\n")
    assert [each["tokens"] for each in (results[0], results[-1])] == [1, 1]
    assert (len(results), sum("error" in each for each in results)) == (702, 700)
    assert len(said.splitlines()) == 11
    assert said.endswith("not answered: 690 more lines\n")


def test_the_table_says_which_lines_are_not_answered(store: PromptStore) -> None:
    done = run(store, b"eins\n\ndrei\n")
    assert done.exit_code == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]][1] == ["(line", "2", "is"]
    assert "eins" in done.stdout
    assert "drei" in done.stdout


@pytest.mark.parametrize(
    "stdin", [b" \n\n\n x".replace(b"x", TOO_LONG.encode()), TOO_LONG.encode()]
)
def test_lines_of_which_none_can_be_answered_are_refused(store: PromptStore, stdin: bytes) -> None:
    done = run(store, stdin, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: line 1 of standard input: ")


def test_what_is_wrong_with_the_request_is_told_once(store: PromptStore) -> None:
    done = run(store, b"a\n\nb\n", "--language", "xx")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("unknown language 'xx'") == 1


@pytest.mark.parametrize(
    "stdin",
    [
        b"eins\nzwei",
        b"eins\nzwei\n",
        b"eins\nzwei\n\n \n\n",
        b"eins\r\nzwei\r\n\r\n",
        b"eins\rzwei\r",
        b"\xef\xbb\xbfeins\n\xef\xbb\xbfzwei\n",
    ],
)
def test_marks_line_ends_and_blank_last_lines(store: PromptStore, stdin: bytes) -> None:
    results, said = answered(store, stdin)
    assert ([each["tokens"] for each in results], said) == ([4, 4], "")


def test_detect_answers_every_line() -> None:
    text = "Die Mannschaft hat das Spiel gewonnen."
    lines = [text] * 300
    lines[280], lines[290] = "", "x" * 200_000
    done = CliRunner().invoke(app, ["detect", "-", "--json"], input="\n".join(lines))
    assert done.exit_code == 0, done.output
    codes = [each["code"] for each in json.loads(done.stdout)["results"]]
    assert len(codes) == 300
    assert codes[280] == "und"
    assert {code for n, code in enumerate(codes) if n not in (280, 290)} == {"deu_Latn"}


def test_endless_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_texts, "MAX_STDIN_BYTES", 2**20)
    monkeypatch.setattr(command_texts, "MAX_STDIN_LINES", 1000)
    assert len(read_texts(["-"], io.BytesIO(b"a\n" * 1000))) == 1000
    for stdin, said in {
        b"a\n" * 1001: "more than 1,000 lines",
        b"a\r" * 1001: "more than 1,000 lines",
        b"a" * (2**20 + 1): "more than 1 MiB",
    }.items():
        with pytest.raises(TooLarge, match=said):
            read_texts(["-"], io.BytesIO(stdin))


def test_standard_input_may_be_closed() -> None:
    with pytest.raises(InvalidInput, match="standard input is closed"):
        read_texts(["a", "-"], None)
