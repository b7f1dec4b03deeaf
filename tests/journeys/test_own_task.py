"""A stranger's task, from a folder of labelled sentences to an HTTP answer, by the commands alone.

Four labels of our own, three languages, the real pocket model: train, evaluate, route, serve, then
publish a better prompt while the endpoint is up.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from isogloss.deploy.cli import app
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import http_client

# label -> things said of it, in each language; sentences are "<who> <what>".
WHO = {
    "eng_Latn": ["My sister", "The teacher", "Our neighbour", "An old friend", "The new boss"],
    "fra_Latn": ["Ma sœur", "Le professeur", "Notre voisin", "Un vieil ami", "La patronne"],
    "spa_Latn": ["Mi hermana", "El profesor", "Nuestro vecino", "Un viejo amigo", "La jefa"],
}
WHAT = {
    "weather": {
        "eng_Latn": ["says that rain and cold wind will come", "fears the storm and the snow"],
        "fra_Latn": ["dit que la pluie et le vent froid arrivent", "craint l'orage et la neige"],
        "spa_Latn": ["dice que vienen la lluvia y el viento frío", "teme la tormenta y la nieve"],
    },
    "food": {
        "eng_Latn": ["cooks rice with meat and fresh bread", "eats fish and drinks milk"],
        "fra_Latn": ["cuisine du riz, de la viande et du pain", "mange du poisson et boit du lait"],
        "spa_Latn": ["cocina arroz con carne y pan", "come pescado y bebe leche"],
    },
    "music": {
        "eng_Latn": ["sings a song and plays the guitar", "listens to the piano and dances"],
        "fra_Latn": ["chante une chanson et joue de la guitare", "écoute le piano et danse"],
        "spa_Latn": ["canta una canción y toca la guitarra", "escucha el piano y baila"],
    },
    "money": {
        "eng_Latn": ["pays the bank and the tax", "sells shares and buys gold at a low price"],
        "fra_Latn": ["paie la banque et l'impôt", "vend des actions et achète de l'or bon marché"],
        "spa_Latn": ["paga al banco y el impuesto", "vende acciones y compra oro barato"],
    },
}


def write_task(folder: Path) -> Path:
    """Train, dev and test splits of every language; no sentence is in two of them."""
    for code in WHO:
        rows = [
            (label, f"{who} {what[code][n]}.")
            for label, what in WHAT.items()
            for n, who in itertools.product(range(2), WHO[code])
        ]
        splits = {"train": rows, "dev": rows[::3], "test": rows[1::3]}
        kept = set(splits["dev"]) | set(splits["test"])
        splits["train"] = [row for row in rows if row not in kept]
        (folder / code).mkdir(parents=True)
        for split, own in splits.items():
            with (folder / code / f"{split}.tsv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter="\t")
                writer.writerow(["index_id", "category", "text"])
                writer.writerows([rows.index(row), *row] for row in own)
    return folder


def isogloss(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to a store with a routed task, made by the commands a user types."""
    place = tmp_path_factory.mktemp("journey")
    data = write_task(place / "data")
    common = ("--model", "pocket-bloom", "--data", data, "--device", "cpu")
    train = ("train", *common, "--task", "chatter", "--shots", "all", "--batch-size", "4")
    isogloss(*train, "--out", place / "out", "--name", "english", "--epochs", "8")
    isogloss(
        *train, "--source", "fra_Latn,spa_Latn", "--out", place / "out", "--name", "romance",
        "--epochs", "8",
    )  # fmt: skip
    prompts = sorted((place / "out").glob("*-seed0.safetensors"))
    evaluated = isogloss(
        "evaluate", *common, "--languages", "every", "--prompts", *prompts,
        "--out", place / "dev.csv",
    )  # fmt: skip
    assert {own["prompt"] for own in evaluated["prompts"]} == {"english-seed0", "romance-seed0"}
    isogloss(
        "route", "--evaluations", place / "dev.csv", "--prompts", *prompts,
        "--store", place / "store", "--min-sentences", "10",
    )  # fmt: skip
    return place


def test_the_task_is_answered_over_http_and_in_process_alike(journey: Path) -> None:
    texts = ["Ma tante écoute le piano et chante.", "The clerk pays the tax to the bank."]
    in_process = isogloss(
        "classify", *texts, "--task", "chatter", "--store", journey / "store", "--device", "cpu"
    )
    over_http = post(journey / "store", {"inputs": texts, "task": "chatter"})
    assert over_http == in_process
    french, english = over_http["results"]
    assert {score["label"] for score in french["scores"]} == set(WHAT)
    assert (french["language"]["code"], english["language"]["code"]) == ("fra_Latn", "eng_Latn")


def test_most_held_out_sentences_are_right(journey: Path) -> None:
    gold, texts = [], []
    for code in WHO:
        with (journey / "data" / code / "test.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                gold.append(row["category"])
                texts.append(row["text"])
    answer = post(journey / "store", {"inputs": texts, "task": "chatter"})
    right = sum(r["label"] == label for r, label in zip(answer["results"], gold, strict=True))
    assert right / len(gold) > 0.5  # four labels: chance is a quarter


def test_a_prompt_published_while_serving_takes_over(journey: Path) -> None:
    store = journey / "store"
    before: dict[str, Any] = {}

    def publish(answer: dict[str, Any]) -> None:
        before.update(answer["results"][0]["prompt"])
        other = "romance" if "english" in before["name"] else "english"
        isogloss(
            "prompts", "publish", journey / "out" / f"{other}-seed0.safetensors",
            "--name", before["name"], "--store", store,
        )  # fmt: skip

    request = {"inputs": "Le vent froid arrive.", "task": "chatter"}
    after = post(store, request, between=publish)["results"][0]["prompt"]
    assert after["name"] == before["name"]
    assert after["version"] == before["version"] + 1
    assert after["digest"] != before["digest"]


def post(
    store: Path,
    request: dict[str, Any],
    between: Callable[[dict[str, Any]], None] | None = None,
    path: str = "/v1/classify",
    status: int = 200,
) -> Any:
    """Ask one replica over HTTP; with `between`, ask again after it and a look at the store."""

    async def run() -> Any:
        settings = ServingSettings(store=store, device="cpu", poll_interval_s=3600)
        classifier = build_classifier(settings)
        from isogloss.prompts.store.store import PromptStore

        opened = PromptStore.open(store)
        async with http_client(classifier, opened, settings, None) as client:
            answer = await _ask(client, request, path, status)
            if between is not None:
                between(answer)
                assert classifier.registry.refresh()
                answer = await _ask(client, request)
            return answer

    return asyncio.run(run())


async def _ask(
    client: httpx.AsyncClient,
    request: dict[str, Any],
    path: str = "/v1/classify",
    status: int = 200,
) -> Any:
    answer = await client.post(path, json=request)
    assert answer.status_code == status, answer.text
    return answer.json()
