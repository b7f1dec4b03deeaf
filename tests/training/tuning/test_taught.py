"""Prompts taught by a prompt: gradients, populations, interruption, cards, and what is refused."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.distillation import Teacher
from isogloss.training.tuning.grid import run_names
from isogloss.training.tuning.job import Job, TrainingUnit, run_job
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptTrainer
from isogloss.training.tuning.texts import CacheBudget, CachedTexts, EncodedExamples
from isogloss.training.tuning.trainer import Silent, Trainer
from tests.some import some
from tests.training.taught import ids, save_teacher, settings, train, vectors
from tests.training.tiny import LABELS, sentences, tiny, tiny_transformer, write_task

ARCHITECTURES = ("bloom", "xglm")


class Impatient(Silent):
    """Presses Ctrl-C at one step."""

    def __init__(self, stop_after_steps: int) -> None:
        self._left = stop_after_steps

    def step(self, prompt: int, epoch: int, loss: float) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(write_task(tmp_path / "home"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_equal_those_of_transformers_over_text_and_prompt(architecture: str) -> None:
    """A taught plain, a taught residual and a labelled prompt in one step."""
    model = tiny(architecture)
    texts = CachedTexts(model, CacheBudget())
    rows = tuple(texts.add(ids(model)))
    noise = torch.randn(len(rows), len(LABELS), generator=torch.Generator().manual_seed(1))
    targets = (3 * noise).softmax(-1)
    gold = EncodedExamples(rows, torch.arange(len(rows)) % len(LABELS))
    lessons = [EncodedExamples(rows, targets), EncodedExamples(rows, targets), gold]
    tokens = [label.token_id for label in verbalize(LABELS, model.tokenizer)]
    kinds = ("none", "residual", "none")
    prompts = [
        PromptTrainer(model, tokens, _config(model, kind, length), own, own)
        for kind, length, own in zip(kinds, (4, 2, 3), lessons, strict=True)
    ]
    places = [[0, 5, 11, 23], [5, 7], [7, 0, 1]]
    losses = Trainer(model, texts, prompts).gradients(prompts, places)
    for own, indices, loss in zip(some(prompts[:2]), places, losses, strict=False):
        ours = [p.grad.clone() for p in own.prompt.parameters() if p.grad is not None]
        own.optimizer.zero_grad()
        expected = _oracle_loss(architecture, model, own, indices, tokens, targets)
        expected.backward()
        assert loss == pytest.approx(expected.item(), abs=1e-5)
        theirs = [p.grad for p in own.prompt.parameters() if p.grad is not None]
        assert ours
        for one, other in zip(ours, theirs, strict=True):
            rounding = 1e-5 * float(other.abs().max())  # sums go in another order
            torch.testing.assert_close(one, other, atol=rounding, rtol=1e-4)


def _config(model: Backbone, kind: str, length: int) -> TrainingConfig:
    return configure(model, {"length": length, "reparameterization": kind})


def _oracle_loss(
    architecture: str,
    model: Backbone,
    own: PromptTrainer,
    indices: list[int],
    tokens: list[int],
    targets: Tensor,
) -> Tensor:
    """sum p (log p - log q) of the labels' logits that transformers gives, one text at a time."""
    oracle = tiny_transformer(architecture).requires_grad_(False)
    embed = oracle.get_input_embeddings()
    total = torch.zeros(())
    for i in indices:
        text = embed(torch.tensor([ids(model)[i]]))  # (1, tokens, hidden), scaled for XGLM
        joined = torch.cat([text, own.prompt()[None]], dim=1)
        logits = oracle(inputs_embeds=joined).logits[0, -1, tokens]
        student = logits.exp() / logits.exp().sum()
        total = total + (targets[i] * (targets[i] / student).log()).sum()
    return total / len(indices)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_taught_prompt_approaches_its_teacher_without_any_label(
    architecture: str, task: str, tmp_path: Path
) -> None:
    model = tiny(architecture)
    for path in Path(task).glob("*/train.tsv"):
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([lines[0].replace("category", "x"), *lines[1:]]))
    teacher = save_teacher(model, tmp_path / "t.safetensors")
    own = settings(model, teacher, task, epochs=25, sources=("fra_Latn", "deu_Latn"))
    (trained,) = train(model, tmp_path / "out", own)
    assert trained.path is not None
    made = SoftPrompt.load(trained.path)
    history = [EpochRecord(**record) for record in _history(made)]
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    best = min(history, key=lambda record: record.dev_loss)
    assert (trained.best_epoch, trained.dev_loss) == (best.epoch, best.dev_loss)
    assert made.card.dev_accuracy is None
    assert best.dev_accuracy is None
    assert best.dev_agreement is not None
    assert 0 <= best.dev_agreement <= 1
    answers = Teacher.load(model, teacher).answers(
        model, [text for _, _, text in sentences("eng_Latn", "train")]
    )
    rows = model.label_rows([label.token_id for label in made.card.labels])
    french = model.encode(ids(model))
    before, after = (
        torch.nn.functional.kl_div(
            model.score(french, [[vectors]] * 24, rows), answers, reduction="batchmean"
        ).item()
        for vectors in (model.embed([1, 2, 3]), made.vectors)
    )
    assert after < 0.5 * before


def _history(made: SoftPrompt) -> Any:
    return made.card.training["history"]


def test_a_taught_prompt_ends_as_it_would_have_alone(task: str, tmp_path: Path) -> None:
    """Beside other seeds, kinds, lengths, languages, teachers and numbers of sentences."""
    model = tiny("bloom")
    first = save_teacher(model, tmp_path / "first.safetensors")
    made = SoftPrompt.load(Path(first))
    SoftPrompt(made.card, -made.vectors).save(tmp_path / "second.safetensors")
    wanted: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1, "length": 5, "pairs": 12},
        {"reparameterization": "residual", "bottleneck": 7, "sources": ("deu_Latn", "fra_Latn")},
        {"teacher": str(tmp_path / "second.safetensors"), "epochs": 5},
    ]
    configs = [settings(model, first, task, **own) for own in wanted]
    together = {own.name: own for own in train(model, tmp_path / "together", *configs, name="t")}
    names = run_names(model.model_id, configs, "t")
    assert len(together) == len(set(names)) == 4
    for name, config in zip(names, configs, strict=True):
        (alone,) = train(model, tmp_path / "alone", config, names=(name,))
        assert together[name].best_epoch == alone.best_epoch
        torch.testing.assert_close(
            vectors(together[name]), vectors(alone), atol=2e-4, rtol=1e-3, msg=name
        )


def test_names_of_runs_tell_their_teachers_apart(tmp_path: Path) -> None:
    """Two folders may hold teachers of one name; names that would be too long hold digits."""
    model = tiny("bloom")
    paths = [str(tmp_path / folder / "english.safetensors") for folder in ("one", "two")]
    configs = [settings(model, path, "home") for path in paths]
    names = run_names(model.model_id, configs, "t")
    assert len(set(names)) == 2
    assert all(re.fullmatch("t-from-english-[0-9a-f]{6}-seed0", name) for name in names)
    many = [
        own.model_copy(update={"length": length, "learning_rate": 0.1 / length, "pairs": length})
        for own in configs
        for length in (7, 30)
    ]
    names = run_names(model.model_id, many, "a-name-that-someone-chose-for-a-clade")
    assert len(set(names)) == 4
    assert all(
        re.fullmatch("a-name-that-someone-chose-for-a-clade-[0-9a-f]{6}-seed0", n) for n in names
    )


def test_ctrl_c_keeps_the_best_so_far_and_resuming_ends_with_the_same_bytes(
    task: str, tmp_path: Path
) -> None:
    model = tiny("bloom")
    teacher = save_teacher(model, tmp_path / "t.safetensors")
    configs = tuple(
        settings(model, teacher, task, seed=seed, epochs=6, pairs=pairs)
        for seed, pairs in ((0, None), (1, 12))
    )
    whole = train(model, tmp_path / "whole", *configs)
    job = Job(data="", out=tmp_path / "cut", configs=configs)
    cut = list(run_job(model, job, Impatient(14)))
    assert [own.interrupted for own in cut] == [True, True]
    assert all(own.path for own in cut)
    resumed = sorted(run_job(model, replace(job, resume=True), Silent()), key=lambda own: own.name)
    for one, other in zip(resumed, whole, strict=True):
        assert (one.name, one.interrupted) == (other.name, False)
        assert vectors(one).numpy().tobytes() == vectors(other).numpy().tobytes()


def test_a_worker_makes_the_same_prompt_and_a_moved_teacher_is_the_same(
    task: str, tmp_path: Path
) -> None:
    model = tiny("xglm")
    teacher = save_teacher(model, tmp_path / "t.safetensors")
    config = settings(model, teacher, task)
    (here,) = train(model, tmp_path / "here", config)
    job = Job(data="", out=tmp_path / "there", configs=(config,))
    unit = pickle.loads(pickle.dumps(TrainingUnit(job, tuple(job.runs(model)))))
    (there,) = unit.run(model, None)
    assert torch.equal(vectors(here), vectors(there))
    (tmp_path / "moved").mkdir()
    Path(teacher).rename(tmp_path / "moved" / "t.safetensors")
    moved = settings(model, str(tmp_path / "moved" / "t.safetensors"), task)
    (again,) = train(model, tmp_path / "here", moved, resume=True)
    assert (again.seconds, again.digest) == (0.0, here.digest)
    other = SoftPrompt.load(tmp_path / "moved" / "t.safetensors")
    SoftPrompt(other.card, other.vectors + 1).save(tmp_path / "moved" / "t.safetensors")
    with pytest.raises(InvalidInput, match="another teacher"):
        train(model, tmp_path / "here", moved, resume=True)


def test_the_card_says_who_taught_it_over_what(task: str, tmp_path: Path) -> None:
    model = tiny("bloom")
    teacher = save_teacher(
        model, tmp_path / "deutsch.safetensors", training={"sources": ["deu_Latn"]}
    )
    (trained,) = train(model, tmp_path / "out", settings(model, teacher, task, pairs=20))
    assert trained.path is not None
    made = SoftPrompt.load(trained.path)
    told = made.card.training
    digest = SoftPrompt.load(Path(teacher)).digest
    assert told["teacher"] == {"name": "deutsch", "digest": digest, "language": "deu_Latn"}
    assert told["parallel"] == [{"folder": "home", "sentences": 24}]
    assert (told["sentences"], told["train_examples"], told["validation_examples"]) == (20, 18, 2)
    assert told["sources"] == ["fra_Latn"]
    assert told["way"] == "taught"
    assert (told["shots"], told["validation"], told["data"]) == (None, None, None)
    assert made.card.labels == SoftPrompt.load(Path(teacher)).card.labels
