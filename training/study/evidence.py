"""What a study's prompts answer: kept language by language, so that none is ever asked twice.

    OUT/evidence/<backbone>/<language>-<split>-<sentences>.json

A file holds, for every prompt by its digest, the number of the label it gave to each sentence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.articles import articles_of
from isogloss.training.data.labelled import Example, Split, check_labels, load_split
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.evaluate import examples_digest
from isogloss.training.evaluation.scoring import score_prompts
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.outputs import PROMPT_FOLDER


@dataclass(frozen=True, slots=True)
class Questions:
    """The sentences of one language."""

    code: str
    split: Split
    examples: tuple[Example, ...]

    @classmethod
    def load(cls, data: str, code: str, split: Split, labels: Sequence[str]) -> Questions:
        """Read them.

        Raises:
            InvalidData: no such language or split, or a label that the task does not have.
        """
        examples = load_split(data, code, split)
        check_labels(examples, labels, f"{data} {code} {split}")
        return cls(code, split, tuple(examples))

    def file(self, folder: Path, fingerprint: str) -> Path:
        """Where the answers of this backbone's prompts are kept."""
        name = f"{self.code}-{self.split}-{examples_digest(self.examples)}.json"
        return folder / "evidence" / fingerprint.removeprefix("sha256:")[:12] / name


@dataclass(frozen=True, slots=True)
class Answers:
    """What prompts, by digest, answered to the sentences of one file."""

    labels: tuple[str, ...]
    given: dict[str, list[int]]  # digest -> indices into `labels`, sentence by sentence
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Answers | None:
        """Those kept so far; None where there are none.

        Raises:
            InvalidInput: the file is damaged.
        """
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(kept["labels"]), dict(kept["given"]), float(kept["seconds"]))
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{path}: cannot be read ({error}); delete it, and it is made again"
            ) from error

    def write(self, path: Path) -> None:
        """Keep them.

        Raises:
            InvalidInput: the file cannot be written.
        """
        writable_folder(path.parent)
        write_atomically(path, json.dumps(asdict(self)).encode())


@dataclass(frozen=True, slots=True)
class Score:
    """What one prompt got right in one language, between 0 and 1."""

    accuracy: float
    by_article: tuple[float, ...]
    """Its mean is the accuracy. An article that does as well as all gives the accuracy; the more
    sentences it has, the further from it it lies where it does not."""

    @classmethod
    def of(cls, right: Sequence[bool], articles: Sequence[int], count: int) -> Score:
        """Of the article of each sentence, among `count` of them."""
        accuracy = sum(right) / len(right)
        by_article = [accuracy] * count
        for correct, article in zip(right, articles, strict=True):
            by_article[article] += (correct - accuracy) * count / len(right)
        return cls(accuracy, tuple(by_article))


@dataclass(frozen=True, slots=True)
class EvidenceUnit:
    """One language asked of every prompt that has not answered it."""

    questions: Questions
    candidates: tuple[Candidate, ...]
    folder: Path
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """The language's code."""
        return self.questions.code

    def lacking(self, fingerprint: str) -> list[Candidate]:
        """Prompts without answers yet."""
        kept = Answers.read(self.questions.file(self.folder, fingerprint))
        given = kept.given if kept else {}
        return [each for each in self.candidates if each.prompt.digest not in given]

    def run(self, model: Backbone, watcher: Any = None) -> None:
        """Ask, and add the answers to the language's file.

        Raises:
            InvalidPrompt: a prompt is for another backbone.
            InvalidInput: the file cannot be read or written.
        """
        began = time.monotonic()
        path = self.questions.file(self.folder, model.fingerprint)
        asked = self.lacking(model.fingerprint)
        for candidate in asked:
            candidate.prompt.check_fits(model)
        texts = [example.text for example in self.questions.examples]
        scores = score_prompts(model, asked, texts)
        kept = Answers.read(path) or Answers(self.labels, {})
        fresh = {
            candidate.prompt.digest: self._in_our_order(candidate, row.argmax(-1).tolist())
            for candidate, row in zip(asked, scores, strict=True)
        }
        took_s = kept.seconds + time.monotonic() - began
        Answers(self.labels, {**kept.given, **fresh}, round(took_s, 3)).write(path)

    def scores(self, fingerprint: str, articles: Mapping[str, int]) -> dict[str, Score]:
        """What each prompt kept got right, by its digest; `articles` are by `index_id`."""
        kept = Answers.read(self.questions.file(self.folder, fingerprint))
        if kept is None:
            return {}
        gold = [kept.labels.index(example.label) for example in self.questions.examples]
        read = [articles[example.index_id] for example in self.questions.examples]
        count = max(articles.values()) + 1
        return {
            digest: Score.of([a == b for a, b in zip(gold, given, strict=True)], read, count)
            for digest, given in kept.given.items()
        }

    def seconds(self, fingerprint: str) -> float:
        """How long asking took, over all sittings."""
        kept = Answers.read(self.questions.file(self.folder, fingerprint))
        return kept.seconds if kept else 0.0

    def _in_our_order(self, candidate: Candidate, given: Sequence[int]) -> list[int]:
        """Indices into the file's labels, of indices into a prompt's."""
        ours = [self.labels.index(label.label) for label in candidate.prompt.card.labels]
        return [ours[index] for index in given]


@dataclass(frozen=True, slots=True)
class UnfrozenUnit:
    """An unfrozen run asked all languages: it has weights of its own, so it is one unit of work."""

    name: str
    model: Path  # the run's folder
    units: tuple[EvidenceUnit, ...]  # a language each, of its one prompt

    def run(self, model: Backbone, watcher: Any = None) -> str:
        """Load the run's weights beside the worker's model; return their fingerprint.

        Raises: what `EvidenceUnit.run` does.
        """
        dtype = str(model.dtype).removeprefix("torch.")
        trained = Backbone.load(str(self.model), device=model.device.type, dtype=dtype)  # type: ignore[arg-type]
        for unit in self.units:
            if unit.lacking(trained.fingerprint):
                unit.run(trained)
            if watcher is not None:
                watcher.language(self.name, unit.name)
        return trained.fingerprint


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Where a study's prompts and their answers lie."""

    out: Path
    configs: Mapping[str, TrainingConfig]  # of the runs, by name
    questions: tuple[Questions, ...]  # a language each
    labels: tuple[str, ...]

    @property
    def articles(self) -> dict[str, int]:
        """Article of each test sentence by `index_id`, counted from 0."""
        asked = [one for each in self.questions for one in each.examples]
        first = articles_of([one.index_id for one in asked], [one.label for one in asked])
        places = {name: place for place, name in enumerate(dict.fromkeys(first.values()))}
        return {index_id: places[name] for index_id, name in first.items()}

    @property
    def prompts(self) -> Path:
        """Folder of prompt files, and of the unfrozen runs' folders."""
        return self.out / "prompts"

    def prompt(self, name: str) -> SoftPrompt:
        """What a run has trained."""
        folder = self.prompts
        if self.configs[name].unfrozen:
            folder = folder / name / PROMPT_FOLDER
        return SoftPrompt.load(folder / f"{name}.safetensors")

    def fingerprint(self, name: str) -> str:
        """Of the backbone that a run's prompt is for."""
        return self.prompt(name).card.model.fingerprint

    def units(self, names: Sequence[str] = ()) -> list[EvidenceUnit]:
        """A unit of work for each language, of these runs' prompts."""
        candidates = tuple(Candidate(name, self.prompt(name)) for name in names)
        return [EvidenceUnit(each, candidates, self.out, self.labels) for each in self.questions]
