"""vLLM, SGLang, text-embeddings-inference, Hugging Face, and KServe's two protocols."""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

import httpx
import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.api.dialects.tensors import HEADER_LENGTH, strings
from isogloss.serving.http.service import Service
from tests.fakes import soft_prompt
from tests.serving.api.dialects.two_tasks import LEVELS, ROMANCE, TOPIC, URGENCY, expected
from tests.serving.api.refused import assert_told_as_asked
from tests.serving.api_server import Server

TEXTS = ["fra_Latn: le match", "the weather"]
PROMPTS = [ROMANCE, TOPIC]
PROBABILITIES = [expected(text, prompt) for text, prompt in zip(TEXTS, PROMPTS, strict=True)]


async def post(server: Server, path: str, body: Any) -> httpx.Response:
    async with server.client() as client:
        return await client.post(path, json=body)


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
async def test_vllm_and_sglang_read_probabilities_in_one_order(server: Server, path: str) -> None:
    async with server.client() as client:
        body = {"model": "fake-bloom", "input": TEXTS, "priority": 3}
        told = (await client.post(path, json=body)).json()
        info = (await client.get("/info")).json()
        labels = [info["model_type"]["classifier"]["id2label"][str(place)] for place in range(3)]
        assert labels == sorted(labels)
        for place, each in enumerate(told["data"]):
            assert (each["index"], each["num_classes"]) == (place, 3)
            assert each["probs"] == pytest.approx(PROBABILITIES[place], abs=1e-5)
            assert each["label"] == labels[each["probs"].index(max(each["probs"]))]
        assert told["usage"]["prompt_tokens"] == sum(map(len, TEXTS))


async def test_another_task_is_named_behind_the_model(server: Server) -> None:
    for model in ("fake-bloom:urgency", "urgency"):
        told = (await post(server, "/classify", {"model": model, "input": "a"})).json()
        assert told["data"][0]["probs"] == pytest.approx(expected("a", URGENCY), abs=1e-5)
        assert told["model"] == model


async def test_a_text_that_is_called_inputs_is_sglangs_all_the_same(server: Server) -> None:
    told = (await post(server, "/v1/classify", {"input": ["inputs", "x"]})).json()
    assert len(told["data"]) == 2


async def test_labels_that_change_meanwhile_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is read before the texts; a swap in between must not be papered over."""
    real = Service.ask

    async def ask(self: Service, request: Any, tasks: Any, caller: Any) -> Any:
        other = soft_prompt(0.5, task="urgency", labels=("calm", "panic"))
        server.store.publish({"urgency": other})
        self.live.refresh()
        return await real(self, request, tasks, caller)

    monkeypatch.setattr(Service, "ask", ask)
    refused = await post(server, "/classify", {"model": "urgency", "input": "a"})
    assert refused.status_code == 503
    assert "labels of the task changed" in refused.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/predict", "/v1/classify", "/vertex"])
async def test_vertex_may_ask_on_a_path_of_ours(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("AIP_PREDICT_ROUTE", path)
    assert "predictions" in (await post(server, path, {"instances": ["a"]})).json()
    refused = await post(server, path, {"instances": 5})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


async def test_our_own_field_stays_ours_whatever_its_text_says(server: Server) -> None:
    told = (await post(server, "/v1/classify", {"inputs": 'He said: "input" is a word.'})).json()
    assert "results" in told
    both = await post(server, "/v1/classify", {"inputs": "a", "input": "a"})
    assert both.json()["error"].startswith("input: unknown field")


@pytest.mark.parametrize(
    ("inputs", "nested"), [("a", False), (["a"], False), ([["a"], ["b"]], True), ([["a"]], True)]
)
async def test_predict_answers_flat_for_one_and_nested_for_a_batch(
    server: Server, inputs: Any, nested: bool
) -> None:
    answer = await post(server, "/predict", {"inputs": inputs, "unknown": 1})
    told = answer.json()
    first = told[0] if nested else told
    assert {each["label"]: each["score"] for each in first} == pytest.approx(
        dict(zip(sorted(("sports", "travel", "politics")), expected("a"), strict=True)), abs=1e-5
    )
    assert first == sorted(first, key=lambda each: -each["score"])
    assert len(told) == (len(inputs) if nested else 3)
    assert answer.headers["x-compute-characters"] == str(2 if len(told) == 2 else 1)
    assert answer.headers["x-compute-type"] == "cpu"


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        ({"inputs": ["a", "b"]}, 422, "Validation", '[["text"], ["text"]]'),
        ({"inputs": [["a", "b"]]}, 422, "Validation", "2 texts in one"),
        ({"inputs": ""}, 400, "Empty", "empty"),
        ({"inputs": []}, 400, "Empty", "empty"),
        ({"inputs": 1}, 422, "Validation", "string"),
        ({"inputs": "a" * 500, "truncate": False}, 422, "Validation", "more tokens"),
        ({"inputs": "a" * 500, "truncation_direction": "Left"}, 422, "Validation", "only the end"),
        ({}, 422, "Validation", "required"),
    ],
)
async def test_predict_refuses_in_its_own_words(
    server: Server, body: Any, status: int, kind: str, said: str
) -> None:
    for path in ("/predict", "/", "/invocations"):
        refused = await post(server, path, body)
        assert (refused.status_code, refused.json()["error_type"]) == (status, kind), path
        assert said in refused.json()["error"]
        assert_told_as_asked(path, refused)


async def test_long_texts_are_cut_unless_that_is_refused(server: Server) -> None:
    for extra in ({}, {"truncate": True}, {"truncate": None}):
        assert (await post(server, "/predict", {"inputs": "a" * 500, **extra})).status_code == 200


async def test_raw_scores_are_logarithms(server: Server) -> None:
    plain = (await post(server, "/predict", {"inputs": "a"})).json()
    raw = (await post(server, "/predict", {"inputs": "a", "raw_scores": True})).json()
    none = {"inputs": "a", "parameters": {"function_to_apply": "none"}}
    nested = (await post(server, "/", none)).json()
    assert [each["score"] for each in raw] == pytest.approx(
        [math.log(each["score"]) for each in plain]
    )
    assert nested == [raw]


async def test_hugging_faces_client_gets_lists_in_a_list(server: Server) -> None:
    told = (await post(server, "/", {"inputs": "a", "parameters": {"top_k": 2}})).json()
    assert [len(each) for each in told] == [2]
    batch = {"inputs": TEXTS, "parameters": {}}
    assert [len(each) for each in (await post(server, "/", batch)).json()] == [3, 3]
    sigmoid = {"inputs": "a", "parameters": {"function_to_apply": "sigmoid"}}
    assert (await post(server, "/", sigmoid)).status_code == 422


async def test_kserve_v1_predicts_by_name(server: Server) -> None:
    body = {"instances": [TEXTS[0], {"text": TEXTS[1], "id": 7}]}
    told = (await post(server, "/v1/models/fake-bloom:predict", body)).json()
    for each, probabilities in zip(told["predictions"], PROBABILITIES, strict=True):
        assert list(each) == sorted(each)
        assert list(each.values()) == pytest.approx(probabilities, abs=1e-5)
    other = await post(server, "/v1/models/fake-bloom:urgency:predict", {"instances": ["a"]})
    assert set(other.json()["predictions"][0]) == set(LEVELS)
    refused = await post(server, "/v1/models/nobody:predict", body)
    assert (refused.status_code, list(refused.json())) == (404, ["error"])
    assert (await post(server, "/v1/models/fake-bloom:predict", {})).status_code == 400


async def test_vertex_asks_where_its_environment_says(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/vertex/predict")
    told = (await post(server, "/vertex/predict", {"instances": ["a"]})).json()
    assert set(told["predictions"][0]) == {"sports", "travel", "politics"}


@pytest.mark.parametrize(
    ("route", "path"), [("/vertex/health", "/vertex/health"), ("/ping", "/ping"), (" ", "/ready")]
)
async def test_vertex_asks_there_whether_a_model_can_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, route: str, path: str
) -> None:
    monkeypatch.setenv("AIP_HEALTH_ROUTE", route)
    async with server.client() as client:
        told = await client.get(path)
    assert told.status_code == 200
    assert told.json() == {"status": "ok"} if path == "/ping" else told.json()["ready"] is True


async def test_a_health_route_that_is_no_path_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "health")
    with pytest.raises(InvalidInput, match="AIP_HEALTH_ROUTE: 'health' is no path; begin it"):
        async with server.client():
            pass


def tensor(texts: list[str], **more: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [len(texts)], "datatype": "BYTES", **more}


async def test_kserve_v2_answers_in_json(server: Server) -> None:
    body = {"id": "7", "inputs": [tensor(TEXTS, data=TEXTS)]}
    for path in ("/v2/models/fake-bloom/infer", "/v2/models/fake-bloom/versions/1/infer"):
        told = (await post(server, path, body)).json()
        label, score, probabilities = told["outputs"]
        assert (told["model_name"], told["id"]) == ("fake-bloom", "7")
        assert label["shape"] == score["shape"] == [2]
        assert probabilities["shape"] == [2, 3]
        assert probabilities["data"] == pytest.approx(
            [share for each in PROBABILITIES for share in each], abs=1e-5
        )
        assert score["data"] == pytest.approx([max(each) for each in PROBABILITIES], abs=1e-5)


async def test_kserve_v2_reads_and_writes_bytes(server: Server) -> None:
    packed = strings(TEXTS)
    head = json.dumps(
        {
            "inputs": [tensor(TEXTS, parameters={"binary_data_size": len(packed)})],
            "outputs": [{"name": "score", "parameters": {"binary_data": True}}, {"name": "label"}],
        }
    ).encode()
    headers = {HEADER_LENGTH: str(len(head))}
    async with server.client() as client:
        url = "/v2/models/fake-bloom/infer"
        answer = await client.post(url, content=head + packed, headers=headers)
        length = int(answer.headers[HEADER_LENGTH])
        scores = struct.unpack("<2f", answer.content[length:])
        assert scores == pytest.approx([max(each) for each in PROBABILITIES], abs=1e-5)
        outputs = json.loads(answer.content[:length])["outputs"]
        assert [each["name"] for each in outputs] == ["score", "label"]
        squeezed = zlib.compress(head + packed)
        again = await client.post(
            url, content=squeezed, headers={**headers, "content-encoding": "deflate"}
        )
        assert again.content[int(again.headers[HEADER_LENGTH]) :] == answer.content[length:]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": [tensor(["a"], data=["a", "b"])]}, "its shape says 1 texts, and there are 2"),
        ({"inputs": [tensor(["a"], data=["a"])], "outputs": [{"name": "x"}]}, "there is no 'x'"),
        ({"inputs": [tensor(["a"], data=[5])]}, "string"),
        ({"inputs": [tensor([""], data=[""])]}, "empty"),
    ],
)
async def test_kserve_v2_refuses_with_a_sentence(server: Server, body: Any, said: str) -> None:
    refused = await post(server, "/v2/models/fake-bloom/infer", body)
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert said in refused.json()["error"]


async def test_kserve_v2_tells_what_it_is(server: Server) -> None:
    async with server.client() as client:

        async def get(path: str) -> Any:
            answer = await client.get(path)
            assert answer.status_code == 200, path
            return answer.json()

        assert (await get("/v2"))["extensions"] == ["binary_tensor_data"]
        assert await get("/v2/health/live") == {"live": True}
        assert await get("/v2/health/ready") == {"ready": True}
        names = (await get("/v2/models"))["models"]
        assert names == ["fake-bloom", "fake-bloom:urgency"]
        for name in names:
            about = await get(f"/v2/models/{name}")
            assert about["outputs"][2]["shape"] == [-1, 3]
            assert await get(f"/v2/models/{name}/versions/1") == about
            for path in ("ready", "versions/1/ready"):
                assert await get(f"/v2/models/{name}/{path}") == {"name": name, "ready": True}
        for path in ("/v2/models/nobody", "/v2/models/fake-bloom/versions/2", "/v2/nowhere"):
            missing = await client.get(path)
            assert (missing.status_code, list(missing.json())) == (404, ["error"]), path


async def test_others_names_of_being_alive_and_ready(server: Server) -> None:
    async with server.client() as client:
        for path in ("/healthz", "/ping", "/readyz"):
            assert (await client.get(path)).status_code == 200
