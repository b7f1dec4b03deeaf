"""What the paper's released code does: each setting against plain torch and transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from isogloss.prompts.errors import InvalidInput, InvalidPrompt
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.scoring import score_prompts
from isogloss.training.tuning.config import TrainingConfig, configure, written_settings
from isogloss.training.tuning.grid import expand, run_names
from isogloss.training.tuning.initialization import initial_prompt
from isogloss.training.tuning.job import Job, run_job
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptTrainer
from isogloss.training.tuning.published import (
    AS_PUBLISHED,
    PUBLISHED_WORDS,
    REPARAMETERIZED_AS_PUBLISHED,
    as_published,
)
from isogloss.training.tuning.reparameterization import MlpPrompt, ScaledPrompt
from isogloss.training.tuning.texts import CacheBudget, CachedTexts, EncodedExamples, tokenize
from isogloss.training.tuning.trainer import Silent, Trainer
from tests.training.tiny import LABELS, sentences, tiny, tiny_transformer, write_task, write_tsv
from tests.training.tiny import prompt as untrained

ARCHITECTURES = ("bloom", "xglm")
TEXTS = [text for _, _, text in sentences("eng_Latn", "train")]
GOLD = torch.tensor([LABELS.index(label) for _, label, _ in sentences("eng_Latn", "train")])


_SENTENCES = 5  # of the oracle, which reads one at a time; the last batch is short


def label_ids(architecture: str) -> list[int]:
    return [label.token_id for label in verbalize(LABELS, tiny(architecture).tokenizer)]


def config(architecture: str, **choices: Any) -> TrainingConfig:
    basics = {"length": 3, "epochs": 3, "learning_rate": 0.03, **AS_PUBLISHED}
    return configure(tiny(architecture), {**basics, **choices})


def trainer(architecture: str, *settings: TrainingConfig, count: int = 24) -> Trainer:
    """Every prompt learns from so many sentences, and is validated on them."""
    model = tiny(architecture)
    texts = CachedTexts(model, CacheBudget())
    prompts = []
    for own in settings:
        rows = texts.add(tokenize(model, TEXTS[:count], None, own.text_start))
        examples = EncodedExamples(tuple(rows), GOLD[:count])
        prompts.append(PromptTrainer(model, label_ids(architecture), own, examples, examples))
    return Trainer(model, texts, prompts)


def job(data: Path, out: Path, *configs: TrainingConfig, **more: Any) -> Job:
    return Job(data=str(data), out=out, configs=configs, **more)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_steps_are_those_of_transformers_with_a_prompt_scaled_like_an_embedding(
    architecture: str,
) -> None:
    """Two epochs of AdamW, warm-up and linear fall; texts without a start; whole vocabulary."""
    steps: dict[str, Any] = {"epochs": 2, "batch_size": 2, "warmup": 0.4}
    settings = [
        config(architecture, seed=seed, reparameterization=kind, **steps)
        for seed, kind in enumerate(["none", "mlp", "residual"])
    ]
    grown = trainer(architecture, *settings, count=_SENTENCES)
    grown.train(Silent())  # side by side
    for own, ours in zip(settings, grown.prompts, strict=True):
        losses, vectors = _oracle_training(architecture, own)
        assert [record.train_loss for record in ours.history] == pytest.approx(losses, abs=2e-4)
        assert own.seed == 0 or own.kind == "residual"
        torch.testing.assert_close(ours.prompt().detach(), vectors, atol=2e-3, rtol=2e-3)


def _oracle_training(architecture: str, own: TrainingConfig) -> tuple[list[float], Tensor]:
    """Mean loss of each epoch, and the vectors after the last."""
    oracle = tiny_transformer(architecture).requires_grad_(False)
    embed = oracle.get_input_embeddings()
    ids = [tiny(architecture).tokenizer.words(text) for text in TEXTS]  # no </s>
    grown = trainer(architecture, own, count=_SENTENCES).prompts[
        0
    ]  # the start and the order of examples
    scale = math.sqrt(32) if architecture == "xglm" else 1.0
    named = {name.split(".")[-1]: p for name, p in grown.prompt.named_parameters()}

    def read() -> Tensor:
        p = named["vectors"]
        if own.reparameterization == "none":
            return p * scale
        through = (p @ named["down"]).clamp(min=0) @ named["up"]
        mean, spread = through.mean(-1, keepdim=True), through.var(-1, False, keepdim=True)
        normed = (through - mean) / (spread + 1e-5).sqrt() * named["gain"] + named["bias"]
        return (normed + p if own.reparameterization == "residual" else normed) * scale

    optimizer = torch.optim.AdamW(grown.parameters, own.learning_rate, weight_decay=0.0)
    steps = own.epochs * grown.steps_per_epoch
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(own.warmup * steps), steps)
    means: list[float] = []
    for _ in range(own.epochs):
        total = 0.0
        for _ in range(steps // own.epochs):
            batch = grown.next_batch()
            loss = torch.zeros(())
            for i in batch:
                joined = torch.cat([embed(torch.tensor([ids[i]])), read()[None]], dim=1)
                logits = oracle(inputs_embeds=joined).logits[0, -1]
                loss = loss - logits.log_softmax(-1)[label_ids(architecture)[GOLD[i]]]
            loss = loss / len(batch)
            total += loss.item() * len(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(grown.parameters, 1.0)
            optimizer.step()
            schedule.step()
            grown.steps += 1  # for the next batch
        means.append(total / _SENTENCES)
    return means, read().detach()


@pytest.mark.parametrize("schedule", ["linear", "constant"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.99])
def test_the_rate_rises_and_falls_as_transformers_schedules(schedule: str, share: float) -> None:
    settings = config("bloom", warmup=share, schedule=schedule, epochs=7)
    (grown,) = trainer("bloom", settings).prompts
    steps = 7 * grown.steps_per_epoch
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], settings.learning_rate)
    rising = math.ceil(steps * share)
    follow = (
        get_linear_schedule_with_warmup(theirs, rising, steps)
        if schedule == "linear"
        else get_constant_schedule_with_warmup(theirs, rising)
    )
    for grown.steps in range(steps):
        assert grown._learning_rate() == pytest.approx(follow.get_last_lr()[0], abs=1e-12)
        theirs.step()
        follow.step()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_uniform_parameters_are_scaled_and_other_starts_say_what_is_read(
    architecture: str,
) -> None:
    model, ids = tiny(architecture), label_ids(architecture)
    scale = math.sqrt(model.hidden_size) if architecture == "xglm" else 1.0
    uniform = config(architecture, length=16)
    drawn = initial_prompt(model, ids, uniform)
    assert isinstance(drawn, ScaledPrompt) == (architecture == "xglm")
    assert 0.49 < drawn.vectors.abs().max().item() <= 0.5
    assert abs(drawn.vectors.mean().item()) < 0.05
    torch.testing.assert_close(drawn(), drawn.vectors * scale)
    other = initial_prompt(model, ids, uniform.model_copy(update={"seed": 1}))
    assert not torch.equal(other.vectors, drawn.vectors)
    labels = initial_prompt(model, ids, config(architecture, init="label", length=4))
    torch.testing.assert_close(labels(), model.embed(ids))


def test_an_mlp_prompt_is_a_residual_one_without_its_vectors() -> None:
    settings = config("bloom", reparameterization="mlp", prompt_scale="none", init="normal")
    assert settings.bottleneck == 16
    assert settings.kind == "residual"  # what released versions can read
    own = initial_prompt(tiny("bloom"), label_ids("bloom"), settings)
    residual = settings.model_copy(update={"reparameterization": "residual"})
    other = initial_prompt(tiny("bloom"), label_ids("bloom"), residual)
    assert type(own) is MlpPrompt
    assert torch.equal(other(), own() + own.vectors)


def test_the_checkpoint_by_loss_is_not_the_one_by_accuracy() -> None:
    accurate, sure = EpochRecord(1, 1.0, 0.9, 0.8), EpochRecord(2, 0.5, 0.3, 0.7)
    assert not sure.better_than(accurate)
    assert sure.better_than(accurate, "loss")
    assert not accurate.better_than(sure, "loss")
    assert not sure.better_than(sure, "loss")  # the earlier one stays


@pytest.mark.parametrize("by", ["accuracy", "loss"])
def test_a_run_keeps_the_epoch_that_its_checkpoint_names(by: str) -> None:
    (own,) = (grown := trainer("bloom", config("bloom", checkpoint=by, epochs=8))).prompts
    grown.train(Silent())
    accuracies = {r.epoch: r.dev_accuracy or 0.0 for r in own.history}
    losses = {r.epoch: r.dev_loss for r in own.history}
    wanted = (
        min(losses, key=losses.__getitem__)
        if by == "loss"
        else max(accuracies, key=lambda epoch: (accuracies[epoch], -losses[epoch]))
    )
    assert own.best is not None
    assert own.best.record.epoch == wanted


def test_texts_without_a_start_are_the_models_own_less_it() -> None:
    xglm, bloom = tiny("xglm"), tiny("bloom")
    (whole,), (bare,) = (tokenize(xglm, TEXTS[:1], 5, s) for s in ("model", "none"))
    assert len(whole) == 5
    assert list(whole) == [*xglm.tokenizer.start, *bare]
    assert list(bare) == xglm.tokenizer.words(TEXTS[0])[:4]
    assert tokenize(bloom, TEXTS, None, "none") == tokenize(bloom, TEXTS, None, "model")
    assert configure(bloom, {"text_start": "none"}).text_start == "model"  # the same, and servable
    assert configure(xglm, {"text_start": "none"}).text_start == "none"


def started_with(start: str, seed: int) -> SoftPrompt:
    prompt = untrained(tiny("xglm"), seed)
    card = prompt.card.model_copy(update={"training": {"text_start": start, "seed": seed}})
    return SoftPrompt(card, prompt.vectors)


def test_a_prompt_is_evaluated_from_the_start_it_was_trained_with() -> None:
    model = tiny("xglm")
    prompts = [started_with(start, 0) for start in ("model", "none")]
    candidates = [Candidate(str(n), prompt) for n, prompt in enumerate(prompts)]
    members = [(f"m{n}", 1, prompt) for n, prompt in enumerate(prompts)]
    candidates.append(Candidate("both", Ensemble.of(members)))
    scores = score_prompts(model, candidates, TEXTS)
    for start, found in zip(("model", "none"), scores, strict=False):
        ids = tokenize(model, TEXTS, None, start)  # type: ignore[arg-type]
        rows = model.label_rows(label_ids("xglm"))
        vectors = prompts[0].vectors
        expected = model.score(model.encode(ids), [[vectors]] * len(ids), rows)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(scores[0], scores[1], atol=1e-2)
    together = ((scores[0] + scores[1]) / 2).log_softmax(-1)
    torch.testing.assert_close(scores[2], together)


def test_a_server_refuses_a_prompt_that_reads_texts_without_their_start() -> None:
    served, bare = started_with("model", 0), started_with("none", 1)
    bare.check_fits(tiny("xglm"))
    served.check_served()
    untrained(tiny("xglm"), 3).check_served()  # cards of before say nothing
    with pytest.raises(InvalidPrompt, match="train it with --text-start model"):
        bare.check_served()
    together = Ensemble.of([("a", 1, served), ("b", 1, bare)])
    with pytest.raises(
        InvalidPrompt, match="member 'b@1': the prompt was trained with --text-start"
    ):
        together.check_served()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_published_run_says_so_on_its_card_and_goes_on_to_the_same_bytes(
    architecture: str, tmp_path: Path
) -> None:
    data, model = write_task(tmp_path / "home"), tiny(architecture)
    settings = [
        config(architecture, seed=seed, shots=2, reparameterization=kind)
        for seed in (0, 1)
        for kind in ("none", REPARAMETERIZED_AS_PUBLISHED)
    ]
    whole = [*run_job(model, job(data, tmp_path / "a", *settings), Silent())]
    assert [each.name for each in whole] == [
        f"topic-tiny-{architecture}-{kind}-3-seed{seed}"
        for seed in (0, 1)
        for kind in ("plain", "mlp")
    ]
    card = SoftPrompt.load(tmp_path / "a" / f"{whole[1].name}.safetensors").card
    start = "none" if architecture == "xglm" else "model"
    assert card.kind == "residual"
    wanted = {**AS_PUBLISHED, "text_start": start, "reparameterization": "mlp"}
    assert {name: card.training[name] for name in wanted} == wanted
    assert (card.training["validation"], card.dev_accuracy) == ("train", None)
    history: Any = card.training["history"]
    losses = [record["dev_loss"] for record in history]
    assert card.training["best_epoch"] == losses.index(min(losses)) + 1

    class Interrupting(Silent):
        steps = 0

        def step(self, prompt: int, epoch: int, loss: float) -> None:
            self.steps += 1
            if self.steps == 10:  # of 4 prompts with 1 step an epoch: within the third
                raise KeyboardInterrupt

    list(run_job(model, job(data, tmp_path / "b", *settings), Interrupting()))
    resumed = [*run_job(model, job(data, tmp_path / "b", *settings, resume=True), Silent())]
    for one, other in zip(whole, resumed, strict=True):
        paths = [folder / f"{one.name}.safetensors" for folder in (tmp_path / "a", tmp_path / "b")]
        first, second = (SoftPrompt.load(path).vectors for path in paths)
        assert torch.equal(first, second)
        assert not other.interrupted


def test_what_a_file_of_before_is_silent_of_is_the_default(tmp_path: Path) -> None:
    data, model = write_task(tmp_path / "home"), tiny("bloom")
    own = configure(model, {"length": 3, "epochs": 1, "shots": 2})
    (made,) = run_job(model, job(data, tmp_path, own), Silent())
    assert made.path is not None
    prompt = SoftPrompt.load(made.path)
    before = {k: v for k, v in prompt.card.training.items() if k not in AS_PUBLISHED or k == "init"}
    card = prompt.card.model_copy(update={"training": {**before, "loss": "verbalizer"}})
    SoftPrompt(card, prompt.vectors).save(made.path)
    (kept,) = run_job(model, job(data, tmp_path, own, resume=True), Silent())
    assert kept.digest == SoftPrompt(card, prompt.vectors).digest  # not trained again
    other = own.model_copy(update={"warmup": 0.1})
    names = ("topic-tiny-bloom-plain-3-seed0",)
    with pytest.raises(InvalidInput, match=r"another warmup \(0.0, now 0.1\)"):
        list(run_job(model, job(data, tmp_path, other, names=names), Silent()))
    assert written_settings({"seed": 3})["checkpoint"] == "accuracy"


def test_what_is_chosen_wins_over_what_is_published() -> None:
    chosen: dict[str, Sequence[Any]] = {"init": ["normal", "label"], "warmup": (), "seed": [1]}
    values = as_published(chosen)
    assert values["init"] == ["normal", "label"]
    assert (values["warmup"], values["seed"]) == ([0.1], [1])
    configs = expand(tiny("xglm"), {**values, "reparameterization": ["none", "residual", "mlp"]})
    assert len(configs) == 6
    assert {each.init for each in configs} == {"normal", "label"}
    names = run_names("tiny", configs, None)
    assert len(set(names)) == 6
    assert "topic-tiny-mlp-10-init-label-seed1" in names


def test_published_words_are_for_labels_that_are_there_and_a_word_given_wins(
    tmp_path: Path,
) -> None:
    rows = [
        (f"{label}-{n}", label, f"{text} {n}")
        for label, text in {"sports": "a goal", "politics": "a vote", "rain": "a drop"}.items()
        for n in range(4)
    ]
    for split in ("train", "dev"):
        write_tsv(tmp_path / "eng_Latn" / f"{split}.tsv", rows)
    model = tiny("bloom")
    own = config("bloom", shots=2, words={"sports": "violin"})
    from isogloss.training.tuning.dataset import Datasets

    verbalizer = Datasets(model, str(tmp_path)).load(own).verbalizer
    spoken = {label.label: label.word for label in verbalizer.labels}
    assert spoken == {"sports": "violin", "politics": "government", "rain": "rain"}
    assert set(PUBLISHED_WORDS.values()) == {"earth", "fun", "government", "play"}


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"warmup": 1.0}, "warmup = 1.0"),
        ({"warmup": -0.1}, "warmup = -0.1"),
        ({"checkpoint": "f1"}, "checkpoint = 'f1'"),
        ({"prompt_scale": "hidden"}, "prompt_scale = 'hidden'"),
        ({"text_start": "bos"}, "text_start = 'bos'"),
        ({"bottleneck": 3}, "'residual' or 'mlp' and only there"),
        (
            {"teacher": "t", "parallel": ("p",), "loss": "verbalizer"},
            "shots, validation and words go with labels",
        ),
    ],
)
def test_a_published_setting_out_of_range_is_named(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        config("xglm", **choices)
    assert said in str(error.value)
