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
from isogloss.prompts.format.problem import split_labels
from isogloss.prompts.format.verbalizer import NONE, Verbalizer, verbalize, verbalize_none
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.labelled import Example
from isogloss.training.data.parallel import ParallelText, Translation, draw_pairs
from isogloss.training.data.shots import SourceData, draw_shots
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.distillation import Teacher
from isogloss.training.tuning.published import PUBLISHED_WORDS


@dataclass(frozen=True, slots=True)
class Dataset:
    """Texts of one run, and the answers wanted to them."""

    verbalizer: Verbalizer  # what can be answered, with the tokens
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
        index = {label.label: i for i, label in enumerate(self.verbalizer.labels)}
        if self.verbalizer.independent:
            wanted = torch.zeros(len(self.references), len(index))
            for row, cell in enumerate(self.references):
                wanted[row, [index[label] for label in split_labels(cell)]] = 1.0
            return wanted.to(model.device)
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
        source = self._labelled(config.sources, config.validation, config.problem, config.levels)
        drawn = draw_shots(source, config.shots, config.seed, config.examples)
        examples = (*drawn.train, *drawn.validation)
        return Dataset(
            verbalizer=self._verbalizer(config, source.labels),
            train=tuple(example.text for example in drawn.train),
            validation=tuple(example.text for example in drawn.validation),
            references=tuple(example.label for example in examples),
            identity={"data": self._data, "examples": _digest(examples)},
        )

    def _verbalizer(self, config: TrainingConfig, names: Sequence[str]) -> Verbalizer:
        tokenizer = self._model.tokenizer
        labels = verbalize(names, tokenizer, _words(config, names))
        none = None
        if config.problem == "multi_label":
            none = verbalize_none(labels, tokenizer, config.none_word or NONE)
        return Verbalizer(labels, config.problem, none)

    def _distilled(self, config: TrainingConfig) -> Dataset:
        assert config.teacher is not None
        assert config.parallel is not None
        teacher = self._teacher(config.teacher, config.teacher_language)
        _check_teaches(teacher, config)
        text = self._parallel(config.parallel, teacher.language, config.sources)
        drawn = draw_pairs(text, config.pairs, config.seed)
        pairs = (*drawn.train, *drawn.validation)
        return Dataset(
            verbalizer=teacher.prompt.card.verbalizer,
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


def _words(config: TrainingConfig, labels: Sequence[str]) -> dict[str, str]:
    """The words of labels that are not spoken as their own first one; those given win."""
    published = PUBLISHED_WORDS if config.verbalizer == "published" else {}
    known = {label: word for label, word in published.items() if label in labels}
    return known | settle_words(config.words, labels)


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
