"""`isogloss bench http`: requests, answers, load and report, without starting Ray."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from typer.testing import CliRunner

from isogloss.deploy.bench import commands
from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.http_engine import engine_texts_per_s
from isogloss.deploy.bench.http_load import Load, check_client
from isogloss.deploy.bench.http_peers import Options, Scorer, plain_api
from isogloss.deploy.bench.http_results import Level, Round, model_result, ratios
from isogloss.deploy.bench.http_servers import (
    FASTAPI,
    OURS,
    RAY_SERVE,
    Batches,
    _batches_of_metrics,
    check_tells_apart,
    largest_difference,
)
from isogloss.deploy.bench.http_workload import TOPICS, HttpWorkload, prepare, pseudo_texts
from isogloss.deploy.bench.settings import HttpSettings
from isogloss.deploy.bench.tables import http_tables
from isogloss.deploy.bench.texts import sib_lengths
from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.names import POCKET
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.http import build_api
from isogloss.serving.config import ServingSettings
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.registry.replicas import LocalBoard, Reporter
from isogloss.serving.telemetry.metrics import ServingMetrics, merge
from tests.deploy.small_models import tiny_model

small_model = partial(tiny_model, vocab_size=22_528)  # for the pocket models' tokens


@pytest.fixture(scope="module", params=["bloom-560m", "xglm-564M", "gemma3-270m"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HttpWorkload:
    return prepare(
        request.param,
        tmp_path_factory.mktemp("work"),
        HttpSettings(prompts=3, prompt_length=4, device="cpu", dtype="float32", seed=1),
        small_model,
    )


def our_answers(work: HttpWorkload) -> list[dict[str, float]]:
    """Through our HTTP routes, in this process."""
    settings = ServingSettings(models=(work.source,), store=work.store, device="cpu")
    classifier = build_classifier(settings)
    board = LocalBoard()
    reporter = Reporter("r", work.source, classifier.registry, classifier.metrics, board)
    store = PromptStore.open(work.store)
    service = Service(classifier, {}, store, reporter, settings)
    api = build_api(service, Admin(service, SecretStr("token")))
    with TestClient(api) as client:
        replies = [client.post(OURS.route, content=each.body()).json() for each in work.probes()]
    classifier.close()
    return [
        {score["label"]: score["score"] for score in reply["results"][0]["scores"]}
        for reply in replies
    ]


def test_peers_and_ours_answer_the_same_bodies_alike(work: HttpWorkload) -> None:
    scorer = Scorer(Options(work.source, work.prompts, port=0, threads=1))
    with TestClient(plain_api(scorer)) as client:
        replies = [client.post(FASTAPI.route, json=json.loads(a.body())) for a in work.probes()]
        theirs = [
            {score["label"]: score["score"] for score in reply.json()["scores"]}
            for reply in replies
        ]
        assert client.get("/health").json() == {"batches": 6, "texts": 6}
    ours = our_answers(work)
    assert set(ours[0]) == set(TOPICS)
    check_tells_apart(ours[:3], "float32")
    assert largest_difference(ours, theirs, "fastapi", "float32") < 1e-4
    batch = scorer.score([_request(body) for body in work.bodies.read_text().splitlines()[:5]])
    own = {score.label: score.score for score in batch[0].scores}
    alone = theirs[3]  # after one text under each of three prompts come texts under their own
    assert own == pytest.approx(alone, abs=1e-5)


def _request(body: str) -> Any:
    from isogloss.deploy.bench.http_peers import Request

    return Request.model_validate_json(body)


def test_the_files_say_the_same_to_all(work: HttpWorkload) -> None:
    state = PromptStore.open(work.store).state()
    names = [f"bench-{place}" for place in range(3)]
    assert sorted(state.prompts) == names
    assert sorted(file.stem for file in work.prompts.iterdir()) == names
    bodies = [json.loads(line) for line in work.bodies.read_text().splitlines()]
    assert [each["prompt"] for each in bodies[:4]] == [*names, names[0]]
    assert len(bodies) == len(work.asked) == len(work.lengths)
    assert work.tokens_per_text == pytest.approx(sum(work.lengths) / len(bodies) + 4)
    assert [each.prompt for each in work.probes()[:3]] == names
    assert len({each.text for each in work.probes()[:3]}) == 1


@pytest.mark.parametrize("name", ["pocket-bloom", "pocket-xglm"])
def test_texts_have_exactly_the_lengths_asked_for(name: str) -> None:
    from isogloss.prompts.model.checkpoint import load_checkpoint

    tokenizer = load_checkpoint(str(POCKET / name)).tokenizer
    assert tokenizer is not None
    lengths = [2, 3, 40, *sib_lengths(20)]
    texts = pseudo_texts(lengths, tokenizer, seed=3)
    assert sorted(len(text.ids) for text in tokenizer.encode(texts, 1000)) == sorted(lengths)
    assert texts == pseudo_texts(lengths, tokenizer, seed=3)
    assert texts != pseudo_texts(lengths, tokenizer, seed=4)
    assert len(set(texts)) == len(texts)


def test_answers_that_differ_are_not_compared_by_speed() -> None:
    ours = [{"a": 0.7, "b": 0.3}, {"a": 0.5, "b": 0.5}]
    near = [{"b": 0.30005, "a": 0.69995}, {"a": 0.5, "b": 0.5}]
    assert largest_difference(ours, near, "x", "float32") == pytest.approx(5e-5)
    far = [ours[0], {"a": 0.4998, "b": 0.5002}]
    with pytest.raises(ContendersDisagree, match=r"x: .* by 0\.0002, more than 0\.0001"):
        largest_difference(ours, far, "x", "float32")
    other_labels = [{"a": 0.7, "c": 0.3}, ours[1]]
    with pytest.raises(ContendersDisagree, match="by inf"):
        largest_difference(ours, other_labels, "x", "float32")
    not_a_number = [ours[0], {"a": float("nan"), "b": 0.5}]
    with pytest.raises(ContendersDisagree, match="by nan"):
        largest_difference(ours, not_a_number, "x", "float32")


def test_prompts_that_answer_alike_prove_nothing() -> None:
    check_tells_apart([{"a": 0.7}, {"a": 0.6}, {"a": 0.5}], "float32")
    with pytest.raises(ContendersDisagree, match=r"differ by 0\.0001 only"):
        check_tells_apart([{"a": 0.7}, {"a": 0.6}, {"a": 0.6001}], "float32")


def test_batches_are_those_since_an_earlier_count() -> None:
    assert Batches(3, 40).since(Batches(1, 8)).mean == 16
    assert Batches(3, 40).since(Batches(3, 40)).mean is None


def test_batch_sizes_are_told_as_near_as_they_are_known() -> None:
    # 4 of one text, 2 of 5 to 8, and of 17 to 32 so many that all texts are there
    before = Batches(1, 1, {1: 1, 4: 1, 8: 1, 16: 1, 32: 1})
    after = Batches(10, 1 + 4 + 2 * 6 + 3 * 30, {1: 5, 4: 5, 8: 7, 16: 7, 32: 10})
    assert after.since(before).sizes() == {1: 4, 6: 2, 30: 3}
    assert Batches(4, 64).sizes() == {16: 4}
    assert Batches(0, 0, {1: 0, 2: 0}).sizes() == {}


def test_batch_sizes_are_read_from_our_metrics() -> None:
    metrics = ServingMetrics()
    for texts in (1, 31, 1, 31):
        metrics.batch_texts.observe(texts)
    page = merge({("m", "a"): metrics.snapshot(), ("m", "b"): metrics.snapshot()})
    counted = _batches_of_metrics(page.decode())
    assert (counted.batches, counted.texts, counted.mean) == (8, 128, 16)
    assert counted.sizes() == {1: 4, 31: 4}


def rounds() -> list[Round]:
    """Two made-up rounds: ours 2 and 4 times Ray Serve's rate at 32 connections."""
    made = []
    for factor in (2.0, 4.0):
        own = Round(engine={1: 50.0, 32: 1000.0})
        for name, rate, p50 in (
            ("isogloss", factor, 5.0),
            ("fastapi", 1.0, 8.0),
            ("ray_serve", 1.0, 20.0),
        ):
            own.levels[name] = {
                n: Level(Load(100 * n + n, 0, 0, n, n / rate, p50, p50, p50), Batches(2, n))
                for n in (1, 32)
            }
            own.seconds_to_ready[name] = 3.0
            own.peak_memory_bytes[name] = 1 << 20
        own.differences = {"fastapi": 1e-6, "ray_serve": 2e-6}
        made.append(own)
    return made


@pytest.fixture
def report(work: HttpWorkload) -> dict[str, Any]:
    result = model_result(work, rounds())
    return {
        "bench": "http",
        "hardware": {"name": "2 cores", "threads": 2},
        "settings": {"dtype": "float32", "prompts": 3, "client": "wrk", "rounds": 2},
        "results": [result],
        "ratios": {result["model"]: ratios(result)},
    }


def test_ratios_are_those_of_the_contract(report: dict[str, Any]) -> None:
    (found,) = report["ratios"].values()
    assert found == {"requests_vs_ray_serve": 3.0, "p50_vs_ray_serve": 0.25, "share_of_engine": 0.3}
    busy = report["results"][0]["levels"][1]
    assert busy["contenders"]["isogloss"]["requests_per_s"] == {
        "median": 300, "min": 200, "max": 400
    }  # fmt: skip
    assert busy["contenders"]["ray_serve"]["texts_per_batch"]["median"] == 16
    assert busy["share_of_engine"] == {"median": 0.3, "min": 0.2, "max": 0.4}
    assert json.loads(json.dumps(report)) == report


def test_the_table_shows_every_server(report: dict[str, Any]) -> None:
    (table,) = http_tables(report)
    assert list(map(str, table.columns[0].cells)) == ["1", "", "", "32", "", ""]
    assert list(map(str, table.columns[1].cells))[:3] == [
        "isogloss serve",
        "FastAPI",
        "Ray Serve, batches",
    ]
    assert list(map(str, table.columns[3].cells))[3:] == ["", "3.00 x", "3.00 x"]


def test_the_engine_alone_is_measured_at_the_sizes_reached(work: HttpWorkload) -> None:
    settings = HttpSettings(seconds=1, device="cpu", dtype="float32")
    found = engine_texts_per_s(work, {1: {1: 3}, 8: {1: 1, 8: 2}, 32: {}}, settings)
    assert set(found) == {1, 8}
    assert all(rate > 0 for rate in found.values())


def test_every_contender_is_started_on_the_same_files(work: HttpWorkload) -> None:
    for each in (OURS, FASTAPI, RAY_SERVE):
        command = each.command(work, HttpSettings(threads=2, device="cpu", dtype="float32"))
        assert command[command.index("--model") + 1] == work.source
        assert command[command.index("--threads") + 1] == "2"
        assert "{port}" in command


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.timeout(280)
def test_whole_servers_are_measured_from_end_to_end(tmp_path: Path) -> None:
    try:
        check_client("wrk")
        client = "wrk"
    except Unavailable:
        client = "python"
    out = tmp_path / "http.json"
    options = ["--model", "pocket-bloom", "--concurrency", "1,4", "--seconds", "1"]
    options += ["--rounds", "1", "--threads", "1", "--client", client, "--device", "cpu"]
    result = CliRunner().invoke(commands.app, ["http", *options, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert json.loads(result.stdout) == report
    assert list(report) == ["bench", "hardware", "versions", "settings", "results", "ratios"]
    assert set(report["ratios"]["pocket-bloom"]) == {
        "requests_vs_ray_serve", "p50_vs_ray_serve", "share_of_engine"
    }  # fmt: skip
    (model,) = report["results"]
    for level in model["levels"]:
        for own in level["contenders"].values():
            assert own["errors"] == 0
            assert own["requests"] > 0
            assert own["p50_ms"]["median"] > 0
    assert model["servers"]["isogloss"]["peak_memory_bytes"] > 100 << 20
