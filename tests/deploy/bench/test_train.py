"""`isogloss bench train` from end to end, on models of a size that takes seconds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from isogloss.deploy.bench import commands, comparing, train_comparison
from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.examples import DEV, TRAIN, batches, few_shot, label_tokens, widest_batch
from isogloss.deploy.bench.population_trainer import Isogloss
from isogloss.deploy.bench.settings import PAPER_EPOCHS, TrainSettings
from isogloss.deploy.bench.tables import train_tables
from isogloss.deploy.bench.train import bench_train
from isogloss.deploy.bench.train_comparison import TrainComparison, agree
from isogloss.deploy.bench.trainers import Clock, Loop
from tests.deploy.small_models import tiny_model
from tests.some import some

SETTINGS = TrainSettings(device="cpu", population=3, rounds=2)
CONTENDERS = ["transformers", "alone", "peft", "population_3", "transformers_by_hand"]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return bench_train(SETTINGS, make_model=tiny_model)


@pytest.fixture(params=["bloom-560m", "xglm-564M", "qwen3-0.6b", "gemma3-270m"])
def contenders(request: pytest.FixtureRequest) -> TrainComparison:
    model = tiny_model(request.param, 0, torch.device("cpu"), torch.float32)
    return TrainComparison(model, request.param, population=3, epochs=2, seed=0)


def test_the_report_has_the_contracts_shape(report: dict[str, Any]) -> None:
    assert list(report) == ["bench", "hardware", "versions", "settings", "results", "ratios"]
    assert report["bench"] == "train"
    assert set(report["ratios"]) == {"bloom-560m", "xglm-564M"}
    for result in report["results"]:
        assert list(result["contenders"]) == CONTENDERS
        ratios = report["ratios"][result["model"]]
        assert list(ratios) == [
            "alone_vs_best_peer",
            "population_3_vs_best_peer",
            "alone_vs_transformers_by_hand",
            "population_3_vs_transformers_by_hand",
        ]
        assert ratios["alone_vs_best_peer"] == result["ratios"]["alone"]["median"]
    assert json.loads(json.dumps(report)) == report


def test_seconds_per_prompt_are_those_of_a_whole_run(report: dict[str, Any]) -> None:
    for result in some(report["results"]):
        for own in some(result["contenders"].values()):
            for end, within in (("min", float.__ge__), ("max", float.__le__)):
                epoch = own["step_s"][end] * result["steps_per_epoch"] + own["validation_s"][end]
                projected = (own["once_s"][end] + PAPER_EPOCHS * epoch) / own["prompts"]
                slack = 1.01 if end == "max" else 0.99  # each figure is rounded to four digits
                assert within(own["seconds_per_prompt"][end], projected * slack)


def test_ratios_are_to_the_faster_peer(report: dict[str, Any]) -> None:
    for result in some(report["results"]):
        medians = {
            name: own["seconds_per_prompt"]["median"] for name, own in result["contenders"].items()
        }
        peers = ("transformers", "peft")
        # Reported seconds are rounded, so two peers may be equal in them.
        assert medians[result["best_peer"]] == min(medians[peer] for peer in peers)
        for name, ratio in some(result["ratios"].items()):
            assert ratio == result["ratios_by_peer"][name][result["best_peer"]]
            assert list(result["ratios_by_peer"][name]) == [*peers, "transformers_by_hand"]


def test_the_table_names_every_contender(report: dict[str, Any]) -> None:
    tables = train_tables(report)
    assert [str(table.title).split(",")[0] for table in tables] == ["bloom-560m", "xglm-564M"]
    assert list(map(str, tables[0].columns[0].cells)) == [
        "transformers",
        "isogloss, alone",
        "peft",
        "isogloss, population of 3",
        "transformers by hand",
    ]
    assert list(map(str, tables[0].columns[1].cells)) == ["1", "1", "1", "3", "1"]


def test_the_peer_and_ours_end_with_the_same_prompt(contenders: TrainComparison) -> None:
    losses = {}
    suffixed = (contenders.transformers, contenders.by_hand, *contenders.ours)
    for each in suffixed:
        each.prepare()
        losses[each.name] = each.train(Clock())
    assert losses["alone"] == pytest.approx(losses["transformers"], abs=1e-3)
    assert losses["transformers_by_hand"] == pytest.approx(losses["transformers"], abs=1e-3)
    assert losses["population_3"] == pytest.approx(losses["alone"], abs=1e-3)
    assert isinstance(contenders.transformers, Loop)
    assert isinstance(contenders.alone, Isogloss)
    moved = contenders.alone.trainer.prompts[0].prompt.vectors - contenders.start
    assert moved.norm() > 0.1 * contenders.start.norm()  # else nothing was learnt by any of them
    theirs = contenders.transformers.prompt.detach() - contenders.start
    assert (moved - theirs).norm() < 0.02 * moved.norm()


def test_the_loop_that_torch_compiles_is_the_loop_by_hand(
    uncompiled: list[dict[str, Any]],
) -> None:
    report = bench_train(replace(SETTINGS, compiled=True, rounds=1), make_model=tiny_model)
    assert uncompiled == [{"dynamic": True}] * 2
    for result in some(report["results"]):
        assert list(result["contenders"]) == [*CONTENDERS, "torch_compile"]
        assert result["differences"]["torch_compile"]["gradient"] < 1e-3
        assert "alone_vs_torch_compile" in report["ratios"][result["model"]]
    columns = train_tables(report)[0].columns
    (compared,) = (each for each in columns if str(each.header) == "vs compiled")
    assert [str(cell)[-2:] for cell in compared.cells] == ["", " x", "", " x", "", ""]


def test_a_prefix_prompt_learns_otherwise_than_a_suffix_prompt(contenders: TrainComparison) -> None:
    found = agree(contenders)
    assert set(found.differences) == {"alone", "population_3", "transformers_by_hand", "peft"}
    contenders.alone.prepare()
    prefixed, _ = contenders.prefixed()
    difference = (contenders.alone.gradient() - prefixed).norm() / prefixed.norm()
    assert difference > 0.1  # else PEFT could have been compared with the wrong one


@pytest.mark.parametrize("method", ["gradient", "dev_loss"])
def test_nothing_is_reported_when_the_work_differs(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    right = getattr(Loop, method)

    def wrong(self: Loop) -> Tensor | float:
        found: Tensor | float = right(self)
        return found * 1.01 if self.name == "peft" else found

    monkeypatch.setattr(Loop, method, wrong)
    with pytest.raises(ContendersDisagree, match=r"peft: its (gradient|validation loss) is off by"):
        bench_train(SETTINGS, make_model=tiny_model)


def test_a_prompt_that_breaks_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_comparison, "RATE_FACTORS", (1.0, float("inf")))
    with pytest.raises(ContendersDisagree, match="population_3: a prompt broke: learning_rate inf"):
        bench_train(SETTINGS, make_model=tiny_model)


def test_examples_are_few_shot_and_each_seed_has_its_own() -> None:
    one, other = few_shot(0, 5000), few_shot(1, 5000)
    assert (len(one.train), len(one.dev)) == (TRAIN, DEV) == (56, 14)
    assert [one.train_gold.count(label) for label in range(7)] == [8] * 7
    assert [one.dev_gold.count(label) for label in range(7)] == [2] * 7
    assert not {*one.train, *one.dev} & {*other.train, *other.dev}
    lengths = [sorted(map(len, (*own.train, *own.dev))) for own in (one, other)]
    assert lengths[0] == lengths[1]
    assert len(set(label_tokens(0, 20))) == 7


def test_peers_learn_in_our_order() -> None:
    model = tiny_model("bloom-560m", 0, torch.device("cpu"), torch.float32)
    ours = TrainComparison(model, "bloom-560m", population=1, epochs=2, seed=3).alone
    assert isinstance(ours, Isogloss)
    ours.prepare()
    seen = []
    for _ in range(14):
        seen.append(ours.trainer.prompts[0].next_batch())
        ours.trainer.prompts[0].steps += 1
    assert seen == [*batches(3, 1, 8), *batches(3, 2, 8)]


def test_the_widest_batch_holds_the_longest_text() -> None:
    examples = few_shot(2, 5000)
    places = widest_batch(examples, 2, 8)
    assert max(map(len, examples.train)) == max(len(examples.train[i]) for i in places)
    assert places in batches(2, 1, 8)


def test_the_clock_tells_parts_of_a_run_apart() -> None:
    now = iter([10.0, 13.0, 18.0, 20.0, 24.0, 25.0])
    clock = Clock(now=lambda: next(now))
    clock.lap("once")
    for _ in range(2):
        clock.lap("steps")
        clock.lap("validation")
    assert clock.seconds == {"once": 3.0, "steps": 9.0, "validation": 3.0}


def test_command_prints_and_writes_one_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tiny_model("xglm-564M", 0, torch.device("cpu"), torch.float32)
    monkeypatch.setattr(comparing, "random_model", lambda *_, **__: small)
    out = tmp_path / "train.json"
    options = ["--model", "xglm-564M", "--population", "2", "--rounds", "1", "--epochs", "2"]
    result = CliRunner().invoke(
        commands.app, ["train", *options, "--device", "cpu", "--out", str(out), "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads(out.read_text())
    assert found["settings"]["epochs_measured"] == 2
    assert "round 1 of 1, population_2" in result.stderr
    assert "population_2 took" in result.stderr
