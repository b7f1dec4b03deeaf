"""Teachers: what they answer, and which cannot teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import InvalidData, InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.distillation import Teacher
from tests.training.taught import ids, save_teacher, settings, train
from tests.training.tiny import LABELS, sentences, tiny, tiny_transformer, write_task


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(write_task(tmp_path / "home"))


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_the_teacher_answers_as_transformers_does(architecture: str, tmp_path: Path) -> None:
    model = tiny(architecture)
    teacher = Teacher.load(model, save_teacher(model, tmp_path / "t.safetensors"))
    english = [text for _, _, text in sentences("eng_Latn", "train")]
    answers = teacher.answers(model, [*english, english[3]])
    assert answers.shape == (25, len(LABELS))
    assert torch.equal(answers[24], answers[3])
    oracle = tiny_transformer(architecture)
    tokens = [label.token_id for label in teacher.prompt.card.labels]
    joined = torch.cat(
        [
            oracle.get_input_embeddings()(torch.tensor([ids(model, "eng_Latn")[3]])),
            SoftPrompt.load(tmp_path / "t.safetensors").vectors[None],
        ],
        dim=1,
    )
    with torch.no_grad():
        expected = oracle(inputs_embeds=joined).logits[0, -1, tokens].softmax(-1)
    torch.testing.assert_close(answers[3], expected, atol=1e-5, rtol=1e-4)
    assert answers.std(0).max() > 0.02  # it does not say the same of everything


def test_a_teacher_that_cannot_teach_is_refused(task: str, tmp_path: Path) -> None:
    model = tiny("bloom")
    path = tmp_path / "t.safetensors"

    def said(error: type[Exception] = InvalidPrompt, **choices: Any) -> str:
        with pytest.raises(error) as refused:
            train(model, tmp_path / "out", settings(model, str(path), task, **choices))
        return str(refused.value)

    assert str(path) in said(NotFound)
    save_teacher(tiny("xglm"), path)
    assert f"--teacher {path}: the prompt was trained for tiny-xglm" in said()
    save_teacher(model, path, position="prefix")
    assert "stands before the text" in said()
    save_teacher(model, path, training={"sources": ["fra_Latn", "deu_Latn"]})
    assert "--teacher-language" in said()
    save_teacher(model, path)
    assert "its task is 'home', not 'topic'; give --task home" in said(InvalidInput, task="topic")
    assert "the language the teacher reads" in said(InvalidInput, sources=("eng_Latn",))
    assert "--source wol_Latn" in said(InvalidData, sources=("wol_Latn",))
    assert "--pairs 25" in said(InvalidData, pairs=25)
    assert not list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"shots": 8}, "shots, validation and words go with labels"),
        ({"validation": "dev"}, "shots, validation and words go with labels"),
        ({"words": {"music": "tune"}}, "shots, validation and words go with labels"),
        (
            {"loss": "vocabulary"},
            "a teacher's targets are over the labels: loss must be verbalizer",
        ),
        ({"parallel": None}, "a teacher needs parallel text; name its folder with --parallel"),
        ({"pairs": 1}, "pairs = 1"),
        ({"teacher": None}, "parallel text is read with a teacher; name one with --teacher"),
    ],
)
def test_settings_of_labels_and_of_teachers_do_not_mix(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        settings(tiny("bloom"), "t.safetensors", "home", **choices)
    assert str(error.value).startswith(said)


def test_a_taught_configuration_survives_json() -> None:
    config = settings(tiny("bloom"), "t.safetensors", "home", pairs=7)
    assert (config.shots, config.validation) == (None, None)
    assert TrainingConfig.model_validate(config.model_dump(mode="json")) == config
