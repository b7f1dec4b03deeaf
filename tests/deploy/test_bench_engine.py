"""`isogloss bench engine` from end to end, on models of a size that takes seconds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from deploy.bench import commands, contest
from deploy.bench.contest import ContendersDisagree
from deploy.bench.engine import EngineSettings, bench_engine
from deploy.bench.peers import Isogloss, Peft, Transformers, padded
from deploy.bench.report import engine_tables
from deploy.bench.texts import SIB_LENGTHS, Batch, Workload, sib_lengths, workload
from prompts.backbone import Backbone, label_log_probs
from prompts.errors import InvalidInput, NotFound
from prompts.full_size import FULL_SIZE, full_size_config, random_backbone
from tests.deploy.small_models import tiny_model

SETTINGS = EngineSettings(
    models=("bloom-560m", "xglm-564M"), batch_sizes=(1, 5), prompts=3, repeats=2, seconds=0
)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return bench_engine(SETTINGS, make_model=tiny_model)


def test_the_report_has_the_contracts_shape(report: dict[str, Any]) -> None:
    assert list(report) == ["bench", "hardware", "versions", "settings", "results", "ratios"]
    assert report["bench"] == "engine"
    assert set(report["ratios"]) == {"bloom-560m", "xglm-564M"}
    for ratios in report["ratios"].values():
        assert set(ratios) == {"fp32_vs_transformers", "fp32_vs_peft"}
    sizes = [(r["model"], r["batch_size"]) for r in report["results"]]
    assert sizes == [(model, size) for model in SETTINGS.models for size in (1, 5)]
    assert json.loads(json.dumps(report)) == report


def test_ratios_are_those_of_the_largest_batch(report: dict[str, Any]) -> None:
    largest = [r for r in report["results"] if r["batch_size"] == 5]
    for result in largest:
        headline = report["ratios"][result["model"]]
        assert headline["fp32_vs_transformers"] == result["ratios"]["transformers"]["median"]
        assert headline["fp32_vs_peft"] == result["ratios"]["peft"]["median"]


def test_rates_follow_from_times(report: dict[str, Any]) -> None:
    for result in report["results"]:
        for own in result["contenders"].values():
            rate, seconds = own["texts_per_s"], own["seconds"]
            assert rate["max"] * seconds["min"] == pytest.approx(result["batch_size"], rel=1e-2)
            assert seconds["min"] <= seconds["median"] <= seconds["max"]


def test_the_table_names_every_contender(report: dict[str, Any]) -> None:
    tables = engine_tables(report)
    assert [str(table.title).split(",")[0] for table in tables] == list(SETTINGS.models)
    assert list(tables[0].columns[1].cells) == ["isogloss", "transformers", "peft"] * 2


@pytest.mark.parametrize("name", ["bloom-560m", "xglm-564M"])
def test_every_contender_scores_ragged_mixed_batches_alike(name: str) -> None:
    model = tiny_model(name, 1, torch.device("cpu"), torch.float32)
    backbone = Backbone.from_transformers(model, None, model_id=name)
    work = workload(prompts=4, prompt_length=3, hidden_size=32, vocab_size=200, seed=1, pool=16)
    batch = next(work.batches(16))
    assert len(set(map(len, batch.texts))) > 4
    with torch.inference_mode():
        ours = Isogloss(backbone, work)
        suffixed, prefixed = ours.score(batch), ours.score_prefixed(batch)
        by_hand, peft = Transformers(model, work).score(batch), Peft(model, work).score(batch)
    assert (suffixed - prefixed).abs().max() > 0.01  # else this could not tell the two apart
    torch.testing.assert_close(by_hand, suffixed, atol=1e-4, rtol=0)
    torch.testing.assert_close(peft, prefixed, atol=1e-4, rtol=0)


def test_nothing_is_reported_when_answers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Transformers.score

    def wrong(self: Transformers, batch: Batch) -> Tensor:
        return right(self, batch) + 2e-4

    monkeypatch.setattr(Transformers, "score", wrong)
    with pytest.raises(ContendersDisagree, match=r"transformers: .* by 0\.0002, more"):
        bench_engine(SETTINGS, make_model=tiny_model)


def test_lengths_stand_for_the_measured_ones() -> None:
    lengths = sib_lengths(1000)
    assert lengths == sorted(lengths)
    assert SIB_LENGTHS[0] <= lengths[0] < SIB_LENGTHS[1]
    assert SIB_LENGTHS[-2] < lengths[-1] <= SIB_LENGTHS[-1]
    assert sum(lengths) / 1000 == pytest.approx(41.4, abs=1)
    assert sib_lengths(1) == [39]


def test_batches_go_round_the_pool_and_mix_prompts() -> None:
    work: Workload = workload(
        prompts=2, prompt_length=1, hidden_size=4, vocab_size=50, seed=0, pool=5
    )
    batches = work.batches(3)
    first, second = next(batches), next(batches)
    assert first.texts == work.texts[:3]
    assert second.texts == (*work.texts[3:], work.texts[0])
    assert (first.prompts, second.prompts) == ((0, 1, 0), (1, 0, 1))
    assert work.tokens(first) == sum(map(len, first.texts)) + 3


def test_padding_goes_to_the_chosen_side() -> None:
    ids, mask = padded([[7, 8, 9], [5]], torch.device("cpu"), "left")
    assert ids.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    ids, mask = padded([[7, 8, 9], [5]], torch.device("cpu"), "right")
    assert ids.tolist() == [[7, 8, 9], [5, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_command_prints_and_writes_one_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    small = tiny_model("bloom-560m", 0, cpu, torch.float32)
    monkeypatch.setattr(contest, "random_model", lambda *_, **__: small)
    out = tmp_path / "engine.json"
    options = ["--model", "bloom-560m", "--batch-sizes", "2", "--repeats", "1", "--seconds", "0"]
    result = CliRunner().invoke(
        commands.app, ["engine", *options, "--device", "cpu", "--out", str(out), "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(out.read_text())
    assert json.loads(result.stdout)["settings"]["models"] == ["bloom-560m"]
    assert "round 1" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-sizes", "1,x"], "--batch-sizes '1,x'"),
        (["--batch-sizes", "0"], "--batch-sizes '0'"),
        (["--model", "gpt2"], "model 'gpt2'"),
        (["--out", "/no/such/folder/x.json"], "--out '/no/such/folder/x.json'"),
    ],
)
def test_mistakes_are_named_before_anything_slow(options: list[str], message: str) -> None:
    result = CliRunner().invoke(commands.app, ["engine", *options])
    assert result.exit_code == 2
    assert message in result.stderr


def test_settings_refuse_nothing_to_do() -> None:
    with pytest.raises(InvalidInput, match="batch_sizes: must be at least 1"):
        EngineSettings(batch_sizes=())


def test_only_table_2_has_full_size_configurations() -> None:
    assert list(FULL_SIZE) == ["bloom-560m", "bloom-1b1", "xglm-564M", "xglm-1.7B"]
    with pytest.raises(NotFound, match="'bloom-7b1' has no full-size configuration"):
        full_size_config("bloom-7b1")


@pytest.mark.full_size
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "parameters", "dtype"),
    [
        ("bloom-560m", 559_214_592, torch.float32),
        ("xglm-564M", 564_463_616, torch.float32),
        ("bloom-1b1", 1_065_314_304, torch.bfloat16),
        ("xglm-1.7B", 1_732_907_008, torch.bfloat16),
    ],
)
def test_full_size_configurations_load_and_run(
    name: str, parameters: int, dtype: torch.dtype
) -> None:
    backbone = random_backbone(name, 0, dtype=dtype)
    weights = backbone.weights
    assert backbone.dtype == dtype
    tensors = [weights.embedding, weights.final_norm.weight, weights.final_norm.bias]
    if weights.embedding_norm is not None:
        tensors += [weights.embedding_norm.weight, weights.embedding_norm.bias]
    for layer in weights.layers:
        for name_of in layer.__slots__:
            affine = getattr(layer, name_of)
            tensors += [affine.weight, affine.bias]
    assert sum(tensor.numel() for tensor in tensors) == parameters
    prompts = torch.randn(2, 5, backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    texts = [[11, 12, 13, 14, 15, 16], [17, 18]]
    with torch.inference_mode():
        rows = backbone.label_rows([21, 22, 23])
        scores = label_log_probs(backbone.read_suffixed(texts, [[p] for p in prompts]), rows)
        alone = label_log_probs(backbone.read_suffixed(texts[1:], [[prompts[1]]]), rows)
    assert scores.shape == (2, 3)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2))
    assert scores.std() > 0.01
    torch.testing.assert_close(
        scores[1:], alone, atol=1e-4 if dtype == torch.float32 else 5e-2, rtol=0
    )
