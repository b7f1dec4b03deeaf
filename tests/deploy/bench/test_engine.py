"""`isogloss bench engine` from end to end, on models of a size that takes seconds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from isogloss.deploy.bench import commands, comparing
from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.engine import bench_engine
from isogloss.deploy.bench.engine_settings import CURVES, QUICK, EngineSettings
from isogloss.deploy.bench.figures import save_engine_figure
from isogloss.deploy.bench.markdown import markdown_table
from isogloss.deploy.bench.peers import Isogloss, Peft, PeftLastLogits, Transformers
from isogloss.deploy.bench.tables import engine_tables
from isogloss.deploy.bench.texts import Batch, workload
from isogloss.prompts.errors import NotFound
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.decoder.weights import tensors_of
from isogloss.prompts.model.full_size import FULL_SIZE, full_size_config
from tests.deploy.small_models import tiny_model
from tests.models import full_size_backbone
from tests.some import some

SETTINGS = EngineSettings(
    models=("bloom-560m", "xglm-564M"),
    device="cpu",
    dtypes=("float32", "int8"),
    batch_sizes=(1, 5),
    prompts=3,
    residents=(1, 20),
    resident_batch=4,
    prompts_per_text=(1, 8),
    fanned_texts=2,
    ensemble_texts=6,
    text_lengths=(16, 32),
    length_tokens=64,
    rounds=2,
    seconds=0,
)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return bench_engine(SETTINGS, make_model=tiny_model)


def test_the_report_has_the_contracts_shape(report: dict[str, Any]) -> None:
    assert list(report) == ["bench", "hardware", "versions", "settings", "results", "ratios"]
    assert report["bench"] == "engine"
    assert set(report["ratios"]) == {"bloom-560m", "xglm-564M"}
    for ratios in report["ratios"].values():
        assert set(ratios) == {
            *("fp32_vs_transformers", "fp32_vs_peft", "fp32_share_of_rate"),
            *("int8_vs_transformers", "int8_vs_peft", "int8_share_of_rate"),
            *("fp32_vs_peft_last_logits", "int8_vs_peft_last_logits"),
            *("prompts_20_vs_1", "mixed_vs_single", "prompts_per_text_8_vs_1"),
            "ensemble_4_vs_1",
        }
    assert json.loads(json.dumps(report)) == report


def test_every_curve_is_measured_at_its_places(report: dict[str, Any]) -> None:
    places = {
        "batch_size": [1, 5],
        "resident_prompts": [1, 3, 20],  # 3: the mixed batch
        "prompts_per_text": [1, 8],
        "ensemble_members": [1, 4],
        "text_length": [16, 32],
    }
    found = [(r["model"], r["curve"], r["x"]) for r in report["results"]]
    assert found == [
        (m, curve, x) for m in SETTINGS.models for curve in CURVES for x in places[curve]
    ]
    texts = {(r["curve"], r["x"]): r["texts"] for r in report["results"]}
    assert (texts["batch_size", 5], texts["text_length", 16], texts["text_length", 32]) == (5, 4, 2)


def test_contenders_meet_where_they_should(report: dict[str, Any]) -> None:
    ours = {"isogloss_fp32", "isogloss_int8"}
    peers = {
        "batch_size": {"transformers", "peft", "peft_last_logits"},
        "resident_prompts": set(),
        "prompts_per_text": {"transformers"},
        "ensemble_members": set(),
        "text_length": {"transformers"},
    }
    for result in some(report["results"]):
        assert set(result["contenders"]) == ours | peers[result["curve"]]
        for own in some(result["contenders"].values()):
            assert own["share_of_rate"]["median"] > 0, "every contender meets the machine's rate"
            assert own["rounds"] >= 1


def test_ratios_are_those_of_the_headlines_batch(report: dict[str, Any]) -> None:
    results = {(each["model"], each["curve"], each["x"]): each for each in report["results"]}
    for model, ratios in some(report["ratios"].items()):
        own = results[model, "batch_size", 5]["ratios"]["isogloss_fp32"]
        assert ratios["fp32_vs_transformers"] == own["vs_transformers"]["median"]
        assert ratios["fp32_vs_peft"] == own["vs_peft"]["median"]
        for name, places in {"prompts_20_vs_1": 20, "mixed_vs_single": 3}.items():
            costs = results[model, "resident_prompts", places]["costs"]
            assert ratios[name] == costs["isogloss_fp32"]["median"]
        (one, four) = (results[model, "ensemble_members", count] for count in (1, 4))
        assert (one["prompts_per_text"], four["prompts_per_text"]) == (1, 4)
        assert ratios["ensemble_4_vs_1"] == four["costs"]["isogloss_fp32"]["median"]


def test_rates_follow_from_times(report: dict[str, Any]) -> None:
    for result in some(report["results"]):
        for own in some(result["contenders"].values()):
            rate, seconds = own["texts_per_s"], own["seconds"]
            assert rate["max"] * seconds["min"] == pytest.approx(result["texts"], rel=1e-2)
            assert seconds["min"] <= seconds["p50"] <= seconds["p95"] <= seconds["p99"]
            assert seconds["p99"] == seconds["max"], "of so few rounds"


def test_agreement_says_how_far_int8_is_off(report: dict[str, Any]) -> None:
    for result in some(report["results"]):
        exact, rounded = (result["agreement"][f"isogloss_{short}"] for short in ("fp32", "int8"))
        assert exact["largest_difference"] < 1e-4
        assert exact["label_agreement"] == 1
        assert 1e-4 < rounded["largest_difference"] < 1
        asked = {
            "resident_prompts": 4,
            "ensemble_members": 4,  # one for each text
            "prompts_per_text": result["texts"] * result["prompts_per_text"],
        }.get(result["curve"], result["texts"])
        assert exact["answers"] == asked


def test_tables_figure_and_markdown_are_made_of_the_report(
    report: dict[str, Any], tmp_path: Path
) -> None:
    tables = engine_tables(report)
    assert len(tables) == 1 + 2 * len(CURVES)
    assert str(next(iter(tables[0].columns[0].cells))) == "fp32 vs transformers"
    out = tmp_path / "engine-here.json"
    drawn = save_engine_figure(report, out)
    assert drawn == tmp_path / "engine-here-batch.svg"
    first = drawn.read_bytes()
    assert save_engine_figure(report, out) == drawn
    assert drawn.read_bytes() == first
    assert b"</svg>" in first
    shown = markdown_table(report)
    ratio = report["ratios"]["bloom-560m"]["fp32_vs_transformers"]
    line = next(x for x in shown.splitlines() if "fp32, times faster than transformers" in x)
    assert f"| {ratio:.2f} (" in line
    assert "| time of an ensemble of 4 prompts, of that of 1 |" in shown


@pytest.mark.parametrize("name", ["bloom-560m", "xglm-564M", "qwen3-0.6b", "gemma3-270m"])
def test_every_contender_scores_ragged_mixed_batches_alike(name: str) -> None:
    model = tiny_model(name, 1, torch.device("cpu"), torch.float32)
    backbone = Backbone.from_transformers(model, None, model_id=name)
    work = workload(prompts=4, prompt_length=3, hidden_size=32, vocab_size=200, seed=1, pool=16)
    batch = next(work.batches(16))
    assert len(set(map(len, batch.texts))) > 4
    with torch.inference_mode():
        ours = Isogloss(backbone, work)
        suffixed, prefixed = ours.score(batch), ours.score_prefixed(batch)
        by_hand, every, last = (
            peer(model, work).score(batch) for peer in (Transformers, Peft, PeftLastLogits)
        )
    assert (suffixed - prefixed).abs().max() > 0.01  # else this could not tell the two apart
    torch.testing.assert_close(by_hand, suffixed, atol=1e-4, rtol=0)
    for peft in (every, last):
        torch.testing.assert_close(peft, prefixed, atol=1e-4, rtol=0)


def test_nothing_is_reported_when_answers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Transformers.score

    def wrong(self: Transformers, batch: Batch) -> Tensor:
        return right(self, batch) + 2e-4

    monkeypatch.setattr(Transformers, "score", wrong)
    settings = EngineSettings(device="cpu", batch_sizes=(2,), curves=("batch_size",))
    with pytest.raises(ContendersDisagree, match=r"isogloss_fp32: .* 0\.0002 away"):
        bench_engine(settings, make_model=tiny_model)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = tiny_model("bloom-560m", 0, torch.device("cpu"), torch.float32)
    monkeypatch.setattr(comparing, "random_model", lambda *_, **__: small)


SHORT_RUN = ["engine", "--quick", "--seconds", "0", "--batch-sizes", "2", "--device", "cpu"]
SHORT_RUN += ["--residents", "1,4", "--dtype", "float32"]


@pytest.mark.usefixtures("tiny")
def test_command_prints_and_writes_one_object_and_its_figure(tmp_path: Path) -> None:
    out = tmp_path / "engine.json"
    options = ["--curve", "batch-size", "--curve", "resident-prompts", "--out", str(out), "--json"]
    result = CliRunner().invoke(commands.app, [*SHORT_RUN, *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(out.read_text())
    settings = json.loads(result.stdout)["settings"]
    assert settings["models"] == list(QUICK["models"])
    assert settings["curves"] == {"batch_size": [2], "resident_prompts": [1, 4, 8]}
    assert "(1 of 2): round 1" in result.stderr
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"engine.json", "engine-batch.svg"}


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Transformers, batch: Batch) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(Transformers, "score", interrupted)
    options = ["--curve", "batch-size", "--out", str(tmp_path / "engine.json")]
    result = CliRunner().invoke(commands.app, [*SHORT_RUN, *options])
    assert result.exit_code != 0
    assert list(tmp_path.iterdir()) == []


def test_table_2_and_two_more_have_full_size_configurations() -> None:
    assert list(FULL_SIZE) == [
        *("bloom-560m", "bloom-1b1", "xglm-564M", "xglm-1.7B"),
        *("qwen3-0.6b", "gemma3-270m"),
    ]
    with pytest.raises(NotFound, match="'bloom-7b1' has no full-size configuration"):
        full_size_config("bloom-7b1")


@pytest.mark.full_size
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "parameters", "dtype"),
    [
        ("bloom-560m", 559_214_592, torch.float32),
        ("xglm-564M", 564_463_616, torch.float32),
        ("gemma3-270m", 268_098_176, torch.float32),
        pytest.param("qwen3-0.6b", 596_049_920, torch.bfloat16, marks=pytest.mark.soak),
        pytest.param("bloom-1b1", 1_065_314_304, torch.bfloat16, marks=pytest.mark.soak),
        pytest.param("xglm-1.7B", 1_732_907_008, torch.bfloat16, marks=pytest.mark.soak),
    ],
)
def test_full_size_configurations_load_and_run(
    name: str, parameters: int, dtype: torch.dtype
) -> None:
    backbone = full_size_backbone(name, dtype=dtype)
    weights = backbone.weights
    assert backbone.dtype == dtype
    assert sum(tensor.numel() for tensor in tensors_of(weights)) == parameters
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
