"""Measure detectors on the same texts, one after the other, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isogloss.prompts.languages.languages import languages
from isogloss.prompts.languages.sib200 import PAPER_52
from isogloss.serving.detection.detection import Detector
from isogloss.serving.detection.evaluation.scores import (
    CLAIMS,
    Answered,
    LanguageScore,
    Reliability,
    Score,
    by_language,
    confusion,
    overall,
    reliability,
)
from isogloss.serving.detection.evaluation.texts import Kind, Texts

BATCH = 32
_TIMED = 20  # sentences of each of the 52 languages
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One detector on one kind of text in one set of languages."""

    kind: Kind
    languages: str
    score: Score
    reliability: tuple[Reliability, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is measured of one detector; times in microseconds of processor per text."""

    detector: str
    version: str
    parts: tuple[Part, ...]
    by_language: Mapping[Kind, Sequence[LanguageScore]]
    answers: Mapping[Kind, Sequence[Answered]]  # of the 52 languages
    confusion: Mapping[Kind, Mapping[tuple[str, str], int]]  # among them: (true, detected) clade
    batch_us: float
    single_us: float


def measure(name: str, version: str, detector: Detector, texts: Mapping[Kind, Texts]) -> Measured:
    """Measure one detector on all texts."""
    answers = {kind: _answers(detector, of_kind) for kind, of_kind in texts.items()}
    paper = {
        kind: [answer for answer in given if answer.example.code in PAPER_52]
        for kind, given in answers.items()
    }
    sentences = texts["sentences"]
    spoken = [code for code in PAPER_52 if code in sentences] or list(sentences)
    mixed = [example.text for code in spoken for example in sentences[code][:_TIMED]]
    mixed = [text for at in range(_TIMED) for text in mixed[at::_TIMED]]  # as requests come
    return Measured(
        detector=name,
        version=version,
        parts=tuple(part for kind in texts for part in _parts(kind, paper[kind], answers[kind])),
        by_language={kind: by_language(given) for kind, given in answers.items()},
        answers=paper,
        confusion={kind: confusion(given) for kind, given in paper.items()},
        batch_us=_microseconds(detector, mixed, BATCH),
        single_us=_microseconds(detector, mixed, 1),
    )


def _answers(detector: Detector, texts: Texts) -> list[Answered]:
    known = languages()
    return [
        Answered(example, detection)
        for code, examples in texts.items()
        if code in known
        for example, detection in zip(
            examples, detector.detect([example.text for example in examples]), strict=True
        )
    ]


def _parts(kind: Kind, paper: Sequence[Answered], every: Sequence[Answered]) -> list[Part]:
    """Score the 52 languages, the same without mislabelled texts, and all languages there are."""
    sound = [answer for answer in paper if not answer.example.mislabelled]
    sets = {"the 52": paper}
    if len(sound) < len(paper):
        sets["the 52, less mislabelled"] = sound
    sets["all"] = every
    return [
        Part(
            kind,
            name,
            overall(by_language(answers)),
            tuple(reliability(answers, claim) for claim in CLAIMS),
        )
        for name, answers in sets.items()
        if answers
    ]


def _microseconds(detector: Detector, texts: Sequence[str], batch: int) -> float:
    """Return the best of a few rounds, since others may be using the machine."""
    rounds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for at in range(0, len(texts), batch):
            detector.detect(texts[at : at + batch])
        rounds.append(time.process_time() - start)
    return min(rounds) / len(texts) * 1e6
