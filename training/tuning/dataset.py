"""What one prompt learns from: a few labelled texts, or translations that a teacher answers to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial

import torch
from pydantic import JsonValue
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.format.labels import settle_words
from isogloss.prompts.format.verbalizer import LabelToken, verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.labelled import Example
from isogloss.training.data.parallel import ParallelText, Translation, draw_pairs
from isogloss.training.data.shots import SourceData, draw_shots
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.distillation import Teacher


@dataclass(frozen=True, slots=True)
class Dataset:
    """Texts of one run, and the answers wanted to them."""

    labels: tuple[LabelToken, ...]  # what can be answered, with the tokens
    train: tuple[str, ...]  # texts to learn from
    validation: tuple[str, ...]  # texts that choose the best epoch
    # Of each text, those of `train` first: its label, or the sentence that the teacher reads.
    references: tuple[str, ...]
    # What makes another run of the same settings, for the card and for `--resume`.
    identity: dict[str, JsonValue]
    teacher: Teacher | None = None

    def targets(
        self, model: Backbone, max_tokens: int | None, progress: Callable[[int, int], None]
    ) -> Tensor:
        """Answers wanted to `train` and `validation`, as `EncodedExamples` has them.

        Args:
            model: the frozen backbone, with which a teacher reads.
            max_tokens: where the texts are cut.
            progress: told how many of a teacher's sentences are read.
        """
        if self.teacher is not None:
            answers = self.teacher.answers(model, self.references, max_tokens, progress)
            return answers.to(model.device)
        index = {label.label: i for i, label in enumerate(self.labels)}
        return torch.tensor([index[label] for label in self.references], device=model.device)


class Datasets:
    """The datasets of a job's runs; each file is read once.

    Args:
        model: the backbone, whose tokens speak the labels.
        data: of labelled texts: a folder, or a data set on the hub.
    """

    def __init__(self, model: Backbone, data: str) -> None:
        self._model, self._data = model, data
        self._labelled = cache(partial(SourceData.load, data))
        self._teacher = cache(partial(Teacher.load, model))
        self._parallel = cache(_load_parallel)

    def load(self, config: TrainingConfig) -> Dataset:
        """Draw a run's examples.

        Raises:
            NotFound: there is no such teacher.
            InvalidPrompt: the teacher cannot be used.
            InvalidInput: data, labels or parallel text cannot.
        """
        return self._few_shot(config) if config.teacher is None else self._distilled(config)

    def _few_shot(self, config: TrainingConfig) -> Dataset:
        assert config.shots is not None
        assert config.validation is not None
        source = self._labelled(config.sources, config.validation)
        words = settle_words(config.words, source.labels)
        drawn = draw_shots(source, config.shots, config.seed, config.examples)
        examples = (*drawn.train, *drawn.validation)
        return Dataset(
            labels=verbalize(source.labels, self._model.tokenizer, words),
            train=tuple(example.text for example in drawn.train),
            validation=tuple(example.text for example in drawn.validation),
            references=tuple(example.label for example in examples),
            identity={"data": self._data, "examples": _digest(examples)},
        )

    def _distilled(self, config: TrainingConfig) -> Dataset:
        assert config.teacher is not None
        assert config.parallel is not None
        teacher = self._teacher(config.teacher, config.teacher_language)
        _check_teaches(teacher, config)
        text = self._parallel(config.parallel, teacher.language, config.sources)
        drawn = draw_pairs(text, config.pairs, config.seed)
        pairs = (*drawn.train, *drawn.validation)
        return Dataset(
            labels=teacher.prompt.card.labels,
            train=tuple(pair.text for pair in drawn.train),
            validation=tuple(pair.text for pair in drawn.validation),
            references=tuple(pair.original for pair in pairs),
            identity={
                "data": None,
                "examples": _digest(pairs),
                "teacher": teacher.identity,
                "parallel": [{"folder": name, "sentences": count} for name, count in text.folders],
                "sentences": len({pair.original for pair in pairs}),
            },
            teacher=teacher,
        )


def _load_parallel(
    folders: tuple[str, ...], original: str, sources: tuple[str, ...]
) -> ParallelText:
    paths = [expanded(folder, "--parallel") for folder in folders]
    return ParallelText.load(paths, original, sources)


def _check_teaches(teacher: Teacher, config: TrainingConfig) -> None:
    task = teacher.prompt.card.task
    if task != config.task:
        raise InvalidInput(
            f"--teacher {teacher.path}: its task is {task!r}, not {config.task!r}; give --task "
            f"{task}, or choose a teacher of this task"
        )
    if config.sources == (teacher.language,):
        raise InvalidInput(
            f"--source {teacher.language}: that is the language the teacher reads; name the "
            "languages of the new prompt with --source"
        )


def _digest(examples: Sequence[Example] | Sequence[Translation]) -> str:
    """Identity of the very examples: the same settings on changed data are another run."""
    rows = json.dumps([asdict(example) for example in examples])
    return f"sha256:{hashlib.sha256(rows.encode()).hexdigest()}"
