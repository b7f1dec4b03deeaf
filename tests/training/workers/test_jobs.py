"""Jobs without Ray: in this process, and the handing out of work to scripted workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import InvalidData, InvalidInput, Unavailable
from isogloss.training.workers import ray_jobs
from isogloss.training.workers.crew import (
    Crew,
    Failed,
    Finished,
    Lost,
    Ready,
    Report,
    Unit,
    fair_share,
)
from isogloss.training.workers.jobs import ModelSpec, Pool, dispatch, run_units
from tests.training.tiny import save_tiny, tiny
from tests.training.units import Counting, done

DIE, FAIL = "die", "fail"
SPEC = ModelSpec("never-loaded")


class ScriptedCrew:
    """Workers that are ready at once and finish what they began first, first.

    `script[name]` are the outcomes of a unit's attempts in turn, and `starts` those of hiring; what
    is not scripted goes well.
    """

    def __init__(self, script: dict[str, list[str]] | None = None, starts: Sequence[str] = ()):
        self.script = script or {}
        self.starts = deque(starts)
        self.hired = 0
        self.given: list[tuple[int, str]] = []
        self.busy: set[int] = set()
        self.most_busy = 0
        self.reports: deque[Report] = deque()

    def hire(self) -> None:
        number, self.hired = self.hired, self.hired + 1
        outcome = self.starts.popleft() if self.starts else "ready"
        answers: dict[str, Report] = {
            DIE: Lost(number, "no memory"),
            FAIL: Failed(number, InvalidInput("no model")),
        }
        self.reports.append(answers.get(outcome, Ready(number)))

    def give(self, worker: int, unit: Unit[Any, Any]) -> None:
        assert worker not in self.busy
        self.busy.add(worker)
        self.most_busy = max(self.most_busy, len(self.busy))
        self.given.append((worker, unit.name))
        left = self.script.get(unit.name, [])
        outcome = left.pop(0) if left else "finish"
        answers: dict[str, Report] = {
            DIE: Lost(worker, "killed"),
            FAIL: Failed(worker, InvalidData("bad row")),
        }
        self.reports.append(answers.get(outcome, Finished(worker, unit.name.upper())))

    def report(self) -> Report:
        report = self.reports.popleft()
        self.busy.discard(report.worker)
        return report


def units(*names: str) -> list[Counting]:
    return [Counting(name, Path("unused")) for name in names]


def run(crew: Crew, names: str, workers: int = 2) -> tuple[dict[int, Any], list[str]]:
    said: list[str] = []
    return dict(dispatch(units(*names), crew, workers, said.append)), said


def test_every_unit_is_done_once_by_at_most_as_many_workers_as_asked() -> None:
    crew = ScriptedCrew()
    results, said = run(crew, "abcdefg", workers=3)
    assert results == dict(enumerate("ABCDEFG"))
    assert [name for _, name in crew.given] == list("abcdefg")
    assert (crew.hired, crew.most_busy, said) == (3, 3, [])


def test_no_more_workers_than_units() -> None:
    crew = ScriptedCrew()
    run(crew, "ab", workers=8)
    assert crew.hired == 2


def test_a_dead_workers_unit_is_done_again_by_a_new_worker() -> None:
    crew = ScriptedCrew({"b": [DIE, DIE]})
    results, said = run(crew, "abcd")
    assert results == dict(enumerate("ABCD"))
    workers = [worker for worker, name in crew.given if name == "b"]
    assert len(set(workers)) == 3
    assert said == ["the worker of b died (killed); a new one does it again"] * 2


def test_a_unit_that_always_kills_its_worker_is_named_after_the_others_are_done() -> None:
    crew = ScriptedCrew({"b": [DIE] * 9})
    found, error = collected(crew, "abcd", 2)
    assert sorted(found) == [0, 2, 3]
    assert isinstance(error, Unavailable)
    assert str(error).startswith("b: its worker died 3 times, at last with: killed; ")
    assert [name for _, name in crew.given].count("b") == 3


def collected(crew: Crew, names: str, workers: int) -> tuple[list[int], Exception]:
    found: list[int] = []
    try:
        for place, _ in dispatch(units(*names), crew, workers):
            found.append(place)
    except (Unavailable, InvalidInput) as error:
        return found, error
    pytest.fail("no error")


def test_when_two_units_kill_their_workers_no_more_are_begun() -> None:
    crew = ScriptedCrew({name: [DIE] * 9 for name in "abcdefghij"})
    found, error = collected(crew, "abcdefghij", 1)
    assert found == []
    assert isinstance(error, Unavailable)
    assert len(crew.given) < 30


def test_an_error_of_a_unit_is_not_tried_again_and_keeps_its_class() -> None:
    crew = ScriptedCrew({"b": [FAIL]})
    found, error = collected(crew, "abcdefgh", 3)
    assert type(error) is InvalidData
    assert str(error) == "bad row"
    assert found == [0, 2, 3]  # c ran beside b, and d began before b's error was heard
    assert "e" not in {name for _, name in crew.given}


def test_a_worker_that_cannot_start_is_replaced() -> None:
    crew = ScriptedCrew(starts=[DIE, "ready", DIE])
    results, _ = run(crew, "abc")
    assert results == dict(enumerate("ABC"))


def test_work_goes_on_with_the_workers_that_could_start() -> None:
    crew = ScriptedCrew(starts=["ready", *[DIE] * 50])
    results, _ = run(crew, "abcdefgh", workers=4)
    assert len(results) == 8
    assert {worker for worker, _ in crew.given} == {0}


def test_no_worker_can_start() -> None:
    with pytest.raises(Unavailable, match=r"no worker could start \(no memory\); install the same"):
        run(ScriptedCrew(starts=[DIE] * 50), "abc")


def test_a_start_that_fails_for_a_reason_is_that_error() -> None:
    with pytest.raises(InvalidInput, match="no model"):
        run(ScriptedCrew(starts=[FAIL]), "abc")


def test_work_begins_before_every_worker_is_there() -> None:
    class SlowSecond(ScriptedCrew):
        def hire(self) -> None:
            if self.hired:
                self.hired += 1  # never reports
            else:
                super().hire()

    crew = SlowSecond()
    assert run(crew, "abc")[0] == dict(enumerate("ABC"))
    assert crew.hired == 2


class Ears:
    def __init__(self, stop_at: str | None = None) -> None:
        self.names: list[str] = []
        self.stop_at = stop_at

    def heard(self, name: str) -> None:
        self.names.append(name)
        if name == self.stop_at:
            raise KeyboardInterrupt


def test_in_this_process_units_run_in_order_with_one_model_and_a_live_watcher(
    tmp_path: Path,
) -> None:
    ears = Ears()
    work = [Counting(name, tmp_path) for name in ("one", "three", "two")]
    found = list(
        run_units(work, SPEC, workers=None, out=tmp_path, model=tiny("bloom"), watcher=ears)
    )
    assert found == [(0, 3), (1, 5), (2, 3)]
    assert ears.names == ["one", "three", "two"]
    assert (tmp_path / "two.txt").read_text() == "two 32\n"


def test_in_this_process_ctrl_c_comes_out_and_keeps_what_finished(tmp_path: Path) -> None:
    work = [Counting(name, tmp_path) for name in "abc"]
    found = []
    running = run_units(
        work, SPEC, workers=None, out=tmp_path, model=tiny("bloom"), watcher=Ears("b")
    )
    with pytest.raises(KeyboardInterrupt), closing(running):  # noqa: PT012
        for place, _ in running:
            found.append(place)
    assert found == [0]
    assert done(tmp_path) == ["a"]


def test_in_this_process_an_error_ends_the_job(tmp_path: Path) -> None:
    work = [Counting("a", tmp_path), Counting("b", tmp_path, error="bad"), Counting("c", tmp_path)]
    with pytest.raises(InvalidData, match=r"^bad$"):
        list(run_units(work, SPEC, workers=None, out=tmp_path, model=tiny("bloom")))
    assert done(tmp_path) == ["a"]


def test_the_model_is_loaded_by_name_where_it_is_not_at_hand(tmp_path: Path) -> None:
    spec = ModelSpec(str(save_tiny("xglm", tmp_path / "model")), device="cpu")
    assert list(run_units([Counting("a", tmp_path)], spec, workers=None, out=tmp_path)) == [(0, 1)]
    assert spec.load().dtype == torch.float32


def test_nothing_to_do_needs_neither_model_nor_workers(tmp_path: Path) -> None:
    assert list(run_units([], SPEC, workers=Pool(4), out=tmp_path)) == []


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
    assert fair_share(cores, workers) == share


def test_the_options_for_workers() -> None:
    assert Pool.of(None, None) is None
    assert Pool.of(2, None) == Pool(2)
    assert Pool.of(2, "head:6379") == Pool(2, "head:6379")
    for count in (0, -1):
        with pytest.raises(InvalidInput, match=f"--workers {count}: give 1 or more"):
            Pool.of(count, None)
    with pytest.raises(InvalidInput, match="--ray-address 'head:6379': say how many workers"):
        Pool.of(None, "head:6379")


def test_a_worker_on_a_machine_without_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mark").touch()
    place = ray_jobs._Place(str(tmp_path), str(tmp_path / "out"), "mark")
    ray_jobs._enter(place, patience_s=0)
    (tmp_path / "out" / "mark").unlink()  # another folder of the same name
    with pytest.raises(InvalidInput, match=r"--out: .*/out is not the folder .* network file"):
        ray_jobs._enter(place, patience_s=0)
    absent = ray_jobs._Place(str(tmp_path / "absent"), str(tmp_path / "out"), "mark")
    with pytest.raises(InvalidInput, match=r"there is no folder .*/absent here"):
        ray_jobs._enter(absent, patience_s=0)


def test_a_worker_says_on_which_machine_it_could_not_start(tmp_path: Path) -> None:
    place = ray_jobs._Place(str(tmp_path / "absent"), str(tmp_path), "mark")
    answer = ray_jobs.Worker(SPEC, torch.get_num_threads(), place).start()
    assert isinstance(answer, InvalidInput)
    assert str(answer).startswith("worker on ")


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
    assert ray_jobs._reason(RuntimeError(said)) == reason
