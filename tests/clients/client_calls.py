"""Each client, unedited but for its URL, asks the shipped model about texts whose topic is plain.

Packages that are not installed are skipped by name.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

MODEL = "pocket-bloom"
TRAVEL = "The tourists booked a hotel by the beach and visited the old town."
SPORTS = "L'équipe a gagné le match de football en finale du championnat."
LABELS = [
    "entertainment", "geography", "health", "politics", "science/technology", "sports", "travel",
]  # fmt: skip
CHOICE = {
    "type": "choice",
    "name": "topic",
    "instructions": "What is it about?",
    "choices": [{"value": label} for label in LABELS],
}


def best(scores: dict[str, float]) -> str:
    return max(scores, key=lambda label: scores[label])


@pytest.fixture
def openai_client(url: str) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def test_openai_decisions(openai_client: Any) -> None:
    decision = openai_client.decisions.create(
        model=MODEL,
        input=TRAVEL,
        questions=[
            CHOICE,
            {"type": "predicate", "name": "travel", "instructions": "Is it about travel?"},
            {"type": "predicate", "name": "cats", "instructions": "Is it about cats?"},
        ],
    )
    choice, predicate, refusal = decision.answers
    assert (choice.choice, refusal.type) == ("travel", "refusal")
    assert sum(each.probability for each in choice.probabilities) == pytest.approx(1)
    assert predicate.probability == pytest.approx(max(p.probability for p in choice.probabilities))
    assert decision.usage.total_tokens > 5


def test_openai_reads_the_error(openai_client: Any) -> None:
    openai = pytest.importorskip("openai")
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.decisions.create(model=MODEL, input=" ", questions=[CHOICE])
    assert refused.value.param == "input[0]"
    with pytest.raises(openai.NotFoundError, match="'gpt-6' is not served here"):
        openai_client.decisions.create(model="gpt-6", input=TRAVEL, questions=[CHOICE])


def test_openai_models(openai_client: Any) -> None:
    assert MODEL in [each.id for each in openai_client.models.list()]
    assert openai_client.models.retrieve(MODEL).owned_by == "isogloss"


def test_openai_moderations(openai_client: Any) -> None:
    (result,) = openai_client.moderations.create(model=MODEL, input=SPORTS).results
    assert result.flagged
    assert best(result.category_scores.model_dump(exclude_none=True)) == "sports"


def test_litellm_decisions(url: str) -> None:
    litellm = pytest.importorskip("litellm")
    told = litellm.decisions(
        model=f"openai/{MODEL}",
        input=TRAVEL,
        questions=[CHOICE],
        api_base=f"{url}/v1",
        api_key="none",
    )
    assert told.answers[0].choice == "travel"


def test_langchain_decisions(url: str) -> None:
    decisions = pytest.importorskip("langchain_openai.decisions")
    runnable = decisions.OpenAIDecisions(model=MODEL, base_url=f"{url}/v1", api_key="none")
    topic = decisions.Choice(instructions="What is it about?", choices=dict.fromkeys(LABELS))
    cats = decisions.Predicate(instructions="Is it about cats?")
    told = runnable.invoke({"input": TRAVEL, "questions": {"topic": topic, "cats": cats}})
    assert told.choices["topic"].choice == "travel"
    assert set(told.refusals) == {"cats"}


def test_typesafe_system_one(url: str) -> None:
    typesafe = pytest.importorskip("typesafe_sdk")
    with typesafe.TypeSafeClient(api_key="none", base_url=url, model=MODEL) as client:
        told = client.system_one(
            state={"text": TRAVEL},
            questions={
                "topic": typesafe.Choice(criteria=dict.fromkeys(LABELS)),
                "travel": typesafe.Noul(instructions="Is it about travel?"),
            },
        )
        assert told.choices["topic"].choice == "travel"
        assert told.nouls["travel"].noul > 1 / 7
        assert MODEL in [each.name for each in client.models.list().models]


def test_haystack_routes_by_label(url: str) -> None:
    routers = pytest.importorskip("haystack_integrations.components.routers.typesafe")
    secret = pytest.importorskip("haystack.utils").Secret.from_token("none")
    router = routers.TypeSafeTextRouter(
        labels=LABELS, model=MODEL, api_key=secret, api_base_url=url
    )
    assert router.run(text=TRAVEL) == {"travel": TRAVEL}


def test_hugging_face_text_classification(url: str) -> None:
    hub = pytest.importorskip("huggingface_hub")
    found = hub.InferenceClient(model=url).text_classification(SPORTS, top_k=2)
    assert [each.label for each in found][:1] == ["sports"]
    assert len(found) == 2


def test_triton_in_bytes_and_packed(url: str) -> None:
    http = pytest.importorskip("tritonclient.http")
    np = pytest.importorskip("numpy")
    client = http.InferenceServerClient(url.partition("//")[2])
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.get_model_metadata(MODEL)["inputs"][0]["name"] == "text"
    texts = http.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(np.array([TRAVEL, SPORTS], dtype=object))
    for packing in (None, "gzip", "deflate"):
        told = client.infer(MODEL, [texts], request_compression_algorithm=packing)
        assert [each.decode() for each in told.as_numpy("label")] == ["travel", "sports"]
        assert told.as_numpy("probabilities").sum(1) == pytest.approx(1, abs=1e-4)
    with pytest.raises(Exception, match="'nobody' is not served here"):
        client.infer("nobody", [texts])


def test_kserve_v1_and_v2(url: str) -> None:
    kserve = pytest.importorskip("kserve")

    async def ask() -> None:
        one = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1"))
        told = await one.infer(url, {"instances": [SPORTS]}, model_name=MODEL)
        assert best(told["predictions"][0]) == "sports"
        two = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        text = kserve.InferInput("text", [1], "BYTES", data=[TRAVEL])
        asked = kserve.InferRequest(MODEL, [text], request_id="7")
        answered = await two.infer(url, asked, model_name=MODEL)
        assert answered.outputs[0].data[0] in ("travel", b"travel")
        assert await two.is_server_ready(url)

    asyncio.run(ask())


@pytest.mark.parametrize("engine", ["vllm", "kserve"])
def test_nemo_guardrails_classifier(url: str, engine: str) -> None:
    backends = pytest.importorskip("nemoguardrails.library.hf_classifier.backends")
    config = pytest.importorskip("nemoguardrails.rails.llm.config")
    about = config.RemoteHFClassifierConfig(
        engine=engine, model=MODEL, base_url=url, blocked_labels=["politics"]
    )
    backend = {"vllm": backends.VLLMBackend, "kserve": backends.KServeBackend}[engine](about)

    async def ask() -> Any:
        try:
            return await backend.classify(SPORTS)
        finally:
            await backend.close()

    found = asyncio.run(ask())
    assert best({each["label"]: each["score"] for each in found}) == "sports"
