"""What a study is, and which runs its parts need: every run once, whatever parts share it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.labelled import Split
from isogloss.training.study.results import PARTS
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.texts import CacheBudget

LENGTHS = (1, 2, 5, 10, 20, 30)
"""Section 5.1."""
SHOTS = (4, 8, 16, 32)
"""The paper shows Figure 3 without naming its numbers; 32 is the most of which k/4 validation
examples are there for SIB-200's rarest label."""
SEEDS = (0, 1, 2, 3)
"""Section 3.2: four seeds."""


@dataclass(frozen=True, slots=True)
class StudyChoices:
    """What a person chose; None leaves a setting to the paper, per model."""

    parts: tuple[str, ...] = tuple(PARTS)
    source: str = "eng_Latn"
    seeds: tuple[int, ...] = SEEDS
    shots: int = 8
    shot_counts: tuple[int, ...] = SHOTS
    length: int | None = None
    lengths: tuple[int, ...] = LENGTHS
    with_unfrozen: bool = True
    epochs: int = 20
    learning_rate: float | None = None
    unfrozen_learning_rate: float | None = None
    more: dict[str, Any] = field(default_factory=dict)  # further settings of every run


@dataclass(frozen=True, slots=True)
class Study:
    """What to run, on what, and where to put it."""

    data: str
    out: Path
    choices: StudyChoices = field(default_factory=StudyChoices)
    languages: str = "all"
    split: Split = "test"
    population: int = 16
    cache: CacheBudget = field(default_factory=CacheBudget)
    uriel: Path | None = None


def study_configs(model: Backbone, choices: StudyChoices) -> dict[str, TrainingConfig]:
    """Every run of the study by its name: the base first, unfrozen ones last.

    Raises:
        InvalidInput: a setting outside its range, naming it.
    """
    configs: dict[str, TrainingConfig] = {}
    for values in _frozen(model, choices):
        _add(configs, configure(model, {**_common(choices), **values}))
    if choices.with_unfrozen and _needs(choices, "table4", "figure2", "table1", "section4"):
        rate = choices.unfrozen_learning_rate
        for seed in choices.seeds:
            values = {"seed": seed, "unfrozen": True, "learning_rate": rate}
            _add(configs, configure(model, {**_common(choices), **values}))
    return configs


def base_length(model: Backbone, choices: StudyChoices) -> int:
    """Prompt tokens of every run that does not vary them."""
    return configure(model, _common(choices)).length


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """Known parts, in the report's order; all of them where none is named.

    Raises:
        InvalidInput: names the unknown part and the known ones.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise InvalidInput(f"--only {unknown[0]!r}: no such part; there are {', '.join(PARTS)}")
    return tuple(part for part in PARTS if not parts or part in parts)


def _frozen(model: Backbone, choices: StudyChoices) -> Iterator[dict[str, Any]]:
    """Settings of the frozen runs; every part compares with the base."""
    rate = choices.learning_rate
    longest = model.max_prompt_length
    for seed in choices.seeds:
        yield {"seed": seed, "learning_rate": rate}
        if _needs(choices, "figure3"):
            for shots in choices.shot_counts:
                yield {"seed": seed, "learning_rate": rate, "shots": shots}
        if _needs(choices, "figure4"):
            for length in choices.lengths:
                if length <= longest:
                    yield {"seed": seed, "learning_rate": rate, "length": length}
        if _needs(choices, "figure5"):
            yield {"seed": seed, "learning_rate": rate, "reparameterization": "residual"}


def _common(choices: StudyChoices) -> dict[str, Any]:
    return {
        "sources": (choices.source,),
        "shots": choices.shots,
        "length": choices.length,
        "epochs": choices.epochs,
        "validation": "dev",
        **choices.more,
    }


def _needs(choices: StudyChoices, *parts: str) -> bool:
    wanted: Collection[str] = choices.parts
    return any(part in wanted for part in parts)


def _add(configs: dict[str, TrainingConfig], config: TrainingConfig) -> None:
    """A name says all that differs between the runs of any study of one model and task."""
    setting = "unfrozen" if config.unfrozen else config.kind
    name = f"{setting}-{config.shots}shot-length{config.length}-seed{config.seed}"
    configs.setdefault(name, config)
