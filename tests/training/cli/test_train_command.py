"""`isogloss train` as a person types it: from a teacher, and from a start of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.format.soft_prompt import SoftPrompt
from tests.training.commands import isogloss
from tests.training.tiny import LABELS, WORDS, save_tiny, write_task


@pytest.fixture(scope="module", params=["bloom", "xglm"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(request.param, tmp_path_factory.mktemp("models") / f"tiny-{request.param}")


def test_from_english_labels_to_prompts_of_unlabelled_languages(
    model: Path, tmp_path: Path
) -> None:
    """English labels, then a teacher over two layouts of parallel text, then a prompt from that."""
    task, lines, out = write_task(tmp_path / "home"), tmp_path / "lines", tmp_path / "out"
    lines.mkdir()
    for code, said in (("eng_Latn", "A kettle sang."), ("fra_Latn", "Une bouilloire chantait.")):
        (lines / f"{code}.txt").write_text(f"{said}\n{said} {said}\n", encoding="utf-8")
    basics = ["train", "--model", model, "--task", "home", "--out", out, "--json"]
    basics += ["--epochs", 2, "--learning-rate", 0.03]
    isogloss(*basics, "--data", task, "--shots", 4, "--length", 3, "--name", "english")
    for code in WORDS:  # from here on there are no labels
        for path in (task / code).glob("*.tsv"):
            text = path.read_text(encoding="utf-8")
            for label in LABELS:
                text = text.replace(f"\t{label}\t", "\t-\t")
            path.write_text(text, encoding="utf-8")
    english = out / "english-seed0.safetensors"
    done = isogloss(
        *(*basics, "--teacher", english, "--parallel", task, lines, "--name", "taught"),
        *("--source", "fra_Latn,deu_Latn", "fra_Latn", "--seed", 0, 1, "--pairs", 20),
        *("--init", f"prompt:{english}"),
    )
    told = json.loads(done.stdout)
    found = {own["name"]: own for own in told["prompts"]}
    assert set(found) == {
        f"taught-{codes}-seed{seed}" for codes in ("fralatn-deulatn", "fralatn") for seed in (0, 1)
    }
    cards = [SoftPrompt.load(Path(own["path"])).card for own in found.values()]
    assert [own.training["way"] for own in cards] == ["taught"] * 4
    assert cards[0].training["parallel"] == [
        {"folder": "home", "sentences": 24},
        {"folder": "lines", "sentences": 2},
    ]
    teacher: Any = cards[0].training["teacher"]
    assert teacher["digest"] == SoftPrompt.load(english).digest
    assert cards[0].training["start"] == {"name": "english-seed0", "digest": teacher["digest"]}
    assert [own["dev_accuracy"] for own in found.values()] == [None] * 4
    assert "shots" in told["settings"]
    assert told["settings"]["shots"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--teacher", "t.safetensors"], "a teacher needs parallel text"),
        (["--parallel", "ntrex"], "parallel text is read with a teacher"),
        (["--teacher", "t", "--parallel", "p", "--shots", 8], "go with labels"),
        (["--teacher", "t", "--parallel", "p", "--word", "a=b"], "go with labels"),
        (["--teacher", "t.safetensors", "--parallel", "p"], "t.safetensors"),
        (["--init", "prompt:none.safetensors"], "none.safetensors"),
        (
            ["--init", "nowhere"],
            "init = 'nowhere': give vocabulary, label, normal, uniform, prompt:FILE",
        ),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(
    model: Path, tmp_path: Path, given: list[object], said: str
) -> None:
    done = isogloss(
        *("train", "--model", model, "--out", tmp_path / "out", "--data", tmp_path, *given),
        exit_code=2,
    )
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
