"""Runs that end before their file: killed, interrupted, refused; then resumed to the same bytes."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.serving.files import opened
from isogloss.serving.files.part import Part, digest_of
from tests.serving.files.conftest import Classify

ISOGLOSS = [sys.executable, "-c", "from isogloss.deploy.cli import main; main()"]
STUB = Path(__file__).with_name("stub_server.py")
PATIENCE_S = 120


@contextlib.contextmanager
def stub_process(pause_s: float) -> Iterator[str]:
    """The stub in a process of its own; yields its address."""
    command = [sys.executable, str(STUB), str(pause_s)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """12,000 rows take it about five seconds: a few times as long as what is saved at a time."""
    with stub_process(0.4) as url:
        yield url


def write_rows(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for n in range(rows):
            text = "" if n % 997 == 5 else f'Zeile {n}, "ü"\n' + "." * (n % 50)
            writer.writerow([n, text])


def command(path: Path, out: Path, url: str, *options: str) -> list[str]:
    asked = ["classify", str(path), "--column", "text", "--out", str(out), "--url", url]
    return [*ISOGLOSS, *asked, *options]


def saved(out: Path) -> int:
    """How many rows are done for sure."""
    with contextlib.suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads(out.with_name(f"{out.name}.progress").read_text())
        return int(found["rows"])
    return 0


def stop_in_the_middle(asked: list[str], out: Path, number: int, rows: int) -> tuple[int, str]:
    """Send a signal once more rows are saved than there are; returns exit code and stderr."""
    running = subprocess.Popen(asked, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until_s = time.monotonic() + PATIENCE_S
    while saved(out) <= rows and running.poll() is None and time.monotonic() < until_s:
        time.sleep(0.01)
    running.send_signal(number)
    _, said = running.communicate(timeout=PATIENCE_S)
    return running.returncode, said


def test_killed_twice_and_resumed_the_bytes_are_the_same(
    tmp_path: Path, slow: str, classify: Classify
) -> None:
    path, out, whole = (tmp_path / name for name in ("in.csv", "out.csv", "whole.csv"))
    write_rows(path, 12_000)
    asked = command(path, out, slow)
    first, _ = stop_in_the_middle(asked, out, signal.SIGKILL, 0)
    rows = saved(out)
    assert (first, 0 < rows < 12_000, out.exists()) == (-signal.SIGKILL, True, False)
    with out.with_name("out.csv.part").open("ab") as file:  # as if killed within a line
        file.write(b'11000,"Zeile')
    second, _ = stop_in_the_middle(asked, out, signal.SIGKILL, rows)
    assert (second, rows < saved(out) < 12_000) == (-signal.SIGKILL, True)
    rows = saved(out)
    done = classify(path, out, "--json")
    assert json.loads(done.stdout)["resumed_after"] == rows
    assert json.loads(done.stdout)["not_answered"] == 13
    classify(path, whole)
    assert out.read_bytes() == whole.read_bytes()
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [str(n) for n in range(12_000)]
    assert {each.name for each in tmp_path.iterdir()} == {"in.csv", "out.csv", "whole.csv"}


def test_interrupted_it_says_how_to_go_on(tmp_path: Path, slow: str, classify: Classify) -> None:
    path, out, whole = (tmp_path / name for name in ("in.csv", "out.csv", "whole.csv"))
    write_rows(path, 12_000)
    code, said = stop_in_the_middle(command(path, out, slow), out, signal.SIGINT, 0)
    rows = saved(out)
    assert code == 130
    assert f"stopped after {rows:,} rows; the same command goes on from there" in said
    assert 0 < rows < 12_000
    assert classify(path, out).exit_code == 0
    classify(path, whole)
    assert out.read_bytes() == whole.read_bytes()


def test_parquet_and_json_lines_resume_to_the_same_bytes(
    tmp_path: Path, slow: str, classify: Classify
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = [f"row {n}" + "!" * (n % 5) for n in range(12_000)]
    parquet.write_table(arrow.table({"text": texts}), tmp_path / "in.parquet")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "in.jsonl").write_text(lines)
    for kind in ("parquet", "jsonl"):
        path, out, whole = (tmp_path / f"{name}.{kind}" for name in ("in", "out", "whole"))
        code, _ = stop_in_the_middle(command(path, out, slow), out, signal.SIGKILL, 0)
        assert (code, 0 < saved(out) < 12_000) == (-signal.SIGKILL, True)
        assert classify(path, out).exit_code == 0
        assert classify(path, whole).exit_code == 0
        assert out.read_bytes() == whole.read_bytes()


def stopped(path: Path, out: Path, classify: Classify) -> None:
    """Leave a run that was stopped by a row that ends it: 600 rows are done."""
    rows = "".join(f'{{"text": "row {n}"}}\n' for n in range(600))
    path.write_text(rows + '{"text": "a", "isogloss": 1}\n')
    done = classify(path, out)
    assert (done.exit_code, saved(out) > 0) == (2, True)
    assert "the same command goes on from there" in done.stderr


def test_another_input_or_other_options_are_refused(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    stopped(path, out, classify)
    before = out.with_name("out.jsonl.part").read_bytes()
    for options in (["--language", "fr"], ["--column", "other"], ["--abstain", "0.5"]):
        done = classify(path, out, *options)
        assert done.exit_code == 2
        assert "of another input or of other options" in done.stderr
        assert "--restart" in done.stderr
    text = path.read_text()
    path.write_text(text.replace("row 1", "row i"))
    assert "of another input or of other options" in classify(path, out).stderr
    assert out.with_name("out.jsonl.part").read_bytes() == before
    path.write_text(text.replace(', "isogloss": 1', ""))
    assert classify(path, out, "--restart").exit_code == 0
    assert len(out.read_bytes().splitlines()) == 601


def test_before_any_row_is_done_options_may_change(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b"text,label\na,b\n")
    digest = digest_of(path, {})
    with Part(out, digest, b"head\n"):
        pass
    assert classify(path, out, "--prefix", "my_").exit_code == 0
    assert out.read_bytes().startswith(b"text,label,my_label,")


def test_a_part_that_lost_its_end_is_refused(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    stopped(path, out, classify)
    with out.with_name("out.jsonl.part").open("r+b") as file:
        file.truncate(100)
    assert "shorter than the" in classify(path, out).stderr
    out.with_name("out.jsonl.progress").write_text("{")
    assert "cannot be read; begin again with --restart" in classify(path, out).stderr


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with (
        Part(out, "digest", b""),
        pytest.raises(InvalidInput, match="another run writes it"),
    ):
        Part(out, "digest", b"")


def test_a_part_stays_locked_until_it_is_the_file(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def install(part: Path, whole: Path) -> None:
        with pytest.raises(InvalidInput, match="another run writes it"):
            Part(out, "digest", b"", restart=True)
        part.replace(whole)

    with Part(out, "digest", b"head\n") as part:
        part.append(b"row\n", 1, 0)
        part.finish(install)
    assert out.read_bytes() == b"head\nrow\n"
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("restart", [False, True])
def test_a_part_that_is_installed_before_it_is_locked_is_left_alone(
    restart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.csv"
    first = Part(out, "digest", b"head\n")
    real = fcntl.flock

    def late(file: BinaryIO, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.finish(opened.install)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    if restart:
        with Part(out, "other", b"new head\n", restart=True) as second:
            assert second.path.read_bytes() == b"new head\n"
    else:
        with pytest.raises(InvalidInput, match="the file is there already"):
            Part(out, "other", b"new head\n")
        assert sorted(tmp_path.iterdir()) == [out]
    assert out.read_bytes() == b"head\n"


def test_a_part_without_progress_may_be_somebodys(tmp_path: Path) -> None:
    out, path = tmp_path / "out.csv", tmp_path / "out.csv.part"
    path.write_bytes(b"somebody's\n")
    with pytest.raises(InvalidInput, match="move it away, or write over it with --restart"):
        Part(out, "digest", b"head\n")
    assert path.read_bytes() == b"somebody's\n"
    with Part(out, "digest", b"head\n", restart=True):
        assert path.read_bytes() == b"head\n"


def test_progress_is_saved_once_a_second_and_never_ahead_of_the_part(tmp_path: Path) -> None:
    now_s = 0.0
    out = tmp_path / "out"
    path = out.with_name("out.part")
    with Part(out, "digest", b"head\n", now_s=lambda: now_s) as part:
        found = []
        for n in range(40):
            now_s = n / 10
            part.append(b"row\n", 1, 0)
            found.append(saved(out))
            assert path.stat().st_size >= 5 + 4 * saved(out)
    assert found == [0] * 10 + [11] * 10 + [21] * 10 + [31] * 10
    assert saved(out) == 40
    with Part(out, "digest", b"head\n") as part:
        assert (part.progress.rows, path.read_bytes()) == (40, b"head\n" + b"row\n" * 40)
    with pytest.raises(InvalidData, match="cannot be read"):
        digest_of(tmp_path / "nowhere", {})
    assert digest_of(path, {"a": 1}) != digest_of(path, {"a": 2})


def peak_mib(path: Path, out: Path, url: str) -> float:
    """The most memory that answering a file takes, which must succeed.

    The process tells it itself: what the system counts of a child begins with its parent's.
    """
    telling = (
        "try:\n    from isogloss.deploy.cli import main; main()\n"
        "finally:\n    print(open('/proc/self/status').read())"
    )
    asked = [sys.executable, "-c", telling, *command(path, out, url)[len(ISOGLOSS) :]]
    ran = subprocess.run(asked, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", ran.stdout, re.MULTILINE)
    assert peak is not None
    return int(peak[1]) / 1024


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    few, many = tmp_path / "few.csv", tmp_path / "many.csv"
    write_rows(few, 5_000)
    write_rows(many, 40_000)
    with stub_process(0.0) as url:
        small_mib = peak_mib(few, tmp_path / "few-out.csv", url)
        large_mib = peak_mib(many, tmp_path / "many-out.csv", url)
    assert (tmp_path / "many-out.csv").stat().st_size > 3 << 20
    assert large_mib - small_mib < 12, (small_mib, large_mib)
