"""The commands end to end: a task of one's own, from a folder of sentences to published routes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.store.store import PromptStore
from isogloss.training.cli.options import parse_shots, repeat_names
from isogloss.training.cli.progress import TrainingBars
from isogloss.training.evaluation.predictions import read_predictions
from isogloss.training.tuning.prompt_trainer import EpochRecord
from tests.training.commands import answer, isogloss
from tests.training.tiny import LABELS, SIZES, WORDS, save_tiny, sentences, write_task, write_tsv


def refusal(*args: object) -> str:
    """The one line a person reads; nothing else was printed."""
    result = isogloss(*args, exit_code=2)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module", params=["bloom", "xglm"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both architectures, as folders in the hub's layout."""
    return save_tiny(request.param, tmp_path_factory.mktemp("models") / f"Tiny-{request.param}")


@pytest.fixture(scope="module")
def bloom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("bloom", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path / "home")


def settings(model: Path, task: Path, out: Path) -> list[object]:
    own = ["--model", model, "--data", task, "--out", out, "--task", "home", "--shots", 4]
    return [*own, "--length", 3, "--epochs", 3, "--learning-rate", 0.03]


def test_a_task_of_ones_own_trains_evaluates_and_routes(
    model: Path, task: Path, tmp_path: Path
) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    basics = settings(model, task, out)
    words = ["--word", "weather=storm", "--word", "music=violin"]
    both = ("--source", "eng_Latn,fra_Latn", "--validation", "dev")
    plain = answer("train", *basics, *words, "--seed", 0, 1, *both)
    residual = answer("train", *basics, *words, "--reparameterization", "residual")
    short = model.name.lower()
    names = [own["name"] for own in (*plain["prompts"], *residual["prompts"])]
    assert names == [
        f"home-{short}-plain-3-seed0",
        f"home-{short}-plain-3-seed1",
        f"home-{short}-residual-3-seed0",
    ]
    assert sorted(p.stem for p in out.iterdir()) == names
    card = SoftPrompt.load(out / f"{names[1]}.safetensors").card
    assert [label.label for label in card.labels] == list(LABELS)
    assert [label.word for label in card.labels] == ["garden", "kitchen", "violin", "storm"]
    assert (card.task, card.kind, card.model.id) == ("home", "plain", str(model))
    assert card.training["sources"] == ["eng_Latn", "fra_Latn"]
    assert (card.training["seed"], card.training["epochs_run"]) == (1, 3)
    assert card.training["train_examples"] == 4 * 2 * len(LABELS)
    assert card.dev_accuracy == plain["prompts"][1]["dev_accuracy"]
    english = SoftPrompt.load(out / f"{names[2]}.safetensors").card
    assert english.dev_accuracy is None  # what chose its checkpoint was held out of train
    assert english.training["validation_accuracy"] == residual["prompts"][0]["validation_accuracy"]

    rows = tmp_path / "dev.csv"
    evaluated = answer(
        *("evaluate", "--model", model, "--data", task, "--languages", "every"),
        *("--prompts", *(out / f"{name}.safetensors" for name in names), "--out", rows),
    )
    assert [own["prompt"] for own in evaluated["prompts"]] == names
    assert set(evaluated["prompts"][0]["languages"]) == set(WORDS)
    assert len(read_predictions(rows)) == 3 * 3 * SIZES["dev"] * len(LABELS)

    choice = ["route", "--evaluations", rows, "--prompts", out, "--store", store]
    choice += ["--min-sentences", 1]
    tried = answer(*choice, "--dry-run")
    assert (tried["generation"], store.exists()) == (None, False)
    routed = answer(*choice)
    assert routed["generation"] == 1
    assert routed["tables"] == tried["tables"]
    state = PromptStore.open(store).state()
    (table,) = state.routes
    assert (table.task, table.model.fingerprint) == ("home", card.model.fingerprint)
    assert set(state.prompts) == {table.universal, *table.clades.values()}
    # Of all candidates, also those that learned from English and French, for Indo-European.
    best = min(evaluated["prompts"], key=lambda own: (-round(own["mean"], 9), own["prompt"]))
    assert table.universal == best["prompt"]
    assert table.evidence[0].dev_accuracy == pytest.approx(best["mean"])


def test_people_see_tables(bloom: Path, task: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", tmp_path / "dev.jsonl"
    trained = isogloss("train", *settings(bloom, task, out))
    assert "home-tiny-plain-3-seed0" in trained.stdout
    evaluated = isogloss(
        *("evaluate", "--model", bloom, "--data", task, "--out", rows, "--prompts", out),
        *("--languages", "eng_Latn,fra_Latn,deu_Latn"),
    )
    assert "Accuracy per language" in evaluated.stdout
    assert "Germanic" in evaluated.stdout
    routed = isogloss(
        *("route", "--evaluations", rows, "--prompts", out, "--store", tmp_path / "store"),
        *("--min-sentences", 1),
    )
    assert "(universal)" in routed.stdout
    assert "no: as everywhere" in routed.stdout
    assert "published as generation 1" in routed.stdout


def test_training_never_reads_test(bloom: Path, task: Path, tmp_path: Path) -> None:
    for code in WORDS:
        (task / code / "test.tsv").write_bytes(b"\xff not to be read")
    isogloss("train", *settings(bloom, task, tmp_path / "out"))
    assert "not UTF-8" in refusal(
        *("evaluate", "--model", bloom, "--data", task, "--prompts", tmp_path / "out"),
        *("--languages", "eng_Latn", "--split", "test", "--out", tmp_path / "rows.csv"),
    )


def press_in_second_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when the second epoch has been validated, before its state is kept."""

    def epoch(self: TrainingBars, member: int, record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingBars, "epoch", epoch)


class TestInterruption:
    """Ctrl-C during an epoch, then --resume."""

    @pytest.fixture
    def ctrl_c(self, monkeypatch: pytest.MonkeyPatch) -> None:
        press_in_second_epoch(monkeypatch)

    def test_the_best_so_far_is_written(
        self, bloom: Path, task: Path, tmp_path: Path, ctrl_c: None
    ) -> None:
        result = answer("train", *settings(bloom, task, tmp_path), "--seed", 0, 1, exit_code=130)
        own, other = result["prompts"]  # they train together
        assert (own["interrupted"], own["epochs"], own["seed"]) == (True, 2, 0)
        assert (other["interrupted"], other["seed"]) == (True, 1)
        card = SoftPrompt.load(Path(own["path"])).card
        assert card.training["interrupted"] is True

    def test_in_the_first_epoch_there_is_nothing_to_keep(
        self, bloom: Path, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def step(self: TrainingBars, member: int, epoch: int, loss: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(TrainingBars, "step", step)
        result = isogloss("train", *settings(bloom, task, tmp_path / "a"), "--json", exit_code=130)
        assert json.loads(result.stdout)["prompts"][0]["path"] is None
        assert "nothing is kept" in result.stderr
        assert not list((tmp_path / "a").iterdir())

    def test_a_resumed_run_ends_with_the_same_vectors(
        self, bloom: Path, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            press_in_second_epoch(patched)
            isogloss("train", *settings(bloom, task, tmp_path / "a"), exit_code=130)
        assert len(list((tmp_path / "a").glob("*.state.safetensors"))) == 1
        isogloss("train", *settings(bloom, task, tmp_path / "a"), "--resume")
        isogloss("train", *settings(bloom, task, tmp_path / "b"))
        (resumed,) = (tmp_path / "a").iterdir()  # no state is left
        whole = SoftPrompt.load(tmp_path / "b" / resumed.name)
        assert torch.equal(SoftPrompt.load(resumed).vectors, whole.vectors)
        assert SoftPrompt.load(resumed).card.training["interrupted"] is False

    def test_resuming_with_other_settings_is_refused(
        self, bloom: Path, task: Path, tmp_path: Path, ctrl_c: None
    ) -> None:
        isogloss("train", *settings(bloom, task, tmp_path / "a"), exit_code=130)
        (tmp_path / "a" / "home-tiny-plain-3-seed0.safetensors").unlink()
        longer = [9 if own == 3 else own for own in settings(bloom, task, tmp_path / "a")]
        longer[longer.index("--length") + 1] = 3
        said = refusal("train", *longer, "--resume")
        assert "written with epochs = 3, now 9" in said


def test_finished_seeds_are_kept_and_other_settings_do_not_overwrite_them(
    bloom: Path, task: Path, tmp_path: Path
) -> None:
    basics = settings(bloom, task, tmp_path)
    first = answer("train", *basics)["prompts"][0]
    again, new = answer("train", *basics, "--resume", "--seed", 0, 1)["prompts"]
    assert (again["digest"], again["seconds"]) == (first["digest"], 0)
    assert new["seconds"] > 0
    said = refusal("train", *basics, "--batch-size", 3)
    assert "was trained with another batch_size (8, now 3)" in said
    assert "--overwrite" in said
    changed = answer("train", *basics, "--batch-size", 3, "--overwrite")["prompts"][0]
    assert changed["digest"] != first["digest"]
    named = answer("train", *basics, "--batch-size", 5, "--name", "bigger")["prompts"][0]
    assert named["name"] == "bigger-seed0"


def test_lists_of_settings_train_every_combination_as_populations(
    bloom: Path, task: Path, tmp_path: Path
) -> None:
    basics = settings(bloom, task, tmp_path / "grid")[:-2]  # all but the learning rate
    grid = ["--seed", 0, 1, "--reparameterization", "none", "residual", "--bottleneck", 4]
    grid += ["--learning-rate", 0.03, 0.1, "--population", 3]
    result = answer("train", *basics, *grid)
    names = {own["name"] for own in result["prompts"]}
    assert names == {
        f"home-tiny-{kind}-3-lr{rate}-seed{seed}"
        for kind in ("plain", "residual")
        for rate in ("0.03", "0.1")
        for seed in (0, 1)
    }
    assert set(result["varied"]) == {"kind", "learning_rate"}
    cards = [SoftPrompt.load(Path(own["path"])).card for own in result["prompts"]]
    assert sorted(str(card.training["population"]) for card in cards) == list("22333333")
    assert {card.training["bottleneck"] for card in cards} == {4, None}
    alone = answer("train", *settings(bloom, task, tmp_path / "alone"), "--seed", 1)["prompts"][0]
    again = tmp_path / "grid" / "home-tiny-plain-3-lr0.03-seed1.safetensors"
    torch.testing.assert_close(
        SoftPrompt.load(again).vectors, SoftPrompt.load(Path(alone["path"])).vectors
    )
    kept = answer("train", *basics, *grid, "--resume")["prompts"]
    assert {own["digest"] for own in kept} == {own["digest"] for own in result["prompts"]}


def test_a_rate_that_breaks_one_prompt_keeps_the_others(
    bloom: Path, task: Path, tmp_path: Path
) -> None:
    basics = [*settings(bloom, task, tmp_path), 1e38, "--optimizer", "sgd", "--gradient-clip", 0]
    result = isogloss("train", *basics, exit_code=2)
    assert "home-tiny-plain-3-lr1e38-seed0: learning_rate 1e+38: the loss" in result.stderr
    assert "lower it" in result.stderr
    (kept,) = tmp_path.glob("*.safetensors")
    assert SoftPrompt.load(kept).card.training["learning_rate"] == 0.03


def test_an_unfrozen_run_is_a_model_with_its_prompt(
    model: Path, task: Path, tmp_path: Path
) -> None:
    out, rows = tmp_path / "out", tmp_path / "rows.csv"
    result = answer("train", *settings(model, task, out), "--unfrozen")
    folder = Path(result["prompts"][0]["path"])
    assert folder.name == f"home-{model.name.lower()}-plain-3-unfrozen-seed0"
    trained, frozen = Backbone.load(str(folder)), Backbone.load(str(model))
    assert trained.fingerprint != frozen.fingerprint
    (own,) = (folder / "prompt").iterdir()
    prompt = SoftPrompt.load(own)
    assert prompt.card.model.fingerprint == trained.fingerprint
    evaluated = answer(
        *("evaluate", "--model", folder, "--data", task, "--out", rows),
        *("--languages", "eng_Latn"),  # no --prompts: the folder brings its own
    )
    assert evaluated["prompts"][0]["digest"] == prompt.digest
    assert "was trained for" in refusal(
        *("evaluate", "--model", model, "--data", task, "--out", rows, "--prompts", own),
        *("--languages", "eng_Latn"),
    )
    assert sorted(p.name for p in out.iterdir()) == [folder.name]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--source", "xyz_Latn"], "language 'xyz_Latn': no such folder"),
        (["--shots", 6], "eng_Latn train: label 'garden' has 5 examples and 6 are wanted"),
        (["--shots", 5], "beyond the shots (or validate on --validation dev): label 'garden' has"),
        (["--shots", "few"], "--shots 'few': give a whole number from 1, or 'all'"),
        (["--word", "garden=kitchen"], "both begin with token"),
        (["--word", "cooking=soup"], "words were given for unknown labels ['cooking']"),
        (["--word", "garden"], "--word 'garden': write it as label=word"),
        (["--length", 300], "takes prompts of at most 256 tokens"),
        (["--bottleneck", 5], "a bottleneck goes with reparameterization 'residual'"),
        (["--task", "My Task"], "task = 'My Task'"),
        (
            ["--init", "zeros"],
            "init = 'zeros': give vocabulary, label, normal, uniform, prompt:FILE",
        ),
        (["--learning-rate", "0"], "learning_rate = 0.0: Input should be greater than 0"),
        (["--population", "0"], "--population 0: give at least 1"),
        (["--name", "No Name"], "prompt name 'No Name-seed0'"),
        (["--cache-gb", -1], "--cache-gb -1.0"),
        (["--data", "nowhere"], "--data 'nowhere' is neither a folder"),
        (["--model", "./nowhere"], "'./nowhere'"),
    ],
)
def test_bad_input_to_train_is_one_line_that_says_what_to_do(
    bloom: Path, tmp_path: Path, more: list[object], said: str
) -> None:
    task = write_task(tmp_path / "home")
    own = [row for row in sentences("eng_Latn", "train") if int(row[0][-1]) < 5]
    write_tsv(task / "eng_Latn" / "train.tsv", own)
    assert said in refusal("train", *settings(bloom, task, tmp_path / "out"), *more)
    assert not list(tmp_path.glob("out/*"))


def test_missing_splits_and_unknown_labels(bloom: Path, task: Path, tmp_path: Path) -> None:
    basics = settings(bloom, task, tmp_path / "out")
    write_tsv(task / "eng_Latn" / "dev.tsv", [("1", "cooking", "a soup")])
    on_dev = (*basics, "--validation", "dev")
    assert "unknown labels ['cooking']" in refusal("train", *on_dev)
    (task / "eng_Latn" / "dev.tsv").unlink()
    assert "dev.tsv: no such file" in refusal("train", *on_dev)
    isogloss("train", *basics)  # needs no dev split


def test_a_folder_that_cannot_be_written(bloom: Path, task: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refusal("train", *settings(bloom, task, tmp_path / "file" / "out"))
    assert "cannot be written" in said
    assert "choose another --out" in said
    assert "cannot be written" in refusal(
        *("evaluate", "--model", bloom, "--data", task, "--languages", "eng_Latn"),
        *("--prompts", _trained(bloom, task, tmp_path), "--out", tmp_path / "file" / "rows.csv"),
    )


def test_a_disk_that_fills_up_keeps_what_is_finished(
    bloom: Path, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _trained(bloom, task, tmp_path)
    before = {p.name: p.read_bytes() for p in (tmp_path / "trained").iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isogloss.prompts.files.durable._write_synced", full)
    said = refusal("train", *settings(bloom, task, tmp_path / "trained"), "--seed", 1)
    assert "No space left on device" in said
    assert {p.name: p.read_bytes() for p in (tmp_path / "trained").iterdir()} == before


def _trained(model: Path, task: Path, tmp_path: Path) -> Path:
    isogloss("train", *settings(model, task, tmp_path / "trained"))
    return tmp_path / "trained"


@pytest.mark.parametrize(
    ("args", "spread"),
    [
        (["--seed", "0", "1", "--json"], ["--seed", "0", "--seed", "1", "--json"]),
        (["--seed", "0", "--seed", "1"], ["--seed", "0", "--seed", "1"]),
        (["--length", "3", "4"], ["--length", "3", "4"]),  # not a list: left for typer to refuse
        (["--seed"], ["--seed"]),
        (["--seed", "0", "--length", "3"], ["--seed", "0", "--length", "3"]),
        ([], []),
    ],
)
def test_values_in_a_row(args: list[str], spread: list[str]) -> None:
    assert repeat_names(args, {"--seed"}) == spread


def test_small_parsers() -> None:
    assert parse_shots("all") == "all"
    assert parse_shots("16") == 16
