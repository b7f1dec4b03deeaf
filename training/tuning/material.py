"""What a run learns from: a sample of labelled texts, or translations and a teacher's answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from pydantic import JsonValue

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.format.labels import settle_words
from isogloss.prompts.format.verbalizer import LabelToken, verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.parallel import ParallelText, TaughtSample, draw_pairs
from isogloss.training.data.shots import Sample, SourceData, ValidationSource, sample
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.teacher import Teacher
from isogloss.training.tuning.texts import HasText, LabelledRows, Rows, TaughtRows, gold_of

Watch = Callable[[int, int], None]


class Material(Protocol):
    """Texts to learn from, texts to choose the best epoch by, and the answers wanted to both."""

    @property
    def labels(self) -> tuple[LabelToken, ...]:
        """What can be answered, with the tokens."""

    @property
    def train(self) -> Sequence[HasText]:
        """Learnt from."""

    @property
    def validation(self) -> Sequence[HasText]:
        """Chosen by."""

    @property
    def identity(self) -> dict[str, JsonValue]:
        """What makes another run of the same settings, for the card and for `--resume`."""

    def split(self, rows: Sequence[int], model: Backbone, watch: Watch) -> tuple[Rows, Rows]:
        """Answers to the texts under these rows: `train`'s first, then `validation`'s."""


@dataclass(frozen=True, slots=True)
class LabelledMaterial:
    """Texts with labels."""

    data: str
    labels: tuple[LabelToken, ...]
    examples: Sample

    @property
    def train(self) -> Sequence[HasText]:
        """Learnt from."""
        return self.examples.train

    @property
    def validation(self) -> Sequence[HasText]:
        """Chosen by."""
        return self.examples.validation

    @property
    def identity(self) -> dict[str, JsonValue]:
        """The data's name and a hash of the very examples."""
        rows = [asdict(one) for one in (*self.examples.train, *self.examples.validation)]
        return {"data": self.data, "examples": _digest(rows)}

    def split(self, rows: Sequence[int], model: Backbone, watch: Watch) -> tuple[Rows, Rows]:
        """Rows with their labels."""
        names = [label.label for label in self.labels]
        train, validation = self.examples.train, self.examples.validation
        return (
            LabelledRows(tuple(rows[: len(train)]), gold_of(train, names, model.device)),
            LabelledRows(tuple(rows[len(train) :]), gold_of(validation, names, model.device)),
        )


@dataclass(frozen=True, slots=True)
class TaughtMaterial:
    """Translations of sentences that a teacher answers to."""

    teacher: Teacher
    pairs: TaughtSample
    folders: tuple[tuple[str, int], ...]  # of the parallel text, and their numbers of sentences
    max_text_tokens: int | None

    @property
    def labels(self) -> tuple[LabelToken, ...]:
        """The teacher's."""
        return self.teacher.labels

    @property
    def train(self) -> Sequence[HasText]:
        """Learnt from."""
        return self.pairs.train

    @property
    def validation(self) -> Sequence[HasText]:
        """Chosen by."""
        return self.pairs.validation

    @property
    def identity(self) -> dict[str, JsonValue]:
        """The teacher, the parallel text, and a hash of the very translations."""
        rows = [asdict(one) for one in (*self.pairs.train, *self.pairs.validation)]
        return {
            "data": None,
            "examples": _digest(rows),
            "teacher": self.teacher.identity,
            "parallel": [{"folder": name, "sentences": count} for name, count in self.folders],
            "sentences": self.pairs.sentences,
        }

    def split(self, rows: Sequence[int], model: Backbone, watch: Watch) -> tuple[Rows, Rows]:
        """Rows with the teacher's answers to their originals."""
        originals = [one.original for one in (*self.pairs.train, *self.pairs.validation)]
        answers = self.teacher.answers(originals, self.max_text_tokens, watch).to(model.device)
        count = len(self.pairs.train)
        return (
            TaughtRows(tuple(rows[:count]), answers[:count]),
            TaughtRows(tuple(rows[count:]), answers[count:]),
        )


class Materials:
    """What the runs of a job learn from; each file is read once."""

    def __init__(self, model: Backbone, data: str) -> None:
        self._model, self._data = model, data
        self._sources: dict[tuple[tuple[str, ...], ValidationSource], SourceData] = {}
        self._labels: dict[tuple[str, ...], tuple[LabelToken, ...]] = {}
        self._teachers: dict[tuple[str, str | None], Teacher] = {}
        self._parallel: dict[tuple[tuple[str, ...], str, tuple[str, ...]], ParallelText] = {}

    def of(self, config: TrainingConfig) -> Material:
        """A run's own.

        Raises:
            NotFound: there is no such teacher.
            InvalidPrompt: the teacher cannot be used.
            InvalidInput: data, labels or parallel text cannot.
        """
        return self._labelled(config) if config.teacher is None else self._taught(config)

    def _labelled(self, config: TrainingConfig) -> LabelledMaterial:
        assert config.shots is not None
        assert config.validation is not None
        key = (config.sources, config.validation)
        if key not in self._sources:
            self._sources[key] = SourceData.load(self._data, *key)
        source = self._sources[key]
        if source.labels not in self._labels:
            words = settle_words(config.words, source.labels)
            self._labels[source.labels] = verbalize(source.labels, self._model.tokenizer, words)
        examples = sample(source, config.shots, config.seed)
        return LabelledMaterial(self._data, self._labels[source.labels], examples)

    def _taught(self, config: TrainingConfig) -> TaughtMaterial:
        assert config.teacher is not None
        assert config.parallel is not None
        named = (config.teacher, config.teacher_language)
        if named not in self._teachers:
            self._teachers[named] = Teacher(self._model, *named)
        teacher = self._teachers[named]
        if teacher.task != config.task:
            raise InvalidInput(
                f"--teacher {config.teacher}: its task is {teacher.task!r}, not {config.task!r}; "
                f"give --task {teacher.task}, or choose a teacher of this task"
            )
        if config.sources == (teacher.language,):
            raise InvalidInput(
                f"--source {teacher.language}: that is the language the teacher reads; name the "
                "languages of the new prompt with --source"
            )
        key = (config.parallel, teacher.language, config.sources)
        if key not in self._parallel:
            folders = [expanded(folder, "--parallel") for folder in config.parallel]
            self._parallel[key] = ParallelText.load(folders, *key[1:])
        text = self._parallel[key]
        pairs = draw_pairs(text, config.pairs, config.seed)
        return TaughtMaterial(teacher, pairs, text.folders, config.max_text_tokens)


def _digest(rows: list[dict[str, str]]) -> str:
    """Identity of the very examples: the same settings on changed data are another run."""
    return f"sha256:{hashlib.sha256(json.dumps(rows).encode()).hexdigest()}"
