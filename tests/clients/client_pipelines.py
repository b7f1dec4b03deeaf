"""Our own steps of other systems' pipelines, with the real packages, against the shipped model."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx")
isogloss = pytest.importorskip("isogloss")

TRAVEL = "The tourists booked a hotel by the beach and visited the old town."
SPORTS = "L'équipe a gagné le match de football en finale du championnat."
MANY = [TRAVEL, SPORTS] * 150


class Counted(httpx.BaseTransport):  # type: ignore[misc, name-defined]
    """Sends requests, and keeps how many texts each had."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self.texts: list[int] = []

    def handle_request(self, request: Any) -> Any:
        body = httpx.Response(200, content=request.read()).json()["inputs"]
        self.texts.append(1 if isinstance(body, str) else len(body))
        return self._inner.handle_request(request)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def classifier(url: str, counted: Counted) -> Any:
    pytest.importorskip("langchain_core")
    from isogloss.serving.integrations.langchain import IsoglossClassifier

    return IsoglossClassifier(isogloss.Client(url, transport=counted), task="topic")


def test_langchain_classifies_texts_documents_and_messages(classifier: Any) -> None:
    documents, messages = (
        pytest.importorskip("langchain_core.documents"),
        pytest.importorskip("langchain_core.messages"),
    )
    chain = classifier | attrgetter("label")
    assert chain.invoke(SPORTS) == "sports"
    assert chain.invoke(documents.Document(TRAVEL)) == "travel"
    assert chain.invoke(messages.HumanMessage(SPORTS)) == "sports"
    assert classifier.invoke(SPORTS).language.code == "fra_Latn"
    assert len(classifier.bind(top_k=2).invoke(SPORTS).scores) == 2
    with pytest.raises(isogloss.prompts.errors.InvalidInput, match="a dict has no words"):
        chain.invoke({"text": SPORTS})


def test_langchain_asks_for_a_batch_at_once(classifier: Any, counted: Counted) -> None:
    labels = (classifier | attrgetter("label")).batch(MANY)
    assert labels == ["travel", "sports"] * 150
    assert sorted(counted.texts) == [44, 256]
    counted.texts.clear()
    assert asyncio.run((classifier | attrgetter("label")).abatch(MANY)) == labels
    assert sorted(counted.texts) == [44, 256]


def test_langchain_keeps_errors_in_their_place_and_traces_each_text(classifier: Any) -> None:
    tracers = pytest.importorskip("langchain_core.callbacks")

    class Seen(tracers.BaseCallbackHandler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.ended: list[Any] = []
            self.failed: list[BaseException] = []

        def on_chain_end(self, outputs: Any, **_: Any) -> None:
            self.ended.append(outputs)

        def on_chain_error(self, error: BaseException, **_: Any) -> None:
            self.failed.append(error)

    seen = Seen()
    config = {"callbacks": [seen]}
    first, empty, last = classifier.batch([TRAVEL, " ", SPORTS], config, return_exceptions=True)
    assert (first.label, last.label) == ("travel", "sports")
    assert str(empty) == "inputs[1]: the text is empty; send at least one word"
    assert ([each.label for each in seen.ended], seen.failed) == (["travel", "sports"], [empty])
    with pytest.raises(isogloss.prompts.errors.InvalidInput, match=r"inputs\[1\]"):
        classifier.batch([TRAVEL, " "])


@pytest.fixture
def nlp(url: str) -> Any:
    """A pipeline that spaCy makes knowing the component by its entry point alone."""
    made = pytest.importorskip("spacy").blank("xx")
    made.add_pipe("isogloss", config={"url": url, "task": "topic"})
    return made


def test_spacy_sets_cats_and_the_rest_of_the_answer(nlp: Any) -> None:
    doc = nlp(SPORTS)
    assert max(doc.cats, key=lambda label: doc.cats[label]) == "sports"
    assert sum(doc.cats.values()) == pytest.approx(1, abs=1e-4)
    assert doc._.isogloss["label"] == "sports"
    assert doc._.isogloss["language"]["code"] == "fra_Latn"
    assert doc._.isogloss["prompt"]["name"]
    assert nlp(" ").cats == {}


def test_spacy_asks_for_many_documents_at_once(
    nlp: Any, counted: Counted, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = nlp.get_pipe("isogloss")
    monkeypatch.setattr(component, "_client", lambda: isogloss.Client(url, transport=counted))
    docs = list(nlp.pipe([" ", *MANY], batch_size=1000))
    assert sorted(counted.texts) == [44, 256]
    assert docs[0].cats == {}
    assert [doc._.isogloss["label"] for doc in docs[1:]] == ["travel", "sports"] * 150


def test_spacy_finds_it_in_a_pipeline_on_disk_and_in_other_processes(
    nlp: Any, tmp_path: Path
) -> None:
    spacy = pytest.importorskip("spacy")
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    nlp(TRAVEL)  # a connection that children must not share
    for each in (again, nlp):
        docs = list(each.pipe([TRAVEL, SPORTS] * 4, n_process=2, batch_size=2))
        assert [doc._.isogloss["label"] for doc in docs] == ["travel", "sports"] * 4


def test_spacy_hands_errors_to_the_pipelines_handler(url: str) -> None:
    nlp = pytest.importorskip("spacy").blank("xx")
    nlp.add_pipe("isogloss", config={"url": url, "task": "moods"})
    with pytest.raises(isogloss.prompts.errors.NotFound, match="moods"):
        nlp(TRAVEL)
    with pytest.raises(isogloss.prompts.errors.NotFound, match="moods"):
        list(nlp.pipe([TRAVEL]))
    failed: list[str] = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append(docs[0].text))
    assert list(nlp.pipe([TRAVEL, SPORTS])) == []
    assert failed == [TRAVEL, SPORTS]
