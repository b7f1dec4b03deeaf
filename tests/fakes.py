"""A model without weights, whose scores are a known function of the text and of the prompt.

The hidden state that a text of T tokens leaves under a prompt is (T, sum of the prompt), so every
answer tells which text and which prompt it was made of: order and routing are asserted exactly.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx
import torch
from pydantic import SecretStr
from torch import Tensor

from isogloss.prompts.format.soft_prompt import ModelRef, PromptCard, SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken
from isogloss.prompts.languages.languages import language
from isogloss.prompts.languages.pretraining import Pretraining
from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.http import build_api
from isogloss.serving.config import ServingSettings
from isogloss.serving.detection.detectors import Detection
from isogloss.serving.http.keys import ApiKeys
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.registry import rehearsal
from isogloss.serving.registry.replicas import Board, LocalBoard, Reporter

HIDDEN_SIZE = 2
TOPICS = ("sports", "travel", "politics")
MODEL = "fake-bloom"
OVERFLOWING = 60_000.0
"""A prompt of this sum passes its rehearsal, and makes the numbers overflow ever after."""
WILD = 50_000.0
"""One of this sum makes them overflow from the first."""


class FakeTokenizer:
    """One token a character; ids are code points modulo the vocabulary."""

    def encode(
        self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
    ) -> list[TokenizedText]:
        before, behind = around
        room = max_tokens - len(before) - len(behind)
        return [
            TokenizedText(
                tuple(
                    ord(letter) % FakeBackbone.vocab_size
                    for letter in f"{before}{text[:room]}{behind}"
                ),
                len(text) > room,
            )
            for text in texts
        ]


class FakeBackbone:
    """Stands in for `prompts.model.backbone.Backbone` in serving."""

    hidden_size = HIDDEN_SIZE
    vocab_size = 1000
    max_text_tokens = 400
    max_prompt_length = 50
    revision = None
    architecture: Literal["bloom"] = "bloom"
    device = torch.device("cpu")
    dtype = torch.float32
    linear_dtype = torch.float32
    pretraining = Pretraining("made up", {"eng_Latn": 1.0, "fra_Latn": 0.25})

    def __init__(self, model_id: str = MODEL) -> None:
        self.model_id = model_id
        self.fingerprint = f"sha256:{model_id}"
        self.tokenizer = FakeTokenizer()
        self.batches: list[list[int]] = []  # tokens of each text, batch by batch
        self.pairs: list[list[int]] = []  # prompts of each text, batch by batch
        self.rehearsed: list[float] = []  # sums of the prompts that were tried
        self.failure: Exception | None = None
        self.gate = threading.Event()  # closed by a test that wants batches to wait
        self.gate.set()
        self.entered = threading.Event()  # a batch has come as far as the gate

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        if is_rehearsal(texts):  # before prompts go live: no batch of anybody's
            self.rehearsed += [float(each.sum()) for each in prompts[0]]
            return _overflowing(_states(texts, prompts), prompts, WILD)
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append([len(text) for text in texts])
        self.pairs.append([len(own) for own in prompts])
        if self.failure is not None:
            raise self.failure
        return _overflowing(_states(texts, prompts), prompts, WILD, OVERFLOWING)

    def read_prefixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        return -_states(texts, prompts)

    def label_rows(self, token_ids: Sequence[int], none_id: int | None = None) -> Tensor:
        rows = torch.tensor([[0.001 * token, 0.1 * token] for token in token_ids])
        return rows if none_id is None else rows - self.label_rows([none_id])


def is_rehearsal(texts: Sequence[Sequence[int]]) -> bool:
    """Whether these are the texts that prompts are tried with before they go live."""
    return [*map(tuple, texts)] == rehearsal.texts(FakeBackbone.vocab_size)


def _overflowing(states: Tensor, prompts: Sequence[Sequence[Tensor]], *sums: float) -> Tensor:
    """What prompts of these sums do to whatever is read under them."""
    wild = torch.tensor([float(each.sum()) in sums for own in prompts for each in own])
    return states.masked_fill(wild[:, None], float("inf"))


def _states(texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack(
        [
            torch.tensor([float(len(text)), float(prompt.sum())])
            for text, own in zip(texts, prompts, strict=True)
            for prompt in own
        ]
    )


def expected_scores(text: str, prompt: SoftPrompt, temperature: float = 1.0) -> dict[str, float]:
    """What FakeBackbone must answer for a text under a prompt: label -> probability."""
    sign = 1.0 if prompt.card.position == "suffix" else -1.0
    around = len((prompt.card.template or "{text}").replace("{text}", ""))
    tokens = min(len(text) + around, FakeBackbone.max_text_tokens)
    state = sign * torch.tensor([float(tokens), float(prompt.vectors.sum())])
    verbalizer = prompt.card.verbalizer
    logits = FakeBackbone().label_rows(verbalizer.token_ids, verbalizer.none_id) @ state
    scaled = logits / temperature
    probabilities = (scaled.sigmoid() if verbalizer.independent else scaled.softmax(-1)).tolist()
    names = [label.label for label in prompt.card.labels]
    return dict(zip(names, probabilities, strict=True))


class FakeDetector:
    """A text's language is the code it begins with, as in "fra_Latn: bonjour"; else English.

    "fra_Latn 0.6 swh_Latn 0.4: bo" leaves it uncertain.
    """

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        return [_detection(text) for text in texts]

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        return [dict(each.candidates or [_only(each)]) for each in self.detect(texts)]


def _only(detection: Detection) -> tuple[str, float]:
    return detection.language.code, detection.confidence


def _detection(text: str) -> Detection:
    words = text.partition(":")[0].split()
    if len(words) > 1 and _is_code(words[0]):
        candidates = tuple(zip(words[::2], map(float, words[1::2]), strict=True))
        known = words[0] != "und"
        return Detection(language(words[0]), candidates[0][1] if known else 0.0, candidates)
    code = words[0] if words and _is_code(words[0]) else "eng_Latn"
    return Detection(language(code), 0.75)


def _is_code(word: str) -> bool:
    return word == "und" or (len(word) == 8 and word[3] == "_")


def soft_prompt(
    value: float,
    *,
    model: str = MODEL,
    task: str = "topic",
    labels: Sequence[str] = TOPICS,
    length: int = 2,
    position: Literal["suffix", "prefix"] = "suffix",
    template: str | None = None,
) -> SoftPrompt:
    """A prompt for a FakeBackbone whose vectors sum to `value`."""
    vectors = torch.zeros(length, HIDDEN_SIZE)
    vectors[0, 0] = value
    card = PromptCard(
        model=ModelRef(id=model, fingerprint=f"sha256:{model}"),
        position=position,
        template=template,
        kind="plain",
        task=task,
        labels=tuple(
            LabelToken(label=label, word=label, token=f" {label}", token_id=10 * (place + 1))
            for place, label in enumerate(labels)
        ),
        training={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return SoftPrompt(card=card, vectors=vectors)


def route_table(
    universal: str,
    clades: Mapping[str, str] | None = None,
    *,
    model: str = MODEL,
    task: str = "topic",
    temperatures: Mapping[str, float] | None = None,
) -> RouteTable:
    """Routes for a FakeBackbone."""
    return RouteTable(
        model=ModelRef(id=model, fingerprint=f"sha256:{model}"),
        task=task,
        universal=universal,
        clades=dict(clades or {}),
        temperatures=dict(temperatures or {}),
    )


def fake_store(folder: Path) -> PromptStore:
    """A store with three prompts: everywhere (1.0), for Romance (2.0), for Atlantic-Congo (3.0)."""
    store = PromptStore.open(folder, create=True)
    store.publish(
        {
            "everywhere": soft_prompt(1.0),
            "romance": soft_prompt(2.0, length=5),
            "congo": soft_prompt(3.0),
        },
        [route_table("everywhere", {"Romance": "romance", "Atlantic-Congo": "congo"})],
    )
    return store


def fake_settings(store: Path, **changes: object) -> ServingSettings:
    """Settings of a server that runs FakeBackbone on a store; its speed is not measured."""
    given = {"models": (MODEL,), "store": store, "budget_tokens": 4096, **changes}
    return ServingSettings.model_validate(given)


@contextlib.asynccontextmanager
async def http_client(
    classifier: Classifier,
    store: PromptStore,
    settings: ServingSettings,
    token: str | None = None,
    board: Board | None = None,
    keys: ApiKeys | None = None,
    others: Mapping[str, Classifier] | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the HTTP routes over a classifier in this process, as one replica has them.

    `others` are those of more models, by name.
    """
    reporter = Reporter(
        replica="replica-1",
        model=settings.default_model,
        live=classifier.registry,
        metrics=classifier.metrics,
        board=board or LocalBoard(),
    )
    reporter.poll()
    service = Service(classifier, others or {}, store, reporter, settings)
    api = build_api(service, Admin(service, SecretStr(token) if token else None), keys)
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    for each in (classifier, *(others or {}).values()):
        each.close()


def fake_classifier(settings: ServingSettings, model: str | None = None) -> Classifier:
    """A classifier without weights; importable, so that a replica can build one too."""
    return build_classifier(
        settings,
        model,
        backbone=lambda name, _: FakeBackbone(name),
        detector=lambda _: FakeDetector(),
    )
