"""Label Studio's ML backend, asked as its `ml/api_connector.py` asks."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isogloss.serving.http.keys import ApiKeys, parsed
from isogloss.serving.http.service import Service
from tests.fakes import soft_prompt
from tests.serving.api.dialects.two_tasks import LEVELS, ROMANCE, TOPIC, URGENCY, expected
from tests.serving.api.refused import assert_refused
from tests.serving.api_server import ADMIN, Server

CONFIG = """
<View>
  <Text name="message" value="$text"/>
  <Choices name="topic" toName="message" choice="single">
    <Choice value="Travel"/><Choice value="sports"/>
  </Choices>
  <Choices name="how" toName="message">
    <Choice value="High"/><Choice value="low"/><Choice value="medium"/>
  </Choices>
  <Choices name="cats" toName="message"><Choice value="cats"/><Choice value="dogs"/></Choices>
</View>
"""
TEXTS = ["fra_Latn: le match", "the weather"]
PROMPTS = [ROMANCE, TOPIC]


def task(text: object, number: int = 1) -> dict[str, Any]:
    """As Label Studio writes a task, shortened."""
    about = {"id": number, "project": 3, "is_labeled": False, "annotations": [], "predictions": []}
    return {**about, "data": {"text": text, "source": "mail"}}


def asked(*texts: object, config: str = CONFIG) -> dict[str, Any]:
    params = {"login": "", "password": "", "context": None}
    tasks = [task(text, number) for number, text in enumerate(texts, start=1)]
    return {"tasks": tasks, "project": "3.1790000000", "label_config": config, "params": params}


def setup(config: str) -> dict[str, Any]:
    about = {"hostname": "http://localhost:8080", "access_token": "theirs", "extra_params": None}
    return {"project": "3.1790000000", "schema": config, **about}


async def predict(server: Server, body: Any, **changes: Any) -> httpx.Response:
    async with server.client(**changes) as client:
        return await client.post("/label-studio/predict", json=body)


async def test_every_choice_of_every_task_is_predicted_in_the_projects_words(
    server: Server,
) -> None:
    told = (await predict(server, asked(*TEXTS))).json()
    for text, prompt, prediction in zip(TEXTS, PROMPTS, told["results"], strict=True):
        travel, sports, _ = expected(text, prompt, "travel", "sports", "politics")
        levels = dict(zip(LEVELS, expected(text, URGENCY, *LEVELS), strict=True))
        topic, how = prediction["result"]
        assert (topic["from_name"], topic["to_name"], topic["type"]) == (
            "topic",
            "message",
            "choices",
        )
        likelier = "Travel" if travel > sports else "sports"
        assert topic["value"] == {"choices": [likelier]}
        share = max(travel, sports) / (travel + sports)
        assert topic["score"] == pytest.approx(share, abs=1e-5)
        best = max(levels, key=lambda level: levels[level])
        assert how["value"]["choices"][0].lower() == best
        assert how["score"] == pytest.approx(levels[best], abs=1e-5)
        assert prediction["score"] == min(topic["score"], how["score"])
        assert prediction["model_version"] == "fake-bloom generation 2"


async def test_a_project_hears_at_once_whether_it_is_answered(server: Server) -> None:
    async with server.client() as client:
        told = await client.post("/label-studio/setup", json=setup(CONFIG))
        assert told.json() == {"model_version": "fake-bloom generation 2"}
        assert (await client.get("/label-studio/versions")).json()["versions"] == [
            "fake-bloom generation 2"
        ]
        cats = CONFIG.replace("sports", "chess").replace("low", "lower").replace("High", "higher")
        refused = await client.post("/label-studio/setup", json=setup(cats.replace("topic", "t")))
        sentence = assert_refused(refused, 422, "validation")
        assert sentence.startswith("schema: none is about a task of this model")
        assert "urgency (high, low, medium)" in sentence
        assert (await client.get("/label-studio/health")).json() == {"status": "UP"}


async def test_another_generation_is_another_version(server: Server) -> None:
    """Label Studio asks again about tasks whose prediction is of another version."""
    async with server.client() as client:
        before = (await client.post("/label-studio/setup", json=setup(CONFIG))).json()
        data = soft_prompt(5.0).to_bytes()
        assert (await client.put("/v1/prompts/romance", content=data, headers=ADMIN)).is_success
        after = (await client.post("/label-studio/setup", json=setup(CONFIG))).json()
        told = (await client.post("/label-studio/predict", json=asked("a"))).json()
    assert before != after == {"model_version": "fake-bloom generation 3"}
    assert told["results"][0]["model_version"] == after["model_version"]


@pytest.mark.parametrize("nothing", ["", " \n", None, 5, ["a"], {"words": "a"}])
async def test_a_task_without_words_has_no_prediction_and_costs_no_other_its_own(
    server: Server, nothing: object
) -> None:
    told = (await predict(server, asked(TEXTS[0], nothing, TEXTS[1]))).json()["results"]
    alone = (await predict(server, asked(*TEXTS))).json()["results"]
    assert told == [alone[0], [], alone[1]]
    refused = await predict(server, asked(nothing))
    sentence = assert_refused(refused, 422, "validation")
    assert sentence.startswith("tasks: 1 with no text in text cannot be answered; select 1 to 4096")


async def test_all_that_were_selected_are_predicted_a_requests_worth_at_a_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a" * length for length in range(1, 24)]
    sizes, left_s, real = list[int](), list[float](), Service.ask

    async def ask(self: Service, request: Any, tasks: Any, caller: Any) -> Any:
        sizes.append(len(request.texts))
        left_s.append(caller.timeout_s)
        if len(sizes) == 2:  # a swap in between shows in what comes after it
            self.store.publish({"romance": soft_prompt(4.0)})
            self.live.refresh()
        return await real(self, request, tasks, caller)

    whole = (await predict(server, asked(*texts))).json()["results"]
    with monkeypatch.context() as patch:
        patch.setattr(Service, "ask", ask)
        told = (await predict(server, asked(*texts), max_inputs=10)).json()["results"]
    assert sizes == [10, 10, 3]
    assert left_s[0] > left_s[1] > left_s[2]  # they share the caller's time
    assert [each["result"] for each in told] == [each["result"] for each in whole]
    versions = [each["model_version"].rpartition(" ")[2] for each in told]
    assert versions == ["2"] * 10 + ["3"] * 13
    refused = await predict(server, asked(*texts), max_inputs=1)
    assert "select 1 to 16 whose" in assert_refused(refused, 422, "validation")
    refused = await predict(server, asked(texts[0], *[""] * 16), max_inputs=1)
    assert refused.status_code == 422


async def test_choices_about_several_fields_read_each_its_own(server: Server) -> None:
    config = CONFIG.replace('name="message"', 'name="message"', 1).replace(
        '<Choices name="how" toName="message">',
        '<Text name="body" value="$mail.body"/><Choices name="how" toName="body">',
    )
    body = asked(TEXTS[0], config=config)
    body["tasks"][0]["data"]["mail"] = {"body": TEXTS[1]}
    topic, how = (await predict(server, body)).json()["results"][0]["result"]
    levels = dict(zip(LEVELS, expected(TEXTS[1], URGENCY, *LEVELS), strict=True))
    assert how["to_name"] == "body"
    assert how["score"] == pytest.approx(max(levels.values()), abs=1e-5)
    alone = (await predict(server, asked(TEXTS[0]))).json()["results"][0]["result"][0]
    assert topic == alone


async def test_a_text_that_is_too_long_is_cut(server: Server) -> None:
    told = await predict(server, asked("a" * 5000), max_text_chars=1000)
    assert told.json()["results"][0]["result"]


async def test_training_is_refused_and_other_events_are_heard(server: Server) -> None:
    async with server.client() as client:
        for action in ("ANNOTATION_CREATED", "TASKS_DELETED"):
            event = {"action": action, "project": {"id": 3}, "task": task("a")}
            heard = await client.post("/label-studio/webhook", json=event)
            assert (heard.status_code, heard.json()) == (200, {})
        refused = await client.post("/label-studio/webhook", json={"action": "START_TRAINING"})
        assert "train with `isogloss tailor`" in assert_refused(refused, 422, "validation")


async def test_its_key_is_a_password_for_it_knows_no_other_way(server: Server) -> None:
    keys = ApiKeys(parsed([("1", "labels:alpha")]))
    right = {"authorization": f"Basic {base64.b64encode(b'anybody:alpha').decode()}"}
    async with server.client(keys=keys) as client:
        for headers, status in (({}, 401), (right, 200)):
            asking = [
                await client.get("/label-studio/health", headers=headers),
                await client.post("/label-studio/setup", json=setup(CONFIG), headers=headers),
                await client.post("/label-studio/predict", json=asked("a"), headers=headers),
            ]
            assert [each.status_code for each in asking] == [status] * 3
        page = (await client.get("/metrics")).text
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    counted = [each for each in samples if each.name == "isogloss_key_texts_total"]
    assert [(each.labels["key"], each.value) for each in counted] == [
        ("labels", 2)
    ]  # one text, two tasks


async def test_texts_of_no_task_are_asked_for_all_the_same_way(server: Server) -> None:
    """Its own `/predict` is another's: the prefix keeps them apart."""
    async with server.client() as client:
        other = await client.post("/predict", json=asked("a"))
        assert other.json()["error_type"] == "Validation"
