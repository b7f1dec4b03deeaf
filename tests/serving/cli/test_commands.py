"""`isogloss classify` and `detect`: in process, and the same answer as over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from isogloss.prompts.errors import (
    InvalidInput,
    MalformedInput,
    NotFound,
    StoreError,
    TooLarge,
    UnknownLanguage,
)
from isogloss.prompts.format.soft_prompt import ModelRef, PromptCard, SoftPrompt
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.cli import commands
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import MODEL, fake_classifier, fake_settings, fake_store, http_client

app = typer.Typer()
commands.register(app)

MODELS = ("pocket-bloom", "pocket-xglm")
TEXTS = [
    "Le gouvernement a voté une nouvelle loi sur les transports publics.",
    "The striker scored twice before half-time.",
    "Madaktari walisema chanjo hiyo ni salama kwa watoto.",
    "Ile maarifa",
    "Die Berge sind im Herbst am schönsten, und die Hütten sind noch offen. " * 30,
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    monkeypatch.setattr("isogloss.serving.pipeline.engine.build_classifier", fake_classifier)
    return fake_store(tmp_path / "store")


def run(*arguments: object, stdin: bytes | None = None) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def classify(store: PromptStore, *arguments: object, stdin: bytes | None = None) -> dict[str, Any]:
    options = ("--model", MODEL, "--store", store.root, "--json")
    return dict(json.loads(run("classify", *arguments, *options, stdin=stdin)))


def over_http(
    settings: ServingSettings, store: PromptStore, inputs: list[str | list[str]]
) -> list[dict[str, Any]]:
    """The answers of one server to one request after the other."""

    async def ask() -> list[dict[str, Any]]:
        async with http_client(build_classifier(settings), store, settings) as client:
            answers = [await client.post("/v1/classify", json={"inputs": i}) for i in inputs]
        assert {answer.status_code for answer in answers} == {200}
        return [dict(answer.json()) for answer in answers]

    return asyncio.run(ask())


def test_lines_of_standard_input_are_texts_in_order(store: PromptStore) -> None:
    answer = classify(store, "-", stdin=b"fra_Latn: un\nswh_Latn: mbili\nthree")
    assert [each["prompt"]["name"] for each in answer["results"]] == [
        "romance",
        "congo",
        "everywhere",
    ]
    assert [each["tokens"] for each in answer["results"]] == [12, 15, 5]
    mixed = classify(store, "first", "-", stdin=b"second\n")
    assert [each["tokens"] for each in mixed["results"]] == [5, 6]


def test_more_lines_than_a_request_may_have_are_one_answer(store: PromptStore) -> None:
    lines = "\n".join("x" * (1 + n % 50) for n in range(600))
    answer = classify(store, "-", stdin=lines.encode())
    assert [each["tokens"] for each in answer["results"]] == [1 + n % 50 for n in range(600)]


def test_options_mean_what_the_requests_fields_mean(store: PromptStore) -> None:
    (result,) = classify(store, "a", "--language", "fra_Latn", "--top-k", 1)["results"]
    assert (result["prompt"]["name"], len(result["scores"])) == ("romance", 1)
    (result,) = classify(store, "a", "--prompt", "congo@1", "--task", "topic")["results"]
    assert result["route"]["reason"] == "override"


def test_abstained_and_mixed_answers_look_it(store: PromptStore) -> None:
    text = "fra_Latn 0.6 swh_Latn 0.4: un deux"
    (result,) = classify(store, text, "--abstain", 0.99)["results"]
    assert result["abstained"]
    assert [part["weight"] for part in result["mixture"]] == [0.6, 0.4]
    (result,) = classify(store, text, "--mixture-threshold", 0)["results"]
    assert (result["abstained"], result["mixture"]) == (False, None)
    options = ("--model", MODEL, "--store", store.root, "--abstain", 0.99)
    table = " ".join(run("classify", text, *options).split())
    for words in ("abstained", f"({result['label']})", "romance@1 60%,", "congo@1 40%"):
        assert words in table


def test_the_table_shows_text_label_language_route_and_prompt(store: PromptStore) -> None:
    table = run("classify", "fra_Latn: un [bold]deux", "--model", MODEL, "--store", store.root)
    for word in ("[bold]deux", "French", "Romance", "romance@1"):
        assert word in " ".join(table.split())


GZIP = gzip.compress(b"a\n", mtime=0)


@pytest.mark.parametrize(
    ("arguments", "stdin", "error", "message"),
    [
        (["-"], b"good\n\xff\n", MalformedInput, "standard input, line 2: byte 0xff is not UTF-8"),
        (["-"], b"", InvalidInput, "standard input is empty"),
        (["-"], b"\n\n", InvalidInput, "standard input is empty"),
        (["-"], "über\n".encode("utf-16"), MalformedInput, "standard input: text in UTF-16"),
        (["-"], GZIP, MalformedInput, "standard input: compressed with gzip"),
        (["-", "-"], b"a\n", InvalidInput, "- is given twice"),
        (["a", " ", "b"], None, InvalidInput, "^text 2: the text is empty"),
        (["a", "x" * 100_001], None, TooLarge, "^text 2: 100001 characters are too many"),
        (["a", "\udcff"], None, MalformedInput, "^text 2 is not UTF-8"),
        (["a", "--prompt", "nobody"], None, NotFound, "no prompt 'nobody'"),
        (["a", "--languages", "sw,xx"], None, UnknownLanguage, "languages: unknown language 'xx'"),
        (["a", "--languages", "sw,,rw"], None, InvalidInput, "--languages 'sw,,rw': a name is"),
        (["a", "--languages", "sw=much"], None, InvalidInput, "--languages: 'much' is no weight"),
        (["a", "--languages", "sw=0"], None, InvalidInput, "languages.sw: input should be great"),
        (["a", "--languages", "sw=nan"], None, InvalidInput, "languages.sw: input should be a f"),
        (["a", "--languages", "sw", "--language", "sw"], None, InvalidInput, "exclude each other"),
        (["a", "--language", "xx"], None, UnknownLanguage, "unknown language 'xx'"),
    ],
)
def test_bad_input_is_an_error_with_a_remedy(
    store: PromptStore,
    arguments: list[str],
    stdin: bytes | None,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        classify(store, *arguments, stdin=stdin)


def test_a_store_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no prompt store"):
        run("classify", "a", "--store", tmp_path / "nowhere", "--model", "pocket-bloom")


def test_detect_tells_language_confidence_and_lineage() -> None:
    found = json.loads(run("detect", TEXTS[0], "-", "--json", stdin=TEXTS[2].encode()))["results"]
    assert [each["code"] for each in found] == ["fra_Latn", "swh_Latn"]
    assert found[0]["lineage"][0] == "Indo-European"
    assert 0.9 < found[0]["confidence"] <= 1
    assert "French" in run("detect", TEXTS[0])


def test_languages_bound_what_is_told(store: PromptStore) -> None:
    text = "fra_Latn 0.5 swh_Latn 0.3 kin_Latn 0.1 eng_Latn 0.1: bo"
    for given, code in (
        *(("sw,rw", "swh_Latn"), (" Swahili , rw ", "swh_Latn"), ("sw,rw=9", "kin_Latn")),
        *(("rw=1,sw=1", "swh_Latn"), ("sw=1,rw=2,rw=7", "kin_Latn"), ("zu", "zul_Latn")),
    ):
        (result,) = classify(store, text, "--languages", given)["results"]
        assert result["language"]["code"] == code, given


def test_detect_among_languages() -> None:
    options = ("--languages", "rw,zu,French", "--json")
    found = json.loads(run("detect", TEXTS[0], TEXTS[2], "Привет", *options))["results"]
    assert found[0]["code"] == "fra_Latn"
    assert found[1]["code"] in ("kin_Latn", "zul_Latn")
    assert (found[2]["code"], found[2]["confidence"]) == ("kin_Latn", 0.0)
    assert "Swahili" in run("detect", TEXTS[2], "--languages", "sw=0.001,rw")
    with pytest.raises(InvalidInput, match="--languages is for texts, not for --evaluate"):
        run("detect", "--evaluate", ".", "--languages", "sw")


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    return {model: Backbone.load(model, device="cpu") for model in MODELS}


@pytest.fixture
def real_store(
    backbones: dict[str, Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PromptStore:
    """Untrained prompts for the pocket models: which label wins means nothing, but it is real."""
    store = PromptStore.open(tmp_path / "store", create=True)
    for model, backbone in backbones.items():
        prompts = {f"{model}-{n}": random_prompt(backbone, n) for n in (5, 10)}
        table = RouteTable(
            model=prompts[f"{model}-5"].card.model,
            task="topic",
            universal=f"{model}-5",
            clades={"Romance": f"{model}-10"},
        )
        store.publish(prompts, [table])
    monkeypatch.setattr(Backbone, "load", lambda model, **_: backbones[model])  # once is enough
    return store


def random_prompt(backbone: Backbone, length: int) -> SoftPrompt:
    draw = torch.Generator().manual_seed(length)
    tokens = torch.randint(0, backbone.vocab_size, (length,), generator=draw).tolist()
    card = PromptCard(
        model=ModelRef(id=backbone.model_id, fingerprint=backbone.fingerprint),
        position="suffix",
        kind="plain",
        task="topic",
        labels=verbalize(["sports", "travel", "health"], backbone.tokenizer),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return SoftPrompt(card=card, vectors=backbone.embed(tokens))


@pytest.mark.parametrize("model", MODELS)
def test_the_command_line_and_http_give_the_same_answer(
    real_store: PromptStore, model: str
) -> None:
    options = ("--model", model, "--store", real_store.root, "--device", "cpu", "--json")
    stdin = "\n".join(TEXTS).encode()
    printed = json.loads(run("classify", "-", *options, stdin=stdin))
    settings = fake_settings(real_store.root, models=(model,), device="cpu")
    served, *single = over_http(settings, real_store, [TEXTS, *TEXTS])
    assert [each["prompt"]["name"] for each in printed["results"]] == [
        f"{model}-10", *[f"{model}-5"] * 4
    ]  # fmt: skip
    assert_same(printed["results"], served["results"])
    assert_same(printed["results"], [each["results"][0] for each in single])
    assert (printed["model"], printed["generation"]) == (served["model"], served["generation"])


def assert_same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert {k: v for k, v in mine.items() if not k.startswith("score")} == {
            k: v for k, v in theirs.items() if not k.startswith("score")
        }
        assert [s["label"] for s in mine["scores"]] == [s["label"] for s in theirs["scores"]]
        for s, t in zip(mine["scores"], theirs["scores"], strict=True):
            assert s["score"] == pytest.approx(t["score"], abs=1e-5)


@pytest.mark.parametrize("option", ["--task", "--language", "--prompt"])
def test_an_option_that_is_too_long_is_refused_in_a_sentence(
    store: PromptStore, option: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"^{option[2:]}: .* at most \d+ characters"):
        classify(store, "text", option, "x\x1b" * 1000)


def test_a_text_that_is_no_unicode_is_refused_in_a_sentence(store: PromptStore) -> None:
    with pytest.raises(InvalidInput, match=r"^text 1 is not UTF-8"):
        classify(store, "caf\udce9")
