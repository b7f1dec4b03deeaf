"""Training: gradients, prompts side by side, determinism, interruption, the unfrozen baseline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.problem import score_answer
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.labelled import Example
from isogloss.training.tuning.checkpoint import StateFile
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.initialization import initial_prompt
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptTrainer
from isogloss.training.tuning.texts import (
    CacheBudget,
    CachedTexts,
    EncodedExamples,
    EncodedTexts,
    FreshTexts,
    tokenize,
)
from isogloss.training.tuning.trainer import Silent, Trainer
from tests.training.tiny import LABELS, sentences, tiny, tiny_transformer

ARCHITECTURES = ("bloom", "xglm")
LR = 0.03


class Quiet(Silent):
    """Sees everything, and presses Ctrl-C at one step when asked to."""

    def __init__(self, stop_after_steps: int | None = None) -> None:
        self.losses: list[float] = []
        self.records: list[EpochRecord] = []
        self.stop_after_steps = stop_after_steps

    def step(self, prompt: int, epoch: int, loss: float) -> None:
        self.losses.append(loss)
        if len(self.losses) == self.stop_after_steps:
            raise KeyboardInterrupt

    def epoch(self, prompt: int, record: EpochRecord) -> None:
        self.records.append(record)


def label_ids(model: Backbone) -> list[int]:
    return [label.token_id for label in verbalize(LABELS, model.tokenizer)]


def examples(split: str) -> list[Example]:
    return [Example(*row) for row in sentences("eng_Latn", split)]


def cached(model: Backbone) -> CachedTexts:
    return CachedTexts(model, CacheBudget())


def labelled(
    model: Backbone, texts: EncodedTexts, split: str, count: int | None = None
) -> EncodedExamples:
    own = examples(split)[slice(count)]
    rows = texts.add(tokenize(model, [one.text for one in own], None))
    return EncodedExamples(tuple(rows), gold(own))


def gold(own: Sequence[Example]) -> Tensor:
    return torch.tensor([LABELS.index(one.label) for one in own])


def token_ids(model: Backbone, split: str) -> Sequence[Sequence[int]]:
    return tokenize(model, [one.text for one in examples(split)], None)


def config(model: Backbone, **choices: Any) -> TrainingConfig:
    return configure(model, {"length": 3, "epochs": 3, "learning_rate": LR, **choices})


def prompt(
    model: Backbone, texts: EncodedTexts, settings: TrainingConfig, **more: Any
) -> PromptTrainer:
    train = labelled(model, texts, "train", more.pop("examples", None))
    dev = labelled(model, texts, "dev")
    return PromptTrainer(model, label_ids(model), settings, train, dev, **more)


def trainer(model: Backbone, *settings: TrainingConfig) -> Trainer:
    texts = cached(model)
    return Trainer(model, texts, [prompt(model, texts, own) for own in settings])


def run(model: Backbone, settings: TrainingConfig, progress: Quiet | None = None) -> PromptTrainer:
    grown = trainer(model, settings)
    grown.train(progress or Quiet())
    return grown.prompts[0]


def vectors(outcome: PromptTrainer) -> Tensor:
    assert outcome.best is not None
    return outcome.best.vectors


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", ["verbalizer", "vocabulary"])
def test_gradients_equal_those_of_transformers_over_text_and_prompt(
    architecture: str, loss: Literal["verbalizer", "vocabulary"]
) -> None:
    """Mixed kinds and lengths in one step; the oracle runs one text and one prompt at a time."""
    model = tiny(architecture)
    grown = trainer(
        model,
        *(
            config(model, reparameterization=kind, length=length, loss=loss, seed=length)
            for kind in ("none", "residual")
            for length in (1, 3, 8)
        ),
    )
    places = [[0, 5, 11, 23], [5], [7, 0], [1, 2, 3, 4, 5], [23, 11], [0, 1, 2]]
    losses = grown.gradients(grown.prompts, places)
    for own, indices, found in zip(grown.prompts, places, losses, strict=True):
        ours = [p.grad.clone() for p in own.prompt.parameters() if p.grad is not None]
        own.optimizer.zero_grad()
        expected = _oracle_loss(architecture, model, own, indices, loss)
        expected.backward()
        theirs = [p.grad for p in own.prompt.parameters()]
        assert found == pytest.approx(expected.item(), abs=1e-5)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert other is not None
            rounding = 1e-5 * float(other.abs().max())  # sums go in another order
            torch.testing.assert_close(one, other, atol=rounding, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_with_several_labels_equal_those_of_transformers(architecture: str) -> None:
    """Binary cross-entropy of each label's logit less that of the word for none."""
    model = tiny(architecture)
    texts = cached(model)
    several = torch.tensor([[float(bit) for bit in f"{n % 8:03b}"] for n in range(24)])
    none_id = 3
    own = labelled(model, texts, "train", 24)
    seen = EncodedExamples(own.rows, several, "multi_label")
    settings = config(model, length=4)
    labels = label_ids(model)[:3]
    one = PromptTrainer(model, labels, settings, seen, seen, none_id=none_id)
    places = [0, 5, 7, 11, 23]
    (loss,) = Trainer(model, texts, [one]).gradients([one], [places])
    ours = one.prompt.vectors.grad
    assert ours is not None
    ours = ours.clone()
    one.optimizer.zero_grad()
    oracle = tiny_transformer(architecture).requires_grad_(False)
    embed = oracle.get_input_embeddings()
    read = []
    for place in places:
        text = embed(torch.tensor([token_ids(model, "train")[place]]))
        logits = oracle(inputs_embeds=torch.cat([text, one.prompt()[None]], dim=1)).logits[0, -1]
        read.append(logits[list(labels)] - logits[none_id])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.stack(read), several[places]
    )
    expected.backward()
    theirs = one.prompt.vectors.grad
    assert theirs is not None
    assert loss == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-4)


def test_how_right_an_epoch_is_is_what_evaluation_says() -> None:
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    odds = torch.tensor([[2.0, -1, -1], [-1, -1, -1], [1, 1, 1]])
    examples = EncodedExamples((0, 1, 2), targets, "multi_label")
    pairs = [("a|c", "a"), ("", ""), ("b", "a|b|c")]
    said = sum(score_answer("multi_label", *pair, "abc") for pair in pairs)
    assert examples.rightness(odds) == pytest.approx(said)
    levels = EncodedExamples((0, 1), torch.tensor([0, 2]), "ordered")
    found = levels.rightness(torch.tensor([[0.0, 1, 0], [0, 0, 1.0]]))
    assert found == pytest.approx(0.5 + 1.0)


def _oracle_loss(
    architecture: str, model: Backbone, own: PromptTrainer, indices: list[int], loss: str
) -> Tensor:
    oracle = tiny_transformer(architecture).requires_grad_(False)
    embed = oracle.get_input_embeddings()
    ids = token_ids(model, "train")
    wanted = gold(examples("train"))
    total = torch.zeros(())
    for i in indices:
        text = embed(torch.tensor([ids[i]]))  # (1, tokens, hidden), scaled for XGLM
        joined = torch.cat([text, own.prompt()[None]], dim=1)
        logits = oracle(inputs_embeds=joined).logits[0, -1]  # (vocabulary,)
        tokens = label_ids(model)
        read = (
            logits.log_softmax(-1)[tokens]
            if loss == "vocabulary"
            else (logits[tokens].log_softmax(-1))
        )
        total = total - read[wanted[i]]
    return total / len(indices)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_ends_with_the_prompt_it_would_end_with_alone(architecture: str) -> None:
    """Seeds, lengths, kinds, rates, batch sizes, epochs and numbers of examples side by side.

    The tolerance is what float32 rounding in differently shaped products grows to over a training.
    """
    model = tiny(architecture)
    wanted: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1, "length": 5},
        {"reparameterization": "residual", "bottleneck": 7, "length": 2},
        {"reparameterization": "residual", "seed": 2, "learning_rate": LR / 3},
        {"batch_size": 5, "epochs": 4, "schedule": "constant", "optimizer": "sgd"},
        {"loss": "vocabulary", "length": 1, "init": "label"},
    ]
    counts = [None, 20, 9, None, 16, 24]
    texts = cached(model)
    prompts = [
        prompt(model, texts, config(model, **own), examples=count)
        for own, count in zip(wanted, counts, strict=True)
    ]
    Trainer(model, texts, prompts).train(Quiet())
    for own, count, outcome in zip(wanted, counts, prompts, strict=True):
        texts = cached(model)
        alone = prompt(model, texts, config(model, **own), examples=count)
        Trainer(model, texts, [alone]).train(Quiet())
        assert [r.epoch for r in outcome.history] == [r.epoch for r in alone.history]
        assert outcome.best is not None
        assert alone.best is not None
        assert outcome.best.record.epoch == alone.best.record.epoch
        torch.testing.assert_close(vectors(outcome), vectors(alone), atol=2e-4, rtol=1e-3)


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
    best = max(outcome.history, key=lambda r: (r.dev_accuracy or 0, -r.dev_loss))
    assert outcome.best.record == best
    assert best.dev_accuracy is not None
    assert best.dev_accuracy > 1 / len(LABELS)


def test_the_prompt_kept_is_the_one_that_was_validated() -> None:
    """Accuracy and loss of the kept vectors are those of the best epoch, not of the last."""
    model = tiny("bloom")
    outcome = run(model, config(model, epochs=10, reparameterization="residual"))
    assert outcome.best is not None
    assert outcome.best.record.epoch < len(outcome.history)
    kv = model.encode(token_ids(model, "dev"))
    wanted = gold(examples("dev"))
    scores = model.score(
        kv, [[outcome.best.vectors]] * len(wanted), model.label_rows(label_ids(model))
    )
    loss = torch.nn.functional.nll_loss(scores, wanted).item()
    assert loss == pytest.approx(outcome.best.record.dev_loss)
    accuracy = (scores.argmax(-1) == wanted).float().mean().item()
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


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [LR, LR * 0.75, LR * 0.5, LR * 0.25]), ("constant", [LR] * 4)],
)
def test_the_rate_falls_linearly_to_zero_or_stays(schedule: str, expected: list[float]) -> None:
    model = tiny("bloom")
    settings = config(model, epochs=2, batch_size=12, schedule=schedule)  # 2 steps an epoch
    grown = trainer(model, settings)
    rates: list[float] = []

    class Rates(Quiet):
        def step(self, prompt: int, epoch: int, loss: float) -> None:
            rates.append(grown.prompts[prompt].optimizer.param_groups[0]["lr"])

    grown.train(Rates())
    assert rates == pytest.approx(expected)


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own() -> None:
    model = tiny("bloom")
    seen: list[list[int]] = []

    class Spying(CachedTexts):
        def batch(self, rows: Sequence[int]) -> Any:
            seen.append(list(rows))
            return super().batch(rows)

    texts = Spying(model, CacheBudget())
    own = prompt(model, texts, config(model, epochs=2, batch_size=10))
    Trainer(model, texts, [own]).train(Quiet())
    assert [len(batch) for batch in seen] == [10, 10, 4, 16, 10, 10, 4, 16]  # 16: validation
    first, second = list(chain(*seen[:3])), list(chain(*seen[4:7]))
    assert sorted(first) == sorted(second) == sorted(own.train.rows)
    assert first != second


def test_prompts_read_a_text_once_however_many_learn_from_it() -> None:
    model = tiny("xglm")
    asked: list[list[int]] = []

    class Spying(CachedTexts):
        def batch(self, rows: Sequence[int]) -> Any:
            asked.append(list(rows))
            return super().batch(rows)

    texts = Spying(model, CacheBudget())
    same = [prompt(model, texts, config(model, length=n)) for n in (1, 2, 3)]
    Trainer(model, texts, same).gradients(same, [own.next_batch() for own in same])
    assert [len(rows) for rows in asked] == [8]


def test_a_text_that_stands_twice_among_a_prompts_examples_counts_twice() -> None:
    model = tiny("bloom")
    texts = cached(model)
    ids = token_ids(model, "train")[:3]
    rows = texts.add([ids[0], ids[1], ids[0], ids[2]])
    assert rows == [0, 1, 0, 2]
    train = EncodedExamples(tuple(rows), torch.tensor([0, 1, 2, 3]))
    own = PromptTrainer(model, label_ids(model), config(model), train, train)
    (loss,) = Trainer(model, texts, [own]).gradients([own], [[0, 1, 2, 3]])
    kv = model.encode([ids[0], ids[1], ids[0], ids[2]])
    scores = model.score(kv, [[own.prompt()]] * 4, model.label_rows(label_ids(model)))
    assert loss == pytest.approx(
        torch.nn.functional.nll_loss(scores, train.targets).item(), abs=1e-5
    )


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


@pytest.mark.parametrize("step", [8, 13, 29])
def test_ctrl_c_keeps_the_best_so_far_and_a_resumed_training_ends_with_the_same_bytes(
    tmp_path: Path, step: int
) -> None:
    """Prompts with other numbers of steps: some are in the middle of an epoch when it is kept."""
    model = tiny("bloom")
    state_file = StateFile(tmp_path / "run.state.safetensors", [{"seed": 0}, {"seed": 1}])
    wanted: list[dict[str, Any]] = [
        {"epochs": 6, "reparameterization": "residual"},
        {"batch_size": 5, "length": 2},
    ]

    def grown() -> Trainer:
        return trainer(model, *(config(model, **own) for own in wanted))

    whole, cut, resumed = grown(), grown(), grown()
    whole.train(Quiet())
    cut.train(Quiet(stop_after_steps=step), state_file.save)
    stopped = cut.prompts[0]
    assert not stopped.finished
    assert stopped.history == whole.prompts[0].history[: len(stopped.history)]
    assert stopped.best is not None
    states = state_file.load()
    assert states is not None
    resumed.restore(states)
    resumed.train(Quiet())
    for one, other in zip(resumed.prompts, whole.prompts, strict=True):
        assert one.finished
        assert one.history == other.history
        assert vectors(one).numpy().tobytes() == vectors(other).numpy().tobytes()


def test_ctrl_c_in_the_first_epoch_leaves_nothing_to_keep() -> None:
    model = tiny("bloom")
    outcome = run(model, config(model), Quiet(stop_after_steps=1))
    assert (outcome.history, outcome.best, outcome.finished) == ([], None, False)


def test_a_damaged_or_foreign_state_file_is_refused(tmp_path: Path) -> None:
    model = tiny("bloom")
    path = tmp_path / "run.state.safetensors"
    same = [{"epochs": 3, "seed": 0}]
    assert StateFile(path, same).load() is None
    StateFile(path, same).save(trainer(model, config(model)).states())
    assert StateFile(path, same).load() is not None
    with pytest.raises(InvalidInput, match="written with epochs = 3, now 4; delete it"):
        StateFile(path, [{"epochs": 4, "seed": 0}]).load()
    with pytest.raises(InvalidInput, match="a state of 1 prompts, now 2; delete it"):
        StateFile(path, [*same, *same]).load()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InvalidInput, match="not a training state"):
        StateFile(path, same).load()


def test_a_prompt_whose_numbers_break_is_named_and_the_others_end_as_without_it() -> None:
    model = tiny("bloom")
    broken = config(model, learning_rate=1e38, optimizer="sgd", gradient_clip=0.0, length=5)
    settings = [config(model), config(model, seed=1, length=7)]
    grown = trainer(model, settings[0], broken, settings[1])
    grown.train(Quiet())
    outcomes = grown.prompts
    assert outcomes[1].failure is not None
    assert "learning_rate 1e+38: the loss became" in outcomes[1].failure
    for own, outcome in zip(settings, (outcomes[0], outcomes[2]), strict=True):
        assert outcome.failure is None
        torch.testing.assert_close(vectors(outcome), vectors(run(model, own)), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_unfrozen_training_changes_every_weight_of_a_copy_only(architecture: str) -> None:
    model = tiny(architecture)
    before = model.embed(range(10)).clone()
    copy, weights = model.trainable_copy()
    start = [weight.detach().clone() for weight in weights]
    texts = FreshTexts(copy)
    settings = config(model, unfrozen=True, learning_rate=1e-3)
    outcome = prompt(copy, texts, settings, weights=weights)
    Trainer(copy, texts, [outcome]).train(Quiet())
    assert outcome.best is not None
    assert len(outcome.best.weights) == len(weights)
    changed = [not torch.equal(a, b) for a, b in zip(start, weights, strict=True)]
    assert sum(changed) >= len(weights) - 1
    assert outcome.history[-1].train_loss < outcome.history[0].train_loss
    assert torch.equal(model.embed(range(10)), before)
