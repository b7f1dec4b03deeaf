"""Prompts that answer together over HTTP: published, tried, promoted, explained, rolled back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import peft
import pytest
import torch
from typer.testing import CliRunner

from isogloss.deploy.cli import app
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.peft import import_adapter
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from tests.fakes import (
    HIDDEN_SIZE,
    MODEL,
    OVERFLOWING,
    WILD,
    expected_scores,
    route_table,
    soft_prompt,
)
from tests.prompts.damaged_files import split
from tests.serving.api_server import ADMIN, Server, ask
from tests.some import some

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ROMANCE, CONGO = soft_prompt(2.0, length=5), soft_prompt(3.0)
DUO = Ensemble.of([("romance", 1, ROMANCE), ("congo", 1, CONGO)])
MEMBERS = [
    {"name": "romance", "version": 1, "digest": ROMANCE.digest},
    {"name": "congo", "version": 1, "digest": CONGO.digest},
]
FRENCH = "fra_Latn: bonjour"
TEXTS = [f"fra_Latn: {'x' * n}" for n in range(40)]


def together(text: str, prompts: Sequence[SoftPrompt]) -> Any:
    """Label -> probability of the mean log-probability."""
    said = [expected_scores(text, prompt) for prompt in prompts]
    mean = [sum(math.log(each[label]) for each in said) / len(said) for label in said[0]]
    scores = torch.tensor(mean).softmax(-1).tolist()
    return pytest.approx(dict(zip(said[0], scores, strict=True)), abs=3e-6)


def _routes(table: RouteTable) -> dict[str, Any]:
    return {"routes": [table.model_dump(mode="json")]}


def scores_of(result: dict[str, Any]) -> dict[str, float]:
    return {each["label"]: each["score"] for each in result["scores"]}


async def put(
    client: httpx.AsyncClient, name: str, *members: str, query: str = "", **headers: str
) -> httpx.Response:
    return await client.put(
        f"/v1/prompts/{name}{query}", json={"members": members}, headers={**ADMIN, **headers}
    )


async def answer(client: httpx.AsyncClient, text: str = FRENCH, **fields: Any) -> dict[str, Any]:
    (result,) = (await ask(client, inputs=text, **fields))["results"]
    return dict(result)


def isogloss(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_published_by_members_routed_explained_and_rolled_back(server: Server) -> None:
    async with server.client() as client:
        published = await put(client, "duo", "romance", "congo@1")
        assert published.json()["prompt"] == {"name": "duo", "version": 1, "digest": DUO.digest}
        table = route_table("everywhere", {"Romance": "duo", "Atlantic-Congo": "congo"})
        routed = await client.put("/v1/routes", json=_routes(table), headers=ADMIN)
        assert routed.status_code == 200, routed.text

        result = await answer(client)
        assert result["prompt"] == {
            "name": "duo", "version": 1, "digest": DUO.digest, "members": MEMBERS
        }  # fmt: skip
        assert scores_of(result) == together(FRENCH, (ROMANCE, CONGO))
        plain = await answer(client, "swh_Latn: bo")
        assert "members" not in plain["prompt"]
        assert scores_of(await answer(client, prompt="duo@1")) == scores_of(result)

        shown = (await client.get("/v1/prompts/duo")).json()
        assert (shown["card"]["kind"], shown["length"]) == ("ensemble", 7)
        assert [(m["name"], m["digest"]) for m in shown["card"]["members"]] == [
            ("romance", ROMANCE.digest),
            ("congo", CONGO.digest),
        ]
        assert shown["card"]["members"][0]["card"]["task"] == "topic"
        file = await client.get("/v1/prompts/duo/file")
        assert Ensemble.from_bytes(file.content).digest == DUO.digest

        said = isogloss("route", "--explain", "fr", "--store", server.store.root)
        assert "duo" in said
        assert "a@1" not in said
        assert "romance@1, congo@1" in isogloss(
            "prompts", "show", "duo", "--store", server.store.root
        )

        back = await client.post("/v1/rollback", json={}, headers=ADMIN)
        assert back.status_code == 200, back.text
        assert (await answer(client))["prompt"] == {
            "name": "romance", "version": 1, "digest": ROMANCE.digest
        }  # fmt: skip


async def test_a_file_is_the_same_version_as_its_members(server: Server) -> None:
    async with server.client() as client:
        first = await put(client, "duo", "romance", "congo")
        again = await client.put("/v1/prompts/duo", content=DUO.to_bytes(), headers=ADMIN)
        assert again.json() == first.json()
    assert server.store.latest() == 2


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("kind", ["canary", "shadow"])
async def test_on_trial_and_promoted(server: Server, kind: str, as_file: bool) -> None:
    query = "?canary=50%25" if kind == "canary" else "?shadow=true"
    async with server.client() as client:
        if as_file:
            begun = await client.put(
                f"/v1/prompts/romance{query}", content=DUO.to_bytes(), headers=ADMIN
            )
        else:
            begun = await put(client, "romance", "romance", "congo", query=query)
        assert begun.json()["prompt"]["version"] == 2
        results = (await ask(client, inputs=TEXTS))["results"]
        for text, result in some(zip(TEXTS, results, strict=True)):
            duo = result["prompt"]["version"] == 2
            assert result["prompt"].get("members") == (MEMBERS if duo else None)
            members = (ROMANCE, CONGO) if duo else (ROMANCE,)
            assert scores_of(result) == together(text, members)
        by_duo = sum(result["prompt"]["version"] == 2 for result in results)
        (trial,) = (await client.get("/v1/trials")).json()["trials"]
        (report,) = trial["clades"]
        assert (trial["problems"], report["failures"]) == ([], 0)
        assert report["compared"] == (by_duo if kind == "canary" else len(TEXTS))
        assert (0 < by_duo < len(TEXTS)) == (kind == "canary")
        promoted = await client.post("/v1/promote", json={"trial": "romance"}, headers=ADMIN)
        assert promoted.status_code == 200, promoted.text
        result = await answer(client)
        assert result["prompt"]["members"] == MEMBERS
        assert scores_of(result) == together(FRENCH, (ROMANCE, CONGO))


async def test_members_go_on_together_when_their_names_do_not(server: Server) -> None:
    async with server.client() as client:
        await put(client, "duo", "romance", "congo")
        routed = await client.put("/v1/routes", json=_routes(route_table("duo")), headers=ADMIN)
        assert routed.status_code == 200, routed.text
        deleted = await client.delete("/v1/prompts/congo", headers=ADMIN)
        assert deleted.status_code == 200, deleted.text
        newer = soft_prompt(8.0).to_bytes()
        await client.put("/v1/prompts/romance", content=newer, headers=ADMIN)
        result = await answer(client)
        assert result["prompt"]["members"] == MEMBERS
        assert scores_of(result) == together(FRENCH, (ROMANCE, CONGO))


def imported_from_peft(folder: Path) -> SoftPrompt:
    """What PEFT saved for a model of the fake one's width, imported as `import-peft` does."""
    config = peft.PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, num_attention_heads=1, num_layers=1,
        token_dim=HIDDEN_SIZE,
    )  # fmt: skip
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(5)
    model: Any = BloomForCausalLM(
        BloomConfig(vocab_size=64, hidden_size=HIDDEN_SIZE, n_layer=1, n_head=1)
    )
    adapted: Any = peft.get_peft_model(model, config)
    adapted.save_pretrained(str(folder))
    card = soft_prompt(1.0).card
    return import_adapter(
        folder,
        model=card.model,
        hidden_size=HIDDEN_SIZE,
        architecture="bloom",
        layers=1,
        task="topic",
        labels=card.labels,
        origin_differs=True,
    )


async def test_a_peft_import_answers_within_one(server: Server, tmp_path: Path) -> None:
    imported = imported_from_peft(tmp_path / "adapter")
    server.store.publish({"imported": imported})
    async with server.client() as client:
        done = await put(client, "duo", "romance", "imported")
        assert done.status_code == 200, done.text
        result = await answer(client, prompt="duo")
        assert [member["name"] for member in result["prompt"]["members"]] == ["romance", "imported"]
        assert scores_of(result) == together(FRENCH, (ROMANCE, imported))
        shown = (await client.get("/v1/prompts/duo")).json()["card"]
        assert shown["position"] == "prefix"
        assert shown["members"][1]["card"]["training"]["method"] == "peft prompt tuning"
        begun = await put(client, "romance", "romance", "imported", query="?canary=1")
        assert begun.status_code == 200, begun.text
        result = await answer(client)
        assert result["trial"]["side"] == "candidate"
        assert scores_of(result) == together(FRENCH, (ROMANCE, imported))


async def test_a_member_under_which_the_model_overflows_keeps_it_out(server: Server) -> None:
    server.store.publish({"wild": soft_prompt(WILD)})
    async with server.client() as client:
        refused = await put(client, "duo", "romance", "wild")
        assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")
        assert "under its member 'wild@1' the model's numbers overflow" in refused.json()["error"]
    assert "duo" not in server.store.state().prompts


async def test_one_that_overflows_on_a_text_says_which_member(server: Server) -> None:
    server.store.publish({"wild": soft_prompt(OVERFLOWING, length=1)})
    async with server.client() as client:
        assert (await put(client, "duo", "romance", "wild")).status_code == 200
        failed = await client.post("/v1/classify", json={"inputs": FRENCH, "prompt": "duo"})
        assert failed.status_code >= 500
        assert (
            "duo@1 (its member wild@1) makes the model's numbers overflow" in failed.json()["error"]
        )
        assert (await answer(client, prompt="romance"))["prompt"]["name"] == "romance"


def spoil(store: PromptStore, digest: str, member: int) -> None:
    path = store.root / "objects" / f"{digest.removeprefix('sha256:')}.safetensors"
    data = bytearray(path.read_bytes())
    header, body = split(bytes(data))
    begin = header[f"prompt.{member}"]["data_offsets"][0]
    data[len(data) - len(body) + begin] ^= 1
    path.write_bytes(data)


async def test_with_one_member_damaged_the_rest_does_not_answer_in_its_name(server: Server) -> None:
    """Whoever loaded it before goes on; whoever starts now says which member it is."""
    async with server.client() as running:
        await put(running, "duo", "romance", "congo")
        await put(running, "other", "congo", "romance")
        spoil(server.store, DUO.digest, 1)
        assert scores_of(await answer(running, prompt="duo")) == together(FRENCH, (ROMANCE, CONGO))
    async with server.client() as client:
        failed = await client.post("/v1/classify", json={"inputs": FRENCH, "prompt": "duo"})
        assert failed.status_code >= 500
        assert "member 'congo@1' is damaged" in failed.json()["error"]
        shown = (await client.get("/v1/prompts/duo")).json()
        assert (shown["card"], shown["length"]) == (None, None)
        assert "member 'congo@1' is damaged" in shown["problem"]
        file = await client.get("/v1/prompts/duo/file")
        assert "member 'congo@1' is damaged" in file.json()["error"]
        assert (await answer(client, prompt="other"))["prompt"]["name"] == "other"
        assert (await answer(client))["prompt"]["name"] == "romance"
        mended = await put(client, "duo", "romance", "congo")
        assert mended.json()["generation"] == 3
        assert scores_of(await answer(client, prompt="duo")) == together(FRENCH, (ROMANCE, CONGO))


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        (["romance"], 422, "members: "),
        ([], 422, "members: "),
        (["romance"] * 17, 422, "members: "),
        (["romance", "romance@1"], 422, "'romance@1' is in the ensemble twice"),
        (["romance", "nobody"], 404, "no prompt 'nobody'"),
        (["romance", "congo@9"], 404, "congo@1 to congo@1 exist"),
        (["romance", "../congo"], 422, "prompt name"),
        (["romance", "x" * 81], 422, "members"),
        (["romance", 5], 422, "members"),
        (["romance", "mood"], 422, "'mood@1' is for task 'mood', 'romance@1' for 'topic'"),
        (["romance", "labels"], 422, "'romance@1' and 'labels@1' differ in labels"),
        (["other", "foreign"], 422, "train it for this model"),
        (
            ["romance", "foreign"],
            422,
            f"'foreign@1' is for away (sha256:away), 'romance@1' for {MODEL}",
        ),
        (["romance", "pair"], 422, "pair@1 is 2 prompts that answer together; name those"),
    ],
)
async def test_what_cannot_answer_together_is_refused(
    server: Server, members: list[Any], status: int, words: str
) -> None:
    foreign = {name: soft_prompt(n, model="away") for n, name in enumerate(("foreign", "other"), 1)}
    mood, labels = soft_prompt(5.0, task="mood"), soft_prompt(6.0, labels=("a", "b"))
    server.store.publish({"mood": mood, "labels": labels, "pair": DUO, **foreign})
    async with server.client() as client:
        refused = await put(client, "duo", *members)
        assert refused.status_code == status, refused.text
        assert words in refused.json()["error"]
        assert (await client.put("/v1/prompts/duo", json={"members": members})).status_code == 401
    assert server.store.latest() == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"members": "romance"}', b'{"members": 2}'])
async def test_json_that_lists_no_members_is_refused(server: Server, body: bytes) -> None:
    async with server.client() as client:
        headers = {**ADMIN, "content-type": "application/json; charset=utf-8"}
        bad = await client.put("/v1/prompts/duo", content=body, headers=headers)
        assert bad.status_code in (400, 422)
        assert bad.json()["error_type"] == "validation"
    assert server.store.latest() == 1


async def test_asked_again_under_one_request_id_it_is_published_once(server: Server) -> None:
    async with server.client() as client:
        headers = {"x-request-id": "same"}
        first = await put(client, "duo", "romance", "congo", **headers)
        again = await put(client, "duo", "romance", "congo", **headers)
        assert again.json() == first.json()
        other = await put(client, "duo", "romance", "everywhere", **headers)
        assert other.status_code == 422
    assert server.store.latest() == 2


async def test_the_document_tells_of_both_bodies(server: Server) -> None:
    async with server.client() as client:
        document = (await client.get("/openapi.json")).json()
    body = document["paths"]["/v1/prompts/{name}"]["put"]["requestBody"]
    assert set(body["content"]) == {"application/octet-stream", "application/json"}
    schemas = document["components"]["schemas"]
    assert schemas["EnsembleRequest"]["properties"]["members"]["maxItems"] == 16
    assert "members" in schemas["PromptAnswer"]["properties"]


async def test_a_file_is_a_file_whatever_the_client_calls_it(server: Server) -> None:
    """Clients that send JSON all day call everything JSON."""
    async with server.client() as client:
        headers = {**ADMIN, "content-type": "application/json"}
        sent = await client.put("/v1/prompts/duo", content=DUO.to_bytes(), headers=headers)
        assert sent.status_code == 200, sent.text
        assert sent.json()["prompt"]["digest"] == DUO.digest
