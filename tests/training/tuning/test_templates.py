"""Training on texts in a template is training on texts that have it written around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput, InvalidPrompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.training.cli.train_options import Choices
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.distillation import Teacher
from isogloss.training.tuning.grid import expand, run_names
from isogloss.training.tuning.job import Job, run_job
from isogloss.training.tuning.texts import tokenize
from isogloss.training.tuning.trainer import Silent
from tests.training.taught import save_teacher
from tests.training.tiny import SIZES, prompt, sentences, tiny, write_task, write_tsv

TEMPLATE = "Heard: {text} About:"
OTHER = "{text} ?"


def write_wrapped(root: Path, template: str) -> Path:
    """English as `write_task` has it, each text with the template written around it."""
    for split in SIZES:
        rows = [
            (index, label, template.replace("{text}", text))
            for index, label, text in sentences("eng_Latn", split)
        ]
        write_tsv(root / "eng_Latn" / f"{split}.tsv", rows)
    return root


def config(architecture: str, **choices: Any) -> TrainingConfig:
    basics = {"task": "home", "length": 3, "shots": 3, "epochs": 2, "learning_rate": 0.03}
    return configure(tiny(architecture), {**basics, **choices})


def trained(architecture: str, data: Path, out: Path, *configs: TrainingConfig) -> list[SoftPrompt]:
    job = Job(data=str(data), out=out, configs=configs)
    done = sorted(run_job(tiny(architecture), job, Silent()), key=lambda each: each.name)
    return [SoftPrompt.load(each.path) for each in done if each.path is not None]


def losses(made: SoftPrompt) -> list[float]:
    history: Any = made.card.training["history"]
    return [record["train_loss"] for record in history]


@pytest.mark.parametrize("unfrozen", [False, True])
@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_a_template_trains_as_texts_with_it_written_around_them(
    architecture: str, unfrozen: bool, tmp_path: Path
) -> None:
    plain, wrapped = write_task(tmp_path / "plain"), write_wrapped(tmp_path / "w", TEMPLATE)
    if unfrozen:
        ours, theirs = (
            _unfrozen(architecture, data, tmp_path / str(n), template)
            for n, (data, template) in enumerate([(plain, TEMPLATE), (wrapped, None)])
        )
    else:
        (ours,) = trained(
            architecture, plain, tmp_path / "a", config(architecture, template=TEMPLATE)
        )
        (theirs,) = trained(architecture, wrapped, tmp_path / "b", config(architecture))
    assert (ours.card.template, theirs.card.template) == (TEMPLATE, None)
    assert "template" not in ours.card.training  # it is said once
    assert torch.equal(ours.vectors, theirs.vectors)
    assert losses(ours) == losses(theirs)


def _unfrozen(architecture: str, data: Path, out: Path, template: str | None) -> SoftPrompt:
    own = config(architecture, unfrozen=True, template=template, epochs=1)
    (done,) = run_job(tiny(architecture), Job(data=str(data), out=out, configs=(own,)), Silent())
    assert done.path is not None
    return SoftPrompt.load(done.path / "prompt" / f"{done.name}.safetensors")


def test_prompts_of_different_templates_train_side_by_side_as_each_alone(tmp_path: Path) -> None:
    data = write_task(tmp_path / "home")
    configs = [config("bloom", template=each) for each in (None, TEMPLATE, OTHER)]
    together = trained("bloom", data, tmp_path / "all", *configs)
    by_template = {each.card.template: each for each in together}
    assert len(by_template) == 3
    for own in configs:
        (alone,) = trained("bloom", data, tmp_path / str(own.template), own)
        torch.testing.assert_close(
            by_template[own.template].vectors, alone.vectors, atol=1e-5, rtol=1e-4
        )
    vectors: Sequence[Tensor] = [each.vectors for each in together]
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_a_long_text_is_cut_before_the_templates_end(tmp_path: Path) -> None:
    model = tiny("bloom")
    own = config("bloom", template=TEMPLATE, max_text_tokens=12)
    (ids,) = tokenize(model, ["storm frost cloud " * 20], own.max_text_tokens, *own.text_form)
    assert len(ids) == 12
    assert model.tokenizer.wrapped.decode(ids).startswith("Heard: storm frost")
    assert model.tokenizer.wrapped.decode(ids).endswith(" About:")


def test_a_texts_start_is_left_out_before_the_template() -> None:
    model, whole = tiny("xglm"), TEMPLATE.replace("{text}", "storm frost")
    with_start, without = (
        tokenize(model, ["storm frost"], None, start, TEMPLATE)[0]
        for start in ("model", "none")
    )  # fmt: skip
    assert list(without) == model.tokenizer.words(whole)
    assert list(with_start) == [*model.tokenizer.start, *without]


def test_files_of_runs_with_other_templates_have_names_of_their_own() -> None:
    configs = [config("bloom", template=each) for each in (None, TEMPLATE, OTHER)]
    names = run_names("tiny-bloom", configs, "x")
    assert names[0] == "x-bare-seed0"
    assert names[1].startswith("x-template-")
    assert len(set(names)) == 3


def test_a_prompt_of_another_template_is_not_taken_for_this_run(tmp_path: Path) -> None:
    data = write_task(tmp_path / "home")
    first, other = config("bloom", template=TEMPLATE), config("bloom")
    trained("bloom", data, tmp_path / "out", first)
    with pytest.raises(InvalidInput, match=r"trained with another template \('Heard: .*now None"):
        trained("bloom", data, tmp_path / "out", other)
    trained("bloom", data, tmp_path / "bare", other)
    with pytest.raises(InvalidInput, match="trained with another template"):
        trained("bloom", data, tmp_path / "bare", first)


@pytest.mark.parametrize(
    ("given", "expected"), [(None, TEMPLATE), (OTHER, OTHER), ("{text}", None)]
)
def test_a_prompt_that_goes_on_from_another_keeps_its_template(
    given: str | None, expected: str | None, tmp_path: Path
) -> None:
    model, path = tiny("bloom"), tmp_path / "start.safetensors"
    prompt(model, 1, template=TEMPLATE).save(path)
    (own,) = expand(model, {"init": [f"prompt:{path}"], "template": [given]})
    assert own.template == expected


def test_a_teacher_reads_in_its_own_template(tmp_path: Path) -> None:
    model = tiny("xglm")
    texts = [text for _, _, text in sentences("eng_Latn", "train")]
    plain = Teacher.load(model, save_teacher(model, tmp_path / "p.safetensors"))
    form = {"template": TEMPLATE, "format_version": 3}
    framed = Teacher.load(model, save_teacher(model, tmp_path / "f.safetensors", **form))
    wrapped = [TEMPLATE.replace("{text}", text) for text in texts]
    torch.testing.assert_close(framed.answers(model, texts), plain.answers(model, wrapped))
    assert not torch.allclose(framed.answers(model, texts), plain.answers(model, texts), atol=1e-3)


def test_a_template_that_is_none_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidInput, match=r"--template 'Label :': it has 0 \{text\}"):
        Choices(template=["Label :"]).values()
    assert Choices(template=[f"{OTHER} "]).values()["template"] == [f"{OTHER} "]
    with pytest.raises(InvalidInput, match=r"^template = 'Label :': it has 0"):
        config("bloom", template="Label :")
    with pytest.raises(InvalidPrompt, match="at most half may be its own"):
        config("xglm", template="{text}" + " frost" * 150)
