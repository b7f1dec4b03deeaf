"""Units without Ray: in this process, and the handing out of work to scripted workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import InvalidData, InvalidInput, Unavailable
from isogloss.training.workers import ray_pool
from isogloss.training.workers.pool import dispatch, run_units
from isogloss.training.workers.units import (
    ModelSpec,
    PoolSpec,
    Unit,
    WorkerLost,
    WorkerPool,
    load_model,
)
from tests.training.tiny import save_tiny, tiny
from tests.training.units import Counting, done

DIE, FAIL = "die", "fail"
SPEC = ModelSpec("never-loaded")


class ScriptedPool:
    """Workers that are ready at once and finish what they began first, first.

    `script[name]` are the outcomes of a unit's attempts in turn, and `starts` those of starting
    workers; what is not scripted goes well.
    """

    def __init__(self, script: dict[str, list[str]] | None = None, starts: Sequence[str] = ()):
        self.script = script or {}
        self.starts = deque(starts)
        self.started = 0
        self.given: list[tuple[int, str]] = []
        self.busy: set[int] = set()
        self.most_busy = 0
        self.answers: deque[tuple[int, Any, Exception | None]] = deque()

    def start(self) -> None:
        number, self.started = self.started, self.started + 1
        outcome = self.starts.popleft() if self.starts else "ready"
        errors = {DIE: WorkerLost("no memory"), FAIL: InvalidInput("no model")}
        self.answers.append((number, None, errors.get(outcome)))

    def give(self, worker: int, unit: Unit[Any, Any]) -> None:
        assert worker not in self.busy
        self.busy.add(worker)
        self.most_busy = max(self.most_busy, len(self.busy))
        self.given.append((worker, unit.name))
        left = self.script.get(unit.name, [])
        outcome = left.pop(0) if left else "finish"
        errors = {DIE: WorkerLost("killed"), FAIL: InvalidData("bad row")}
        error = errors.get(outcome)
        self.answers.append((worker, None if error else unit.name.upper(), error))

    def answer(self) -> tuple[int, Any, Exception | None]:
        answer = self.answers.popleft()
        self.busy.discard(answer[0])
        return answer


def units(*names: str) -> list[Counting]:
    return [Counting(name, Path("unused")) for name in names]


def run(pool: WorkerPool, names: str, workers: int = 2) -> tuple[dict[int, Any], list[str]]:
    said: list[str] = []
    return dict(dispatch(units(*names), pool, workers, said.append)), said


def test_every_unit_is_done_once_by_at_most_as_many_workers_as_asked() -> None:
    pool = ScriptedPool()
    results, said = run(pool, "abcdefg", workers=3)
    assert results == dict(enumerate("ABCDEFG"))
    assert [name for _, name in pool.given] == list("abcdefg")
    assert (pool.started, pool.most_busy, said) == (3, 3, [])


def test_no_more_workers_than_units() -> None:
    pool = ScriptedPool()
    run(pool, "ab", workers=8)
    assert pool.started == 2


def test_a_dead_workers_unit_is_done_again_by_a_new_worker() -> None:
    pool = ScriptedPool({"b": [DIE, DIE]})
    results, said = run(pool, "abcd")
    assert results == dict(enumerate("ABCD"))
    workers = [worker for worker, name in pool.given if name == "b"]
    assert len(set(workers)) == 3
    assert said == ["the worker of b died (killed); a new one does it again"] * 2


def test_a_unit_that_always_kills_its_worker_is_named_after_the_others_are_done() -> None:
    pool = ScriptedPool({"b": [DIE] * 9})
    found, error = collected(pool, "abcd", 2)
    assert sorted(found) == [0, 2, 3]
    assert isinstance(error, Unavailable)
    assert str(error).startswith("b: its worker died 3 times, at last with: killed; ")
    assert [name for _, name in pool.given].count("b") == 3


def collected(pool: WorkerPool, names: str, workers: int) -> tuple[list[int], Exception]:
    found: list[int] = []
    try:
        for place, _ in dispatch(units(*names), pool, workers):
            found.append(place)
    except (Unavailable, InvalidInput) as error:
        return found, error
    pytest.fail("no error")


def test_when_two_units_kill_their_workers_no_more_are_begun() -> None:
    pool = ScriptedPool({name: [DIE] * 9 for name in "abcdefghij"})
    found, error = collected(pool, "abcdefghij", 1)
    assert found == []
    assert isinstance(error, Unavailable)
    assert len(pool.given) < 30


def test_an_error_of_a_unit_is_not_tried_again_and_keeps_its_class() -> None:
    pool = ScriptedPool({"b": [FAIL]})
    found, error = collected(pool, "abcdefgh", 3)
    assert type(error) is InvalidData
    assert str(error) == "bad row"
    assert found == [0, 2, 3]  # c ran beside b, and d began before b's error was heard
    assert "e" not in {name for _, name in pool.given}


def test_a_worker_that_cannot_start_is_replaced() -> None:
    pool = ScriptedPool(starts=[DIE, "ready", DIE])
    results, _ = run(pool, "abc")
    assert results == dict(enumerate("ABC"))


def test_work_goes_on_with_the_workers_that_could_start() -> None:
    pool = ScriptedPool(starts=["ready", *[DIE] * 50])
    results, _ = run(pool, "abcdefgh", workers=4)
    assert len(results) == 8
    assert {worker for worker, _ in pool.given} == {0}


def test_no_worker_can_start() -> None:
    with pytest.raises(Unavailable, match=r"no worker could start \(no memory\); install the same"):
        run(ScriptedPool(starts=[DIE] * 50), "abc")


def test_a_start_that_fails_for_a_reason_is_that_error() -> None:
    with pytest.raises(InvalidInput, match="no model"):
        run(ScriptedPool(starts=[FAIL]), "abc")


def test_work_begins_before_every_worker_is_there() -> None:
    class SlowSecond(ScriptedPool):
        def start(self) -> None:
            if self.started:
                self.started += 1  # never answers
            else:
                super().start()

    pool = SlowSecond()
    assert run(pool, "abc")[0] == dict(enumerate("ABC"))
    assert pool.started == 2


class Ears:
    def __init__(self, stop_at: str | None = None) -> None:
        self.names: list[str] = []
        self.stop_at = stop_at

    def heard(self, name: str) -> None:
        self.names.append(name)
        if name == self.stop_at:
            raise KeyboardInterrupt


def test_in_this_process_units_run_in_order_with_one_model_and_a_live_progress(
    tmp_path: Path,
) -> None:
    ears = Ears()
    work = [Counting(name, tmp_path) for name in ("one", "three", "two")]
    found = list(run_units(work, tiny("bloom"), None, out=tmp_path, progress=ears))
    assert found == [(0, 3), (1, 5), (2, 3)]
    assert ears.names == ["one", "three", "two"]
    assert (tmp_path / "two.txt").read_text() == "two 32\n"


def test_in_this_process_ctrl_c_comes_out_and_keeps_what_finished(tmp_path: Path) -> None:
    work = [Counting(name, tmp_path) for name in "abc"]
    found = []
    running = run_units(work, tiny("bloom"), None, out=tmp_path, progress=Ears("b"))
    with pytest.raises(KeyboardInterrupt), closing(running):  # noqa: PT012
        for place, _ in running:
            found.append(place)
    assert found == [0]
    assert done(tmp_path) == ["a"]


def test_in_this_process_an_error_ends_the_job(tmp_path: Path) -> None:
    work = [Counting("a", tmp_path), Counting("b", tmp_path, error="bad"), Counting("c", tmp_path)]
    with pytest.raises(InvalidData, match=r"^bad$"):
        list(run_units(work, tiny("bloom"), None, out=tmp_path))
    assert done(tmp_path) == ["a"]


def test_nothing_to_do_needs_no_workers(tmp_path: Path) -> None:
    assert list(run_units([], tiny("bloom"), PoolSpec(4, SPEC), out=tmp_path)) == []


@pytest.mark.parametrize(
    ("cores", "workers", "share"),
    [
        ([8], 1, 8),
        ([8], 2, 4),
        ([8], 3, 2),
        ([4, 4], 3, 2),
        ([5, 5], 3, 2),
        ([3, 5], 2, 3),
        ([0, 8], 2, 4),  # a head that takes no work
        ([2], 4, 1),  # more workers than cores: they wait, or share
        ([], 2, 1),
    ],
)
def test_cores_are_shared_so_that_all_workers_find_room(
    cores: list[int], workers: int, share: int
) -> None:
    assert ray_pool.fair_share(cores, workers) == share


def test_the_options_for_workers(tmp_path: Path) -> None:
    spec = ModelSpec(str(save_tiny("xglm", tmp_path / "model")), device="cpu")
    model, workers = load_model(spec, None, None)
    assert (model.dtype, workers) == (torch.float32, None)
    assert load_model(spec, 2, None)[1] == PoolSpec(2, spec)
    assert load_model(spec, 2, "head:6379")[1] == PoolSpec(2, spec, "head:6379")
    for count in (0, -1):
        with pytest.raises(InvalidInput, match=f"--workers {count}: give 1 or more"):
            load_model(SPEC, count, None)
    with pytest.raises(InvalidInput, match="--ray-address 'head:6379': say how many workers"):
        load_model(SPEC, None, "head:6379")


def test_a_worker_on_a_machine_without_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mark").touch()
    folders = ray_pool._Folders(str(tmp_path), str(tmp_path / "out"), "mark")
    ray_pool._enter(folders, patience_s=0)
    (tmp_path / "out" / "mark").unlink()  # another folder of the same name
    with pytest.raises(InvalidInput, match=r"--out: .*/out is not the folder .* network file"):
        ray_pool._enter(folders, patience_s=0)
    absent = ray_pool._Folders(str(tmp_path / "absent"), str(tmp_path / "out"), "mark")
    with pytest.raises(InvalidInput, match=r"there is no folder .*/absent here"):
        ray_pool._enter(absent, patience_s=0)


def test_a_worker_says_on_which_machine_it_could_not_start(tmp_path: Path) -> None:
    folders = ray_pool._Folders(str(tmp_path / "absent"), str(tmp_path), "mark")
    with pytest.raises(InvalidInput, match=r"^worker on "):
        ray_pool.Worker(SPEC, torch.get_num_threads(), folders).start()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "The actor died unexpectedly.\n\tpid: 1\nThe actor is dead because its worker process "
            "has died. Worker exit detail: Worker unexpectedly exits. End of file. Some common "
            "causes include: (1) many",
            "Worker unexpectedly exits. End of file",
        ),
        (
            "The actor died.\nThe actor is dead because its node has died. Node Id: 7",
            "its node has died. Node Id: 7",
        ),
        (
            "an error raised in its creation task\n  File x\nModuleNotFoundError: No module named "
            "'training'",
            "ModuleNotFoundError: No module named 'training'",
        ),
        ("", "RuntimeError"),
    ],
)
def test_a_death_in_one_line(said: str, reason: str) -> None:
    assert ray_pool._reason(RuntimeError(said)) == reason
