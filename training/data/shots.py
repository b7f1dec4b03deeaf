"""Which examples a few-shot run sees: k a class to train on, k/4 a class to choose by.

Paper, Appendix A.3: "we fine-tune on k samples per class from the English train set and use k/4
samples per class for validation". Where the validation samples come from is left open: here from
the source language's dev split ("dev chooses"), or with `validation="train"` from the rest of its
train split. The test split is never read.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from isogloss.prompts.errors import InvalidData
from isogloss.training.data.labelled import Example, check_labels, labels_of, load_split

Shots = int | Literal["all"]
ValidationSource = Literal["dev", "train"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Examples of one run: what is learnt from, what chooses the checkpoint, and the labels."""

    labels: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class SourceData:
    """Train and dev splits of the source languages, by code."""

    train: dict[str, list[Example]]
    dev: dict[str, list[Example]]
    labels: tuple[str, ...]

    @classmethod
    def load(cls, source: str, codes: Sequence[str], validation: ValidationSource) -> SourceData:
        """Read what training may see; the dev split only where validation comes from it.

        Raises:
            InvalidData: a split cannot be read, or a label of one language or split is not among
                the labels of the source languages' train splits.
        """
        train = {code: load_split(source, code, "train") for code in codes}
        dev = {code: load_split(source, code, "dev") for code in codes if validation == "dev"}
        labels = labels_of(example for examples in train.values() for example in examples)
        for code, examples in dev.items():
            check_labels(examples, labels, f"{source} {code} dev")
        return cls(train, dev, labels)


def sample(data: SourceData, shots: Shots, seed: int) -> Sample:
    """Draw a run's examples: per source language and label, the same ones for the same seed.

    `shots="all"` takes both splits whole.

    Raises:
        InvalidData: a label has fewer examples than wanted, or "all" leaves none to validate on.
    """
    if shots == "all":
        return _everything(data)
    train = [
        example
        for code, examples in data.train.items()
        for example in _draw(examples, data.labels, shots, f"{seed} {code} train", f"{code} train")
    ]
    # Parallel sources share sentences: what one language trains on, none may validate on.
    taken = {example.index_id for example in train}
    validation = [
        example
        for code in data.train
        for example in _validation(data, code, taken, max(1, shots // 4), seed)
    ]
    return Sample(data.labels, tuple(train), tuple(validation))


def _validation(
    data: SourceData, code: str, taken: Collection[str], wanted: int, seed: int
) -> list[Example]:
    key = f"{seed} {code} validation"
    if code in data.dev:
        return _draw(data.dev[code], data.labels, wanted, key, f"{code} dev")
    rest = [example for example in data.train[code] if example.index_id not in taken]
    return _draw(rest, data.labels, wanted, key, f"{code} train, beyond the shots")


def _everything(data: SourceData) -> Sample:
    if not data.dev:
        raise InvalidData("--shots all uses the whole train split; validate on dev instead")
    train = [example for examples in data.train.values() for example in examples]
    dev = [example for examples in data.dev.values() for example in examples]
    return Sample(data.labels, tuple(train), tuple(dev))


def _draw(
    examples: Sequence[Example], labels: Collection[str], wanted: int, key: str, where: str
) -> list[Example]:
    """`wanted` examples of each label; the seed's text makes draws independent of one another."""
    drawn = []
    for label in sorted(labels):
        of_label = [example for example in examples if example.label == label]
        if len(of_label) < wanted:
            raise InvalidData(
                f"{where}: label {label!r} has {len(of_label)} examples and {wanted} are wanted; "
                "lower --shots or add examples"
            )
        drawn += random.Random(f"{key} {label}").sample(of_label, wanted)
    return drawn
