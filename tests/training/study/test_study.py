"""`isogloss study` end to end on a task and models of our own; interruptions; bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.cli.progress import StudyBars, TrainingBars
from isogloss.training.study import plain_times
from isogloss.training.study.evidence import EvidenceUnit
from isogloss.training.study.plan import StudyChoices, check_parts, study_configs
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptTrainer
from isogloss.training.tuning.published import AS_PUBLISHED
from isogloss.training.tuning.trainer import Trainer
from tests.some import some
from tests.training.commands import isogloss, rows_of
from tests.training.tiny import LABELS, SIZES, WORDS, save_tiny, tiny, write_task, write_tsv


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("xglm", tmp_path_factory.mktemp("models") / "tiny-xglm")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("data") / "home")


def command(model: Path, task: Path, out: Path) -> list[object]:
    """Two seeds, every part, ten runs."""
    own = ["study", "--model", model, "--data", task, "--out", out, "--task", "home"]
    own += ["--languages", "every", "--seed", 0, 1, "--shots", 4, "--shot-counts", 4, 6]
    own += ["--length", 3, "--lengths", 1, 3, "--epochs", 3, "--learning-rate", 0.03]
    return [*own, "--unfrozen-learning-rate", 1e-3, "--population", 3]


def tables(out: Path) -> dict[str, bytes]:
    """Every table but the one of times."""
    files = (out / "tables").glob("*.csv")
    return {path.name: path.read_bytes() for path in files if path.name != "timings.csv"}


def table_of(out: Path, name: str) -> list[dict[str, str]]:
    return rows_of(out / "tables" / f"{name}.csv")


@pytest.fixture(scope="module")
def whole(model: Path, task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole")
    isogloss(*command(model, task, out))
    return out


def test_every_part_has_its_table_figure_and_place_in_the_report(whole: Path) -> None:
    parts = ("figure2", "figure3", "figure4", "figure5", "table1", "table4", "section4")
    for part in parts:
        assert table_of(whole, part), part
    drawn = {path.stem for path in (whole / "figures").glob("*.svg")}
    assert drawn == {"figure2", "figure3", "figure4", "figure5", "table4"}
    assert {row["r"] for row in table_of(whole, "table1")} == {""}  # three languages are too few
    html = (whole / "report.html").read_text(encoding="utf-8")
    assert "Figure 5" in html
    assert "French" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_accuracies_are_those_of_the_prompts_on_the_split(whole: Path, task: Path) -> None:
    """Against `isogloss evaluate`, which keeps other files."""
    name = "plain-4shot-length3-seed1"
    rows = table_of(whole, "accuracies")
    found = {r["language"]: float(r["accuracy_percent"]) for r in rows if r["run"] == name}
    assert set(found) == set(WORDS)
    file = whole / "prompts" / f"{name}.safetensors"
    card_model = json.loads(_card(file))["model"]["id"]
    result = isogloss(
        *("evaluate", "--model", card_model, "--data", task, "--prompts", file, "--json"),
        *("--languages", "every", "--split", "test", "--out", whole / "test.csv"),
    )
    (summary,) = json.loads(result.stdout)["prompts"]
    expected = {code: 100 * share for code, share in summary["languages"].items()}
    assert found == pytest.approx(expected, abs=0.01)


def _card(path: Path) -> str:
    from isogloss.prompts.format.soft_prompt import SoftPrompt

    return SoftPrompt.load(path).card.to_json()


def test_interrupted_twice_with_ctrl_c_the_tables_are_those_of_an_uninterrupted_study(
    model: Path, task: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def in_training(self: TrainingBars, member: int, record: EpochRecord) -> None:
        nonlocal steps
        steps += 1
        if steps == 12:
            raise KeyboardInterrupt

    def in_evaluation(self: StudyBars, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingBars, "epoch", in_training)
        said = isogloss(*command(model, task, tmp_path), exit_code=130).stderr
    assert "run it again to go on" in said
    with monkeypatch.context() as patched:
        patched.setattr(StudyBars, "answered", in_evaluation)
        isogloss(*command(model, task, tmp_path), exit_code=130)
    assert not (tmp_path / "tables").exists()
    isogloss(*command(model, task, tmp_path))
    assert tables(tmp_path) == tables(whole)
    assert not list(tmp_path.rglob("*.state.safetensors"))


KILLED = """
import os, signal
from pathlib import Path
from isogloss.training.cli.progress import TrainingBars
goes_on = TrainingBars.epoch
def epoch(*given):
    if len(list(Path(os.environ["PROMPTS"]).glob("*seed0.safetensors"))) >= 3:
        os.kill(os.getpid(), signal.SIGKILL)
    goes_on(*given)
TrainingBars.epoch = epoch
from isogloss.deploy.cli import main
main()
"""


@pytest.mark.soak
def test_killed_at_any_time_it_goes_on(
    model: Path, task: Path, tmp_path: Path, whole: Path
) -> None:
    """SIGKILL, when the first population's prompts are on disk and the second one trains."""
    given = [str(arg) for arg in command(model, task, tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PROMPTS": str(tmp_path / "prompts")}
    process = subprocess.run(
        [sys.executable, "-c", KILLED, *given], env=environment, capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (tmp_path / "report.html").exists()
    isogloss(*command(model, task, tmp_path))
    assert tables(tmp_path) == tables(whole)


def test_what_is_there_is_not_made_twice(
    model: Path, task: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("made twice")

    before = tables(whole)
    monkeypatch.setattr(EvidenceUnit, "run", never)
    monkeypatch.setattr("isogloss.training.tuning.job.TrainingUnit.run", never)
    isogloss(*command(model, task, whole))
    assert tables(whole) == before


def test_plain_steps_are_timed_once_a_seed(whole: Path) -> None:
    steps = [r for r in table_of(whole, "timings") if r["what"] == "plain step"]
    assert {(r["name"], r["setting"]) for r in steps} == {
        (f"seed{seed}", setting) for seed in (0, 1) for setting in ("frozen", "full")
    }
    assert all(float(r["seconds"]) > 0 for r in steps)
    html = (whole / "report.html").read_text(encoding="utf-8")
    assert "Alone and without cached text, a step takes" in html
    assert "As trained here, a prompt took" in html


def test_steps_are_of_all_weights_and_then_of_the_prompt_alone(
    model: Path, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[bool] = []

    def step(trainer: Trainer, prompt: PromptTrainer, batch: list[int]) -> float:
        before = [weight.detach().clone() for weight in prompt.weights]
        vectors = prompt.prompt().detach().clone()
        seconds = timed(trainer, prompt, batch)
        after = zip(before, prompt.weights, strict=True)
        moved.append(any(not one.equal(other.detach()) for one, other in after))
        assert not vectors.equal(prompt.prompt().detach())
        return seconds

    timed = plain_times._step
    monkeypatch.setattr(plain_times, "_step", step)
    loaded = Backbone.load(str(model), device="cpu")
    choices = StudyChoices(length=3, seeds=(0,), shots=4, more={"task": "home"})
    (unit,) = plain_times.plain_times(study_configs(loaded, choices), str(task), tmp_path)
    assert unit.kept() is None
    unit.run(loaded)
    assert moved == [True, False] * 10
    step_s = unit.kept()
    assert step_s is not None
    assert step_s.prompt_s > 0
    unit.file.write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInput, match="delete it, and it is made again"):
        unit.kept()


def test_only_some_parts_and_json(model: Path, task: Path, tmp_path: Path) -> None:
    args = [*command(model, task, tmp_path), "--only", "figure4", "--no-unfrozen", "--json"]
    said = json.loads(isogloss(*args).stdout)
    assert (said["parts"], said["runs"]) == (["figure4"], 4)
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {"figure4.svg", "figure4.png"}
    assert set(said["languages"]) == set(WORDS)


def test_every_run_is_planned_once() -> None:
    small = tiny("bloom")
    configs = study_configs(small, StudyChoices(length=10, seeds=(0, 1)))
    frozen = [c for c in configs.values() if not c.unfrozen]
    assert len(frozen) == 2 * (1 + 3 + 5 + 1)  # base, other shots, other lengths, residual
    assert len(configs) - len(frozen) == 2
    assert {c.length for c in frozen} == {1, 2, 5, 10, 20, 30}
    assert {c.shots for c in frozen} == {4, 8, 16, 32}
    (residual, *_) = [c for c in frozen if c.kind == "residual"]
    assert residual.bottleneck == 16
    assert isinstance(residual, TrainingConfig)
    only = study_configs(small, StudyChoices(parts=("figure5",), seeds=(3,)))
    assert list(only) == ["plain-8shot-length10-seed3", "residual-8shot-length10-seed3"]


def test_parts_keep_the_reports_order() -> None:
    assert check_parts(("table1", "figure2")) == ("figure2", "table1")


def without(task: Path, folder: Path, code: str, split: str) -> Path:
    copied = write_task(folder)
    (copied / code / f"{split}.tsv").unlink()
    return copied


def test_a_study_as_published_beside_the_default(
    model: Path, task: Path, whole: Path, tmp_path: Path
) -> None:
    isogloss(*command(model, task, tmp_path), "--as-published", "--beside", whole)
    rows = table_of(tmp_path, "beside")
    assert [(row["part"], row["runs"]) for row in rows] == [
        ("figure2", "model frozen"),
        ("figure2", "all weights trained"),
        ("figure3", "4 examples per label"),
        ("figure3", "6 examples per label"),
        ("figure4", "prompts of 1 token"),
        ("figure4", "prompts of 3 tokens"),
        ("figure5", "reparameterized"),
    ]
    ours, other = (table_of(out, "figure2") for out in (tmp_path, whole))
    first = {name: float(value) for name, value in rows[0].items() if name not in ("part", "runs")}
    assert first["percent"] == pytest.approx(float(ours[0]["mean_percent"]))
    assert first["other_percent"] == pytest.approx(float(other[0]["mean_percent"]))
    difference = first["percent"] - first["other_percent"]
    assert first["difference_points"] == pytest.approx(difference, abs=1e-3)
    assert first["low_points"] <= first["difference_points"] <= first["high_points"]
    settings = {row["setting"]: row["value"] for row in table_of(tmp_path, "settings")}
    assert settings["variant"] == "as published"
    assert settings["training.init"] == "uniform"
    assert settings["training.reparameterization"] == "mlp"
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What differs from another study" in html
    assert "<b>as published</b>" in html
    assert "<b>default</b>" in (whole / "report.html").read_text(encoding="utf-8")
    said = isogloss(*command(model, task, tmp_path), exit_code=2).stderr
    assert "holds a study of the variant 'as published'" in said
    shutil.rmtree(tmp_path / "tables")  # as where the study was interrupted
    said = isogloss(*command(model, task, tmp_path), exit_code=2).stderr
    assert "was trained with another" in said


def test_every_run_is_as_published() -> None:
    choices = StudyChoices(length=3, variant="as published")
    for config in some(study_configs(tiny("xglm"), choices).values()):
        published = {**AS_PUBLISHED, "reparameterization": config.reparameterization}
        assert {name: getattr(config, name) for name in published} == published
        assert config.reparameterization == ("mlp" if config.kind == "residual" else "none")


class TestBadInput:
    """One line on standard error, exit code 2, and nothing is trained."""

    def refusal(self, *args: object) -> str:
        result = isogloss(*args, exit_code=2)
        assert result.stdout == ""
        return result.stderr.replace("==> training\n", "")

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--only", "figure9"], "--only 'figure9': no such part; there are figure2"),
            (["--languages", "eng_Latn,xyz_Latn"], "has no xyz_Latn"),
            (["--source", "xyz_Latn"], "language 'xyz_Latn': no such folder"),
            (["--shots", 7], "label 'garden' has 6 examples and 7 are wanted"),
            (["--lengths", 0], "length = 0"),
            (["--workers", 0], "--workers 0: give 1 or more"),
            (["--cache-gb", -1], "--cache-gb -1.0"),
            (["--beside", "nowhere"], "settings.csv: no such file; finish that study first"),
        ],
    )
    def test_settings(
        self, model: Path, task: Path, tmp_path: Path, more: list[object], said: str
    ) -> None:
        assert said in self.refusal(*command(model, task, tmp_path / "out"), *more)
        assert not list(tmp_path.rglob("*.safetensors"))

    def test_a_study_of_other_languages_beside_this_one(
        self, model: Path, task: Path, whole: Path, tmp_path: Path
    ) -> None:
        args = [*command(model, task, tmp_path / "out"), "--only", "figure2", "--no-unfrozen"]
        args += ["--languages", "eng_Latn", "--beside", whole]
        said = self.refusal(*args)
        assert "that study was tested on test, 3 languages, this one on test, 1 language;" in said
        assert not list((tmp_path / "out").rglob("*.safetensors"))

    def test_a_language_without_the_split(self, model: Path, task: Path, tmp_path: Path) -> None:
        data = without(task, tmp_path / "data", "fra_Latn", "test")
        said = self.refusal(*command(model, data, tmp_path / "out"))
        assert "fra_Latn/test.tsv: no such file" in said
        assert not list(tmp_path.rglob("*.safetensors"))

    def test_a_label_that_the_source_does_not_have(
        self, model: Path, task: Path, tmp_path: Path
    ) -> None:
        data = write_task(tmp_path / "data")
        write_tsv(data / "deu_Latn" / "test.tsv", [("1", "cooking", "eine Suppe")])
        said = self.refusal(*command(model, data, tmp_path / "out"))
        assert "deu_Latn test: unknown labels ['cooking']" in said
        assert not list(tmp_path.rglob("*.safetensors"))

    def test_a_disk_that_fills_up_keeps_what_is_finished(
        self, model: Path, task: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from isogloss.prompts.files import durable

        written = 0
        write = durable.write_atomically

        def full(path: Path, data: bytes) -> None:
            nonlocal written
            written += path.suffix == ".json"
            if written == 2:
                raise OSError(28, os.strerror(28))
            write(path, data)

        with monkeypatch.context() as patched:
            patched.setattr("isogloss.training.files.durable.write_atomically", full)
            said = isogloss(*command(model, task, tmp_path), exit_code=2).stderr
        assert "No space left on device" in said
        assert len(list(tmp_path.rglob("*.json"))) >= 1
        isogloss(*command(model, task, tmp_path))
        assert tables(tmp_path) == tables(whole)


def test_evidence_of_a_changed_split_is_not_reused(whole: Path) -> None:
    names = {path.name for path in (whole / "evidence").rglob("*.json")}
    assert len(names) == len(WORDS)
    assert all(name.split("-")[1] == "test" for name in names)
    (any_file, *_) = (whole / "evidence").rglob("*.json")
    kept: dict[str, Any] = json.loads(any_file.read_text(encoding="utf-8"))
    assert kept["labels"] == list(LABELS)
    assert all(len(own) == SIZES["test"] * len(LABELS) for own in kept["given"].values())
