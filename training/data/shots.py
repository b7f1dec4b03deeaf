"""Which examples a few-shot run sees: k a class to train on, k/4 a class to choose by.

Paper, Appendix A.3: "we fine-tune on k samples per class from the English train set and use k/4
samples per class for validation". Where the validation samples come from is left open: here from
the rest of the source language's train split, for dev is what chooses among prompts and is not to
have chosen their checkpoints, too; or with `validation="dev"` from there. The test split is never
read. What validates is of other articles than what trains, where there are enough.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.problem import Problem
from isogloss.training.data.articles import articles_of
from isogloss.training.data.labelled import (
    Example,
    check_labels,
    labels_in,
    labels_of,
    load_split,
)

T = TypeVar("T")
Shots = int | Literal["all"]
ValidationSource = Literal["dev", "train"]
HELD_OUT_SHARE = 0.1
"""Of each label's sentences; what chooses the checkpoint where all of train is used."""


@dataclass(frozen=True, slots=True)
class Sample(Generic[T]):
    """Examples of one run: what is learnt from, and what chooses the checkpoint."""

    train: tuple[T, ...]
    validation: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class SourceData:
    """Train and dev splits of the source languages, by code."""

    train: dict[str, list[Example]]
    dev: dict[str, list[Example]]
    labels: tuple[str, ...]
    problem: Problem = "single_label"

    @classmethod
    def load(
        cls,
        source: str,
        codes: Sequence[str],
        validation: ValidationSource,
        problem: Problem = "single_label",
        levels: tuple[str, ...] | None = None,
    ) -> SourceData:
        """Read what training may see; the dev split only where validation comes from it.

        Args:
            source: of labelled texts.
            codes: of the source languages.
            validation: where the texts come from that choose the checkpoint.
            problem: what kind of answer is learnt.
            levels: of an ordered task, the lowest first.

        Raises:
            InvalidData: a split cannot be read, or a label of one language or split is not among
                the labels of the source languages' train splits.
        """
        validating = codes if validation == "dev" else ()
        train = {code: load_split(source, code, "train", problem) for code in codes}
        dev = {code: load_split(source, code, "dev", problem) for code in validating}
        everything = (example for examples in train.values() for example in examples)
        labels = labels_of(everything, problem, levels)
        for code, examples in dev.items():
            check_labels(examples, labels, f"{source} {code} dev", problem)
        return cls(train, dev, labels, problem)

    def with_label(self, examples: Iterable[Example], label: str) -> list[Example]:
        """Those that have a label, perhaps among others; "" are those without any."""
        if not label:
            return [each for each in examples if not each.label]
        return [each for each in examples if label in labels_in(each, self.problem)]


def draw_shots(
    data: SourceData, shots: Shots, seed: int, examples: int | None = None
) -> Sample[Example]:
    """Draw a run's examples: per source language and label, the same ones for the same seed.

    Where texts may have several labels each label gets at least so many, the rare ones first, and
    "none of them" as many where there are any: they need no draw of their own to be learnt.

    `shots="all"` takes both splits whole; without a dev split, a tenth of the train split's
    sentences validates, with their translations and the rest of their articles.

    Args:
        data: of the source languages.
        shots: examples of each label and language.
        seed: of the run.
        examples: with "all", how many of all languages' to train on, spread over them evenly.

    Raises:
        InvalidData: a label has fewer examples than wanted, or "all" leaves none to validate on.
    """
    if shots == "all":
        return _everything(data, seed, examples)
    train = [
        example
        for code, own in data.train.items()
        for example in _draw(own, data, shots, f"{seed} {code} train", f"{code} train")
    ]
    # Parallel sources share sentences: what one language trains on, none may validate on.
    article = _articles(data)
    taken = {example.index_id for example in train}
    validation = [
        example
        for code in data.train
        for example in _validation(data, code, article, taken, max(1, shots // 4), seed)
    ]
    return Sample(tuple(train), tuple(validation))


def _validation(
    data: SourceData,
    code: str,
    article: Mapping[str, str],
    taken: Collection[str],
    wanted: int,
    seed: int,
) -> list[Example]:
    key = f"{seed} {code} validation"
    if code in data.dev:
        return _draw(data.dev[code], data, wanted, key, f"{code} dev")
    rest = [each for each in data.train[code] if each.index_id not in taken]
    articles = {article[name] for name in taken}
    chosen = dict.fromkeys(
        each
        for label in (*data.labels, "")
        for each in _apart(data.with_label(rest, label), article, articles, wanted)
    )
    where = f"{code} train, beyond the shots (or validate on --validation dev)"
    if data.problem == "multi_label" and chosen:
        # The texts of a label may all have been drawn for their other labels.
        return _draw_several(_by_label(list(chosen), data), wanted, key)
    return _draw(list(chosen), data, wanted, key, where)


def _apart(
    rest: Sequence[Example], article: Mapping[str, str], taken: Collection[str], wanted: int
) -> Sequence[Example]:
    """Those of other articles than are taken, where they are enough."""
    apart = [each for each in rest if article[each.index_id] not in taken]
    return apart if len(apart) >= wanted else rest


def _everything(data: SourceData, seed: int, examples: int | None) -> Sample[Example]:
    held_out = set() if data.dev else _held_out(data, seed)
    train = {
        code: [each for each in own if each.index_id not in held_out]
        for code, own in data.train.items()
    }
    validating = data.dev or data.train
    validation = [
        each for own in validating.values() for each in own if data.dev or each.index_id in held_out
    ]
    if examples is not None:
        train = _spread(train, examples, seed)
    return Sample(tuple(each for own in train.values() for each in own), tuple(validation))


def _held_out(data: SourceData, seed: int) -> set[str]:
    """Ids of a tenth of each label's sentences, whole articles of them; one article at least stays.

    Raises:
        InvalidData: no label has a second article.
    """
    article = _articles(data)
    by_label: dict[str, dict[str, list[str]]] = {label: {} for label in data.labels}
    for name, label in _labels(data).items():  # of several labels, by all of them together
        by_label.setdefault(label, {}).setdefault(article[name], []).append(name)
    held_out: set[str] = set()
    for label, articles in by_label.items():
        names = sorted(articles)
        random.Random(f"{seed} held out {label}").shuffle(names)
        wanted = HELD_OUT_SHARE * sum(map(len, articles.values()))
        taken = 0
        for name in names[1:]:
            if taken >= wanted:
                break
            held_out.update(articles[name])
            taken += len(articles[name])
    if not held_out:
        raise InvalidData(
            "--shots all: no label has enough examples in train to hold one out; add examples, or "
            "validate on dev with --validation dev"
        )
    return held_out


def _spread(
    train: Mapping[str, Sequence[Example]], examples: int, seed: int
) -> dict[str, list[Example]]:
    """So many examples, of each language as many, in the order they came.

    Raises:
        InvalidData: there are not as many.
    """
    drawn = {}
    for place, (code, own) in enumerate(train.items()):
        wanted = examples // len(train) + (place < examples % len(train))
        if wanted > len(own):
            raise InvalidData(
                f"--examples {examples}: {code} would have to give {wanted}, and has {len(own)} to "
                "train on; lower it or add source languages"
            )
        luck = random.Random(f"{seed} {code} examples")
        drawn[code] = [own[index] for index in sorted(luck.sample(range(len(own)), wanted))]
    return drawn


def _labels(data: SourceData) -> dict[str, str]:
    """Label of every train sentence by id; translations share both."""
    return {each.index_id: each.label for own in data.train.values() for each in own}


def _articles(data: SourceData) -> dict[str, str]:
    labels = _labels(data)
    return articles_of(list(labels), list(labels.values()))


def _draw(
    examples: Sequence[Example], data: SourceData, wanted: int, key: str, where: str
) -> list[Example]:
    """`wanted` examples of each label; the seed's text makes draws independent of one another."""
    of_labels = _by_label(examples, data)
    for label, own in of_labels.items():
        if label and len(own) < wanted:
            raise InvalidData(
                f"{where}: label {label!r} has {len(own)} examples and {wanted} are wanted; "
                "lower --shots or add examples"
            )
    if data.problem == "multi_label":
        return _draw_several(of_labels, wanted, key)
    return [
        example
        for label, own in of_labels.items()
        for example in random.Random(f"{key} {label}").sample(own, wanted)
    ]


def _by_label(examples: Sequence[Example], data: SourceData) -> dict[str, list[Example]]:
    """Examples of each label, perhaps among others; where that may be, "" are those of none."""
    none = ("",) if data.problem == "multi_label" else ()
    return {label: data.with_label(examples, label) for label in (*none, *sorted(data.labels))}


def _draw_several(
    of_labels: Mapping[str, Sequence[Example]], wanted: int, key: str
) -> list[Example]:
    """Until every label has `wanted` examples, counting those that another label drew."""
    drawn: dict[Example, None] = {}
    for label in sorted(of_labels, key=lambda label: (len(of_labels[label]), label)):
        own = of_labels[label]
        lacking = wanted - sum(example in drawn for example in own)
        rest = [example for example in own if example not in drawn]
        chosen = random.Random(f"{key} {label}").sample(rest, min(max(lacking, 0), len(rest)))
        drawn.update(dict.fromkeys(chosen))
    return list(drawn)
