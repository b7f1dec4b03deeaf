"""The training loop: gradients, checkpoints, determinism, interruption, the unfrozen baseline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from prompts.backbone import Backbone
from prompts.errors import InvalidInput
from prompts.verbalizer import verbalize
from tests.training.tiny import LABELS, sentences, tiny, tiny_transformer
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import TrainingConfig, configure
from training.data import Example
from training.loop import (
    Checkpoint,
    EpochRecord,
    Outcome,
    PromptTraining,
    initial_prompt,
    train_prompt,
)
from training.texts import CachedTexts, FreshTexts, LabelledTexts, encode_texts, gold_of, tokenize

ARCHITECTURES = ("bloom", "xglm")
LR = 0.03


class Quiet:
    """Sees everything, and presses Ctrl-C at one step when asked to."""

    def __init__(self, stop_after_steps: int | None = None) -> None:
        self.losses: list[float] = []
        self.records: list[EpochRecord] = []
        self.stop_after_steps = stop_after_steps

    def step(self, epoch: int, loss: float) -> None:
        self.losses.append(loss)
        if len(self.losses) == self.stop_after_steps:
            raise KeyboardInterrupt

    def epoch(self, record: EpochRecord) -> None:
        self.records.append(record)


def label_ids(model: Backbone) -> list[int]:
    return [label.token_id for label in verbalize(LABELS, model.tokenizer)]


def examples(split: str) -> list[Example]:
    return [Example(*row) for row in sentences("eng_Latn", split)]


def labelled(model: Backbone, split: str, budget_bytes: int = 2**30) -> LabelledTexts:
    ids = tokenize(model, examples(split), None)
    gold = gold_of(examples(split), LABELS, model.device)
    return LabelledTexts(encode_texts(model, ids, budget_bytes), gold)


def config(model: Backbone, **choices: Any) -> TrainingConfig:
    return configure(model, {"length": 3, "epochs": 3, "learning_rate": LR, **choices})


def run(
    model: Backbone, settings: TrainingConfig, watcher: Quiet | None = None, **more: Any
) -> Outcome:
    training = PromptTraining(model, label_ids(model), settings)
    return train_prompt(
        training, labelled(model, "train"), labelled(model, "dev"), watcher or Quiet(), **more
    )


def vectors(outcome: Outcome) -> Tensor:
    assert outcome.best is not None
    return outcome.best.vectors


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["none", "residual"])
@pytest.mark.parametrize("loss", ["verbalizer", "vocabulary"])
def test_gradients_equal_those_of_transformers_over_text_and_prompt(
    architecture: str, kind: str, loss: str
) -> None:
    """The oracle runs text and prompt together, padded to nothing: one text at a time."""
    model = tiny(architecture)
    training = PromptTraining(
        model, label_ids(model), config(model, reparameterization=kind, loss=loss)
    )
    train = labelled(model, "train")
    indices = [0, 5, 11, 23]
    F.nll_loss(training.log_probs(train.texts.batch(indices))[0], train.gold[indices]).backward()
    ours = [p.grad.clone() for p in training.prompt.parameters() if p.grad is not None]
    training.optimizer.zero_grad()
    _oracle_loss(architecture, model, training, indices, loss).backward()
    theirs = [p.grad for p in training.prompt.parameters()]
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        assert other is not None
        torch.testing.assert_close(own, other, atol=1e-6, rtol=1e-4)


def _oracle_loss(
    architecture: str, model: Backbone, training: PromptTraining, indices: list[int], loss: str
) -> Tensor:
    oracle = tiny_transformer(architecture).requires_grad_(False)
    embed = oracle.get_input_embeddings()
    ids = tokenize(model, examples("train"), None)
    gold = gold_of(examples("train"), LABELS, model.device)
    total = torch.zeros(())
    for i in indices:
        text = embed(torch.tensor([ids[i]]))  # (1, tokens, hidden), scaled for XGLM
        joined = torch.cat([text, training.prompt()[None]], dim=1)
        logits = oracle(inputs_embeds=joined).logits[0, -1]  # (vocabulary,)
        tokens = label_ids(model)
        read = (
            logits.log_softmax(-1)[tokens]
            if loss == "vocabulary"
            else (logits[tokens].log_softmax(-1))
        )
        total = total - read[gold[i]]
    return total / len(indices)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["none", "residual"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    architecture: str, kind: str
) -> None:
    model = tiny(architecture)
    settings = config(model, reparameterization=kind)
    first, again = vectors(run(model, settings)), vectors(run(model, settings))
    other = vectors(run(model, settings.model_copy(update={"seed": 1})))
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.equal(first, other)


def test_training_lowers_the_loss_and_keeps_the_best_epoch() -> None:
    model = tiny("bloom")
    outcome = run(model, config(model, epochs=10))
    assert outcome.best is not None
    assert outcome.history[-1].train_loss < 0.7 * outcome.history[0].train_loss
    best = max(outcome.history, key=lambda r: (r.dev_accuracy, -r.dev_loss))
    assert outcome.best.record == best
    assert best.dev_accuracy > 1 / len(LABELS)


def test_the_prompt_kept_is_the_one_that_was_validated() -> None:
    """Accuracy and loss of the kept vectors are those of the best epoch, not of the last."""
    model = tiny("bloom")
    outcome = run(model, config(model, epochs=10, reparameterization="residual"))
    assert outcome.best is not None
    assert outcome.best.record.epoch < len(outcome.history)
    dev = labelled(model, "dev")
    kv = dev.texts.batch(range(len(dev)))
    rows = model.label_rows(label_ids(model))
    scores = model.score(kv, [[outcome.best.vectors]] * len(dev), rows)
    assert F.nll_loss(scores, dev.gold).item() == pytest.approx(outcome.best.record.dev_loss)
    accuracy = (scores.argmax(-1) == dev.gold).float().mean().item()
    assert accuracy == pytest.approx(outcome.best.record.dev_accuracy)


@pytest.mark.parametrize(
    ("record", "other", "better"),
    [
        (EpochRecord(2, 0, 0.9, 0.6), EpochRecord(1, 0, 0.1, 0.5), True),
        (EpochRecord(2, 0, 0.1, 0.5), EpochRecord(1, 0, 0.9, 0.6), False),
        (EpochRecord(2, 0, 0.8, 0.5), EpochRecord(1, 0, 0.9, 0.5), True),  # tie: lower loss
        (EpochRecord(2, 0, 0.9, 0.5), EpochRecord(1, 0, 0.9, 0.5), False),  # tie: earlier epoch
        (EpochRecord(1, 0, 9.9, 0.0), None, True),
    ],
)
def test_the_best_checkpoint(record: EpochRecord, other: EpochRecord | None, better: bool) -> None:
    assert record.better_than(other) is better


def test_the_rate_falls_linearly_to_zero_or_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bloom")
    rates: dict[str, list[float]] = {"linear": [], "constant": []}
    learn = PromptTraining.learn

    def spy(self: PromptTraining, kv: Any, gold: Tensor, learning_rate: float) -> float:
        rates[self.config.schedule].append(learning_rate)
        return learn(self, kv, gold, learning_rate)

    monkeypatch.setattr(PromptTraining, "learn", spy)
    for schedule in rates:
        run(model, config(model, epochs=2, batch_size=12, schedule=schedule))  # 2 steps an epoch
    assert rates["linear"] == pytest.approx([LR, LR * 0.75, LR * 0.5, LR * 0.25])
    assert rates["constant"] == [LR] * 4


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own() -> None:
    model = tiny("bloom")
    seen: list[list[int]] = []

    class Spying(CachedTexts):
        def batch(self, indices: Sequence[int]) -> Any:
            seen.append(list(indices))
            return CachedTexts.batch(self, indices)

    train = labelled(model, "train")
    assert isinstance(train.texts, CachedTexts)
    spied = LabelledTexts(Spying(train.texts.kv), train.gold)
    settings = config(model, epochs=2, batch_size=10)
    training = PromptTraining(model, label_ids(model), settings)
    train_prompt(training, spied, labelled(model, "dev"), Quiet())
    assert [len(batch) for batch in seen] == [10, 10, 4, 10, 10, 4]
    first, second = list(chain(*seen[:3])), list(chain(*seen[3:]))
    assert sorted(first) == sorted(second) == list(range(24))
    assert first != second


def test_texts_are_encoded_once_where_memory_allows_and_per_batch_elsewhere() -> None:
    model = tiny("xglm")
    ids = tokenize(model, examples("train"), None)
    cached, fresh = encode_texts(model, ids, 2**30), encode_texts(model, ids, 1000)
    assert isinstance(cached, CachedTexts)
    assert isinstance(fresh, FreshTexts)
    held = cached.kv.nbytes
    assert isinstance(encode_texts(model, ids, held // 2), FreshTexts)
    prompt = torch.randn(3, 32)
    for indices in ([3], [20, 1, 7, 7]):
        own, other = (
            model.read(texts.batch(indices), [[prompt]] * len(indices)) for texts in (cached, fresh)
        )
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


def test_more_texts_than_a_chunk_keep_their_places() -> None:
    model = tiny("bloom")
    ids = tokenize(model, examples("train") * 3, None)  # 72 texts, three chunks
    cached = encode_texts(model, ids, 2**30)
    prompt = torch.randn(2, 32)
    picked = [70, 0, 33, 31]
    own = model.read(cached.batch(picked), [[prompt]] * 4)
    alone = [model.read(model.encode([ids[i]]), [[prompt]]) for i in picked]
    torch.testing.assert_close(own, torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("init", ["vocabulary", "label", "normal"])
def test_a_prompt_starts_at_the_scale_of_the_models_embeddings(
    init: Literal["vocabulary", "label", "normal"],
) -> None:
    model = tiny("xglm")  # scales its embeddings by sqrt(hidden)
    settings = config(model, init=init, length=16)
    start = initial_prompt(model, label_ids(model), settings)().detach()
    spread = model.embed(range(model.vocab_size)).std()
    assert start.std().item() == pytest.approx(spread.item(), rel=0.25)
    if init == "label":
        assert torch.equal(start[4], start[0])  # the labels' tokens in turn
        assert torch.equal(start[1], model.embed([label_ids(model)[1]])[0])


def test_ctrl_c_keeps_the_best_so_far_and_a_resumed_run_ends_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    model = tiny("bloom")
    settings = config(model, epochs=6, reparameterization="residual")
    whole = run(model, settings)
    path = tmp_path / "run.state.safetensors"
    same = {"seed": 0}

    def keep(checkpoint: Checkpoint) -> None:
        save_checkpoint(path, checkpoint, same)

    stopped = run(model, settings, Quiet(stop_after_steps=8), keep=keep)  # within epoch 3
    assert stopped.interrupted
    assert stopped.history == whole.history[:2]
    assert stopped.best is not None
    start = load_checkpoint(path, same)
    again = run(model, settings, Quiet(stop_after_steps=5), start=start, keep=keep)
    assert again.interrupted
    resumed = run(model, settings, start=load_checkpoint(path, same))
    assert not resumed.interrupted
    assert resumed.history == whole.history
    assert vectors(resumed).numpy().tobytes() == vectors(whole).numpy().tobytes()


def test_ctrl_c_in_the_first_epoch_leaves_nothing_to_keep() -> None:
    model = tiny("bloom")
    outcome = run(model, config(model), Quiet(stop_after_steps=1))
    assert outcome == Outcome((), None, interrupted=True)


def test_a_damaged_or_foreign_state_file_is_refused(tmp_path: Path) -> None:
    model = tiny("bloom")
    path = tmp_path / "run.state.safetensors"
    assert load_checkpoint(path, {}) is None
    run(model, config(model), keep=lambda c: save_checkpoint(path, c, {"epochs": 3, "seed": 0}))
    assert load_checkpoint(path, {"epochs": 3, "seed": 0}) is not None
    with pytest.raises(InvalidInput, match="written with epochs = 3, now 4; delete it"):
        load_checkpoint(path, {"epochs": 4, "seed": 0})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InvalidInput, match="not a training state"):
        load_checkpoint(path, {"epochs": 3, "seed": 0})


def test_a_loss_that_is_not_finite_names_the_learning_rate() -> None:
    model = tiny("bloom")
    with pytest.raises(InvalidInput, match=r"learning_rate 1e\+38: the loss became (nan|inf)"):
        run(model, config(model, learning_rate=1e38, optimizer="sgd", gradient_clip=0.0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_unfrozen_training_changes_every_weight_of_a_copy_only(architecture: str) -> None:
    model = tiny(architecture)
    before = model.embed(range(10)).clone()
    copy, weights = model.trainable_copy()
    start = [weight.detach().clone() for weight in weights]
    settings = config(model, unfrozen=True, learning_rate=1e-3)
    ids = [tokenize(model, examples(split), None) for split in ("train", "dev")]
    gold = [gold_of(examples(split), LABELS, model.device) for split in ("train", "dev")]
    train, dev = (
        LabelledTexts(FreshTexts(copy, own), labels) for own, labels in zip(ids, gold, strict=True)
    )
    training = PromptTraining(copy, label_ids(model), settings, weights)
    outcome = train_prompt(training, train, dev, Quiet())
    assert outcome.best is not None
    assert len(outcome.best.weights) == len(weights)
    changed = [not torch.equal(a, b) for a, b in zip(start, weights, strict=True)]
    assert sum(changed) >= len(weights) - 1
    assert outcome.history[-1].train_loss < outcome.history[0].train_loss
    assert torch.equal(model.embed(range(10)), before)
