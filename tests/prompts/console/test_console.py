"""What commands print, to terminals of any encoding and to readers that go away."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from isogloss.prompts.console import console
from isogloss.prompts.console.console import print_json, say
from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.console.refusals import printable
from isogloss.prompts.errors import InvalidInput

HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\u202egpj.exe\x7f"
SHOWN = r"a\x1b]0;owned\x07b\x9b2Jc\u202egpj.exe\x7f"
CLI = (sys.executable, "-c", "from isogloss.deploy.cli import main; main()")


class Terminal(io.TextIOWrapper):
    """A stream of one encoding, and what was written to it."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, encoding, errors, newline="")

    @property
    def shown(self) -> str:
        self.flush()
        return self.written.getvalue().decode(self.encoding)


def test_harmful_characters_are_shown_as_escapes() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("\ud800 \udcff\r\u2028\u2066") == r"\ud800 \udcff\x0d\u2028\u2066"


@pytest.mark.parametrize(
    "text", ["tab\tand\nline", "می‌خواهم", "👩‍🔬 é ß 한국어", "שלום\u200f!", ""]
)
def test_text_of_all_scripts_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_cells_headers_and_titles_are_text_and_harmless() -> None:
    table = PlainTable("[red]" + HOSTILE, title=f"[b]{HOSTILE}", caption=HOSTILE)
    table.add_row(f"[link=x]{HOSTILE}[/link]")
    terminal = io.StringIO()
    Console(file=terminal, width=300).print(table)
    shown = terminal.getvalue()
    assert "\x1b" not in shown
    for text in ("[red]", "[b]", f"[link=x]{SHOWN}[/link]"):
        assert text in shown
    assert shown.count(SHOWN) == 4


def test_errors_and_lines_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), console.reporting_errors():
        raise InvalidInput(f"label {HOSTILE}\n is odd")
    say(HOSTILE)
    out, err = capsys.readouterr()
    assert (out, err) == (f"{SHOWN}\n", f"error: label {SHOWN} is odd\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_whole_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"text": f"ß 한 \udcff {HOSTILE}"}
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    print_json(answer)
    assert json.loads(terminal.shown) == answer
    assert not any(harm in terminal.shown for harm in ("\x1b", "\x9b", "\u202e", "\x7f"))


@pytest.mark.parametrize(
    ("encoding", "errors", "shown"),
    [
        ("ascii", "strict", "Fu?ball ?\n"),
        ("ascii", "surrogateescape", "Fu?ball ?\n"),
        ("latin-1", "strict", "Fußball ?\n"),
        ("ascii", "backslashreplace", "Fu\\xdfball \\u2026\n"),
        ("utf-8", "strict", "Fußball …\n"),
    ],
)
def test_what_an_encoding_lacks_is_replaced(
    encoding: str, errors: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(encoding, errors)
    monkeypatch.setattr(sys, "stdout", terminal)
    console.prepare_streams()
    say("Fußball …")
    assert terminal.shown == shown


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*CLI, *arguments], env={**os.environ, **environment}, capture_output=True, check=False
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_commands_end_well_on_a_terminal_of_another_age(encoding: str) -> None:
    found = command("detect", "Fußball ist schön: 축구", PYTHONIOENCODING=encoding)
    assert (found.returncode, found.stderr) == (0, b"")
    assert "ist sch" in found.stdout.decode(encoding)
    helped = command("train", "--help", PYTHONIOENCODING=encoding)
    assert (helped.returncode, helped.stderr) == (0, b"")
    refused = command("train", "--data", "no/such/ß", "--out", "out", PYTHONIOENCODING=encoding)
    assert refused.returncode == 2
    assert b"Traceback" not in refused.stderr


@pytest.mark.parametrize("arguments", [("detect", "a"), ("detect", "--json", "a"), ("--help",)])
def test_a_reader_that_has_gone_away_is_no_traceback(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            [*CLI, *arguments], stdout=output, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("arguments", [("detect", "a"), ("detect", "--json", "a")])
def test_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as output:
        done = subprocess.run(
            [*CLI, *arguments], stdout=output, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: standard output cannot be written (No space left on device)"
    ]
