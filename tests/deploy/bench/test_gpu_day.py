"""`make gpu`: steps that fail, hang or were done before, and one that is rehearsed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from isogloss.deploy.bench import gpu_day, gpu_steps
from isogloss.deploy.bench.gpu_day import STEPS, Day, Step, run_day
from isogloss.deploy.bench.markdown import markdown_table, read_report
from isogloss.prompts.errors import InvalidInput

WRITES = "import json, sys; json.dump(json.loads(sys.argv[2]), open(sys.argv[1], 'w'))"


class Scripted(Day):
    """Whose steps run a line of Python."""

    def command(self, step: Step) -> list[str]:
        report = {"table": f"table of {step.name}", "gpu_day": self.key()}
        script = {
            "fails": "print('why it failed'); raise SystemExit(3)",
            "hangs": "import time; print('begun', flush=True); time.sleep(60)",
        }.get(step.name, WRITES)
        return [sys.executable, "-c", script, str(self.file(step.name)), json.dumps(report)]


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Scripted(tmp_path / "out", rehearse=False, data=None)


def ran(day: Day, steps: list[Step], seconds: float = 60) -> tuple[int, str]:
    said: list[str] = []
    return run_day(day, steps, seconds, said.append), "\n".join(said)


def test_a_failure_says_where_to_look_and_the_next_goes_on(day: Day) -> None:
    steps = [
        Step("fails", 60, "its part", ()),
        Step("hangs", 1, "a lock", ()),
        Step("ok", 60, "", ()),
    ]
    missing, said = ran(day, steps)
    assert missing == 2
    assert "fails: failed with status 3; look at its part. The end of" in said
    assert "    why it failed" in said
    assert "hangs: not done within 1 s; look at a lock" in said
    assert "table of ok" in said


def test_what_was_done_is_not_done_again(day: Day) -> None:
    step = Step("once", 60, "", ())
    assert "once: ok (" in ran(day, [step])[1]
    missing, said = ran(day, [step])
    assert (missing, "once: ok, measured before" in said) == (0, True)
    changed = Scripted(day.out, rehearse=True, data=None)
    assert "once: ok (" in ran(changed, [step])[1], "a rehearsal's result is none of a GPU's"


def test_steps_are_skipped_by_name(day: Day) -> None:
    steps = [Step("serve", 60, "", ("no_such_package",)), Step("precision", 60, "", ())]
    said = ran(day, steps)[1]
    assert "serve: skipped: no_such_package is not installed" in said
    assert "precision: skipped: labels need sentences" in said
    assert "once: skipped: no time is left" in ran(day, [Step("once", 60, "", ())], 1)[1]


def test_engines_are_joined_for_the_documentations_table(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_steps, "_SMALL", gpu_steps._SMALL | {"vocab_size": 300})
    day.out.mkdir()
    for name in ("bloom-560m", "xglm-564M"):
        report = gpu_steps.measured(f"engine-{name}", True, None, day.out)
        assert "times faster than transformers" in report["table"]
        day.file(f"engine-{name}").write_text(json.dumps({**report, "gpu_day": day.key()}))
    ran(day, [])
    whole = read_report(day.file("engine"))
    assert whole["settings"]["models"] == ["bloom-560m", "xglm-564M"]
    assert "BLOOM-560M | XGLM-564M |" in markdown_table(whole)


@pytest.mark.parametrize("step", ["memory", "profile"])
def test_a_rehearsed_step_has_a_table(step: str, tmp_path: Path) -> None:
    report: dict[str, Any] = gpu_steps.measured(step, True, None, tmp_path)
    assert json.loads(json.dumps(report)) == report
    assert ("bloom-1b1" if step == "memory" else "aten::") in report["table"]


def test_every_step_can_be_measured() -> None:
    apart = {"precision", "profile"}
    engines = {f"engine-{name}" for name in gpu_steps._TABLE2}
    assert {step.name for step in STEPS} == apart | engines | set(gpu_steps._OTHERS)


def test_without_a_gpu_only_a_rehearsal_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InvalidInput, match="torch sees no GPU; --rehearse"):
        gpu_day.main()
    with pytest.raises(InvalidInput, match="--only 'nothing': name one of"):
        gpu_day.main(rehearse=True, only=["nothing"])
