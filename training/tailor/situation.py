"""What there is to tailor with: languages, labels, splits and parallel text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.problem import Problem
from isogloss.training.data.clades import lineages_of, name_of
from isogloss.training.data.labelled import (
    Example,
    Split,
    check_labels,
    has_split,
    labels_in,
    labels_of,
    load_split,
)
from isogloss.training.data.parallel import ParallelText, languages_of_folder

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone

ENGLISH = "eng_Latn"


@dataclass(frozen=True, slots=True)
class Tongue:
    """What there is of one language."""

    code: str
    lineage: tuple[str, ...]
    known: float | None  # what the model read of it, as a share of its best-fed language
    hardly_known: bool  # whether that is next to nothing
    labels: Mapping[str, int]  # train examples of each label; one may have several
    dev: int  # examples
    test: int
    translated: frozenset[int] = frozenset()  # sentences of parallel text that it has
    examples: int | None = None  # to learn from; None: one for each label counted

    @property
    def name(self) -> str:
        """In English."""
        return name_of(self.code)

    @property
    def train(self) -> int:
        """Labelled examples to learn from."""
        return sum(self.labels.values()) if self.examples is None else self.examples


@dataclass(frozen=True, slots=True)
class Situation:
    """All of it. `tongues` are the languages asked for, and those with labels to learn from."""

    labels: tuple[str, ...]
    tongues: Mapping[str, Tongue]
    first: str  # the language that stands for English in the paper
    asked: tuple[str, ...]  # languages that routes are for
    parallel: tuple[str, ...]  # folders
    samples: tuple[str, ...]  # some dev texts of all languages: what a step costs depends on them

    @property
    def labelled(self) -> tuple[str, ...]:
        """Languages with examples to learn from."""
        return tuple(code for code, tongue in self.tongues.items() if tongue.labels)

    @property
    def evaluated(self) -> tuple[str, ...]:
        """Languages that routes are for and that dev can judge."""
        return tuple(code for code in self.asked if self.tongues[code].dev)

    @property
    def tested(self) -> tuple[str, ...]:
        """Evaluated languages with a test split."""
        return tuple(code for code in self.evaluated if self.tongues[code].test)

    def fewest(self, codes: Sequence[str]) -> int:
        """Examples of the rarest label over these languages together; 0: one is missing."""
        counts: Counter[str] = Counter()
        for code in codes:
            counts.update(self.tongues[code].labels)
        return min(counts[label] for label in self.labels)


def survey(
    model: Backbone,
    data: str,
    asked: Sequence[str],
    parallel: Sequence[Path],
    present: set[str],
    problem: Problem = "single_label",
    levels: tuple[str, ...] | None = None,
) -> Situation:
    """Read every split once, and refuse data that no command could use, before anything runs.

    Args:
        model: what it was pretrained on decides which of two languages is the better source.
        data: as `--data`.
        asked: languages that routes are for; labels in them are learned from, and in English.
        parallel: folders of parallel text.
        present: all languages the data has; where none of those has labels, any of these teaches.
        problem: what kind of answer is wanted.
        levels: of an ordered task, the lowest first.

    Raises:
        InvalidData: no language has a train or a dev split, labels do not agree, or a split or a
            folder cannot be read.
    """
    english = {ENGLISH} & present
    train = _train(data, {*asked, *english}, problem) or _train(data, present, problem)
    if not train:
        raise InvalidData(
            f"--data {data}: no language has a train split to learn from; label some texts and put "
            "them in <code>/train.tsv"
        )
    everything = (example for examples in train.values() for example in examples)
    labels = labels_of(everything, problem, levels)
    codes = sorted({*train, *asked})
    dev = {code: _checked(data, code, "dev", labels, problem) for code in asked}
    test = {code: _checked(data, code, "test", labels, problem) for code in asked}
    if not any(dev.values()):
        raise InvalidData(
            f"--data {data}: none of the languages has a dev split, and only labels that no prompt "
            "has learned from can choose between prompts; put half of some train.tsv in dev.tsv"
        )
    known, lineages = known_shares(model), lineages_of(codes)
    first = _first(train, known)
    translated = _translated(parallel, first, codes)
    tongues = {
        code: Tongue(
            code,
            lineages[code],
            known.get(code, 0.0) if known else None,
            model.pretraining is not None and model.pretraining.hardly_knows(code),
            Counter(n for example in train.get(code, ()) for n in labels_in(example, problem)),
            len(dev.get(code, ())),
            len(test.get(code, ())),
            translated.get(code, frozenset()),
            len(train.get(code, ())),
        )
        for code in codes
    }
    samples = tuple(example.text for examples in dev.values() for example in examples[:8])
    return Situation(labels, tongues, first, tuple(asked), tuple(map(str, parallel)), samples)


def _first(train: Mapping[str, Sequence[Example]], known: Mapping[str, float]) -> str:
    """English, as in the paper; where it has no labels, the language with the most."""
    return min(train, key=lambda c: (c != ENGLISH, -len(train[c]), -known.get(c, 0.0), c))


def _translated(
    folders: Sequence[Path], first: str, codes: Sequence[str]
) -> dict[str, frozenset[int]]:
    """Numbers of the sentences that each language has beside the first one."""
    had = {code for folder in folders for code in languages_of_folder(folder)}
    others = [code for code in codes if code in had and code != first]
    if first not in had or not others:
        return {}
    sentences = ParallelText.load(folders, first, others).sentences
    found: dict[str, set[int]] = {first: set(range(len(sentences)))}
    for number, sentence in enumerate(sorted(sentences)):
        for translation in sentences[sentence]:
            found.setdefault(translation.code, set()).add(number)
    return {code: frozenset(numbers) for code, numbers in found.items()}


def _train(data: str, codes: Collection[str], problem: Problem) -> dict[str, list[Example]]:
    """Examples of each language that has some."""
    split = {code: _split(data, code, "train", problem) for code in sorted(codes)}
    return {code: examples for code, examples in split.items() if examples}


def _split(data: str, code: str, split: Split, problem: Problem) -> list[Example]:
    return load_split(data, code, split, problem) if has_split(data, code, split) else []


def _checked(
    data: str, code: str, split: Split, labels: Sequence[str], problem: Problem
) -> list[Example]:
    examples = _split(data, code, split, problem)
    check_labels(examples, labels, f"{data} {code} {split}", problem)
    return examples


def known_shares(model: Backbone) -> Mapping[str, float]:
    """How much the model read of each language, as a share of its best-fed one's text."""
    return {} if model.pretraining is None else model.pretraining.shares
