"""A ladder of pocket models: its plan, what is left of it, and trainings that fail by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.training.recipes.pocket import ladder as command
from isogloss.training.recipes.pocket.begun import claimed
from isogloss.training.recipes.pocket.ladder import Ladder, climb
from isogloss.training.recipes.pocket.processes import Child, run_side_by_side
from tests.some import some
from tests.training.recipes.made_up import recipe

MODELS = ("pocket-bloom", "pocket-xglm")


def ladder(folder: Path, *, steps: int = 4000, alphas: Sequence[float] = (0.0, 0.15)) -> Ladder:
    return Ladder(folder / "data", folder / "out", folder / "work", MODELS, alphas, (0, 1), steps)


def finish(folder: Path, name: str) -> None:
    (folder / "out" / name).mkdir(parents=True)
    (folder / "out" / name / "README.md").write_text("done")


def test_every_model_is_planned_with_every_alpha_from_every_seed(tmp_path: Path) -> None:
    left = ladder(tmp_path).left()
    assert [child.name for child in left] == [
        "pocket-bloom-alpha0-seed0",
        "pocket-xglm-alpha0-seed0",
        "pocket-bloom-alpha0.15-seed0",
        "pocket-xglm-alpha0.15-seed0",
        "pocket-bloom-alpha0-seed1",
        "pocket-xglm-alpha0-seed1",
        "pocket-bloom-alpha0.15-seed1",
        "pocket-xglm-alpha0.15-seed1",
    ]
    words = " ".join(left[3].command)
    assert "--model pocket-xglm --suffix=-alpha0.15-seed0 --alpha 0.15 --seed 0" in words
    assert "--steps 4000 --threads 1" in words
    assert "--resume" in words


def test_each_child_has_one_thread_and_keeps_its_memory_but_the_teacher_has_all(
    tmp_path: Path,
) -> None:
    for child in some(ladder(tmp_path).left()):
        assert child.environment["OMP_NUM_THREADS"] == "1"
        assert int(child.environment["MALLOC_MMAP_THRESHOLD_"]) > 100_000_000
        assert {"MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"} <= child.environment.keys()
    teaching = ladder(tmp_path).teaching()
    assert teaching.environment == {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    assert teaching.command[-1] == "--teach"


def test_a_finished_model_is_left_as_it_is(tmp_path: Path) -> None:
    finish(tmp_path, "pocket-xglm-alpha0.15-seed0")
    names = [child.name for child in ladder(tmp_path).left()]
    assert len(names) == 7
    assert "pocket-xglm-alpha0.15-seed0" not in names


def test_a_ladder_that_was_begun_with_other_steps_is_refused(tmp_path: Path) -> None:
    (_, begun), *_ = ladder(tmp_path, steps=90).rungs()
    with claimed(tmp_path / "work" / begun.name, begun, resume=True):
        pass
    with pytest.raises(InvalidInput, match="alpha0-seed0 was begun with steps 90, and now it is 4"):
        ladder(tmp_path).left()


def test_a_folder_of_work_is_one_process_at_a_time_and_one_recipes(tmp_path: Path) -> None:
    one = recipe("pocket-bloom")
    with claimed(tmp_path, one, resume=True):
        with pytest.raises(InvalidInput, match="another process trains pocket-bloom there"):
            claimed(tmp_path, one, resume=True).__enter__()
        (tmp_path / "tokenizer.json").touch()
    other = recipe("pocket-bloom", alpha=0.15)
    with pytest.raises(InvalidInput, match=r"begun with alpha 0\.0, and now it is 0\.15"):
        claimed(tmp_path, other, resume=True).__enter__()
    with claimed(tmp_path, other, resume=False):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "recipe.json"]


def child(folder: Path, name: str, code: str) -> Child:
    return Child(name, (sys.executable, "-c", code), {}, folder / name, steps=10)


def test_a_killed_training_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "killed" / "log.jsonl"
    log.parent.mkdir()
    log.write_text('{"step": 7, "loss": 3.5}\n{"step": ')
    failures = run_side_by_side(
        [
            child(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"),
            child(tmp_path, "raised", "raise ValueError('no text in ntrex')"),
            child(tmp_path, "whole", "import pathlib; print('said')"),
        ],
        workers=1,
    )
    assert len(failures) == 2
    assert failures[0].startswith("killed was not finished (killed by SIGKILL")
    assert failures[1].startswith("raised was not finished (exit code 1: ValueError: no text in n")
    assert str(tmp_path / "raised" / "output.txt") in failures[1]
    assert (tmp_path / "whole" / "output.txt").read_text() == "said\n"
    told = capsys.readouterr()
    assert "whole is done" in told.err
    assert told.out == ""


def test_trainings_run_side_by_side(tmp_path: Path) -> None:
    # Each waits for the other's file, so that one after the other neither would end.
    wait = """
import pathlib, time
pathlib.Path({own!r}).touch()
until = time.monotonic() + 60
while not pathlib.Path({other!r}).exists():
    assert time.monotonic() < until
    time.sleep(0.01)
"""
    a, b = str(tmp_path / "a.txt"), str(tmp_path / "b.txt")
    both = [
        child(tmp_path, "a", wait.format(own=a, other=b)),
        child(tmp_path, "b", wait.format(own=b, other=a)),
    ]
    assert run_side_by_side(both, workers=2) == []


def test_a_ladder_names_every_training_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(children: Sequence[Child], workers: int) -> list[str]:
        ran.extend(f"{child.name} of {workers}" for child in children)
        return [f"{children[0].name} was killed"] if workers == 3 else []

    monkeypatch.setattr(command, "run_side_by_side", run)
    with pytest.raises(IsoglossError, match="pocket-bloom-alpha0-seed0 was killed; give the comma"):
        climb(ladder(tmp_path, alphas=(0.0,)), workers=3)
    assert ran[:2] == ["the teacher of 1", "pocket-bloom-alpha0-seed0 of 3"]


def test_nothing_is_read_where_all_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ladder(tmp_path, alphas=(0.15,))
    for _, planned in whole.rungs():
        finish(tmp_path, planned.name)
    monkeypatch.setattr(Ladder, "teaching", lambda self: pytest.fail("the teacher was asked"))
    climb(whole, workers=1)
    assert whole.left() == []


def test_the_command_refuses_an_alpha_out_of_bounds(tmp_path: Path) -> None:
    words = ["--data", "nowhere", "--out", "out", "--work", "work", "--alpha", "2", "--steps", "1"]
    program = [sys.executable, "-m", "isogloss.training.recipes.pocket.ladder", *words]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "alpha is 2.0; give a number from 0" in ended.stderr


def test_a_ladder_that_is_ended_ends_its_trainings(tmp_path: Path) -> None:
    code = f"""
import signal, sys
from pathlib import Path
from isogloss.training.recipes.pocket.processes import Child, run_side_by_side
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sleep = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
run_side_by_side([Child("a", (sys.executable, "-c", sleep), {{}}, Path({str(tmp_path)!r}), 1)], 1)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    output, until = tmp_path / "output.txt", time.monotonic() + 60
    while not (output.is_file() and output.read_text().endswith("\n")):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(output.read_text()), 0)
