"""What a finished study knows: its runs, and which of them belong to which part of the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import JsonValue

Setting = Literal["frozen", "full"]  # with and without model freezing, in the paper's words
SETTINGS: tuple[Setting, ...] = ("frozen", "full")
SETTING_COLOURS: Mapping[Setting, str] = {"frozen": "#0072B2", "full": "#D55E00"}
SETTING_NAMES: Mapping[Setting, str] = {
    "frozen": "model frozen",
    "full": "all weights trained",
}

PARTS: dict[str, str] = {
    "figure2": "Figure 2: mean transfer with and without model freezing",
    "table4": "Table 4: every language with and without model freezing",
    "figure3": "Figure 3: more examples per label",
    "figure4": "Figure 4: prompt length",
    "figure5": "Figure 5: reparameterization per language",
    "table1": "Table 1: transfer and the distance between languages",
    "section4": "Section 4: what a prompt costs",
}
_NEEDS = {
    "table4": "needs runs with the usual shots and length",
    "figure2": "needs runs with the usual shots and length",
    "figure3": "needs frozen runs with at least two numbers of examples",
    "figure4": "needs frozen runs of at least two lengths",
    "figure5": "needs plain and reparameterized runs with the usual shots and length",
    "table1": "needs runs with the usual shots and length, on several languages",
    "section4": "needs frozen runs with the usual shots and length",
}


Variant = Literal["default", "as published"]
VARIANTS: Mapping[Variant, str] = {
    "default": "trained by this project's defaults",
    "as published": "trained as the paper's released code does",
}


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One prompt, trained with one seed and evaluated on every language."""

    name: str
    seed: int
    shots: int  # examples per label
    length: int  # prompt tokens
    kind: Literal["plain", "residual"]
    unfrozen: bool
    digest: str
    dev_accuracy: float | None  # between 0 and 1, at the best epoch
    best_epoch: int
    epochs: int
    train_seconds: float  # its share, where it trained beside others
    trained_parameters: int
    prompt_bytes: int  # of what must be stored: the prompt's file; unfrozen: weights and prompt
    accuracy: Mapping[str, float]  # language code -> test accuracy between 0 and 1
    by_article: Mapping[str, Sequence[float]]  # language code -> accuracy, spread over articles

    @property
    def setting(self) -> Setting:
        """The paper's word: was the model frozen, or were all its weights trained?"""
        return "full" if self.unfrozen else "frozen"

    @property
    def mean_accuracy(self) -> float:
        """Accuracy over languages, each counting the same."""
        return fmean(self.accuracy[code] for code in sorted(self.accuracy))


@dataclass(frozen=True, slots=True)
class PlainStep:
    """How long a step takes where a prompt trains alone, on text that is read anew."""

    prompt_s: float  # the model frozen
    weights_s: float  # all weights trained with it


@dataclass(frozen=True)
class StudyResults:
    """Every run of one study, with what it takes to read them."""

    model: str
    architecture: str
    hidden_size: int
    paper_model: str | None  # the paper's own name for the model ("bloom-560m"), if one of its four
    data: str
    source: str  # language code of the training examples
    split: str
    parts: tuple[str, ...]  # what was asked for: table1, table4, figure2, ..., section4
    shots: int  # of every run that does not vary them
    length: int  # likewise
    runs: tuple[StudyRun, ...]
    model_parameters: int
    model_bytes: int
    settings: Mapping[str, JsonValue]  # of every run: learning rates, epochs, batch size, ...
    versions: Mapping[str, str]
    hardware: str
    seconds: Mapping[str, float]  # stage -> seconds
    created_at: datetime
    variant: Variant
    plain_steps: Mapping[int, PlainStep]  # by seed, where both settings were run
    uriel: Path | None = None  # a copy of URIEL's distance file
    majority_share: float | None = None  # of the split's largest label: what guessing gets

    def __post_init__(self) -> None:
        """Refuse runs that cannot stand side by side in one table."""
        if not self.runs:
            raise ValueError("a study without runs has no results")
        if len({run.name for run in self.runs}) < len(self.runs):
            raise ValueError("two runs of the study have the same name")
        if any(set(run.accuracy) != set(self.languages) for run in self.runs):
            raise ValueError("the study's runs were evaluated on different languages")

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that every run was evaluated on, in alphabetical order."""
        return tuple(sorted(self.runs[0].accuracy))

    @property
    def short_model(self) -> str:
        """The model's name without the owner of its hub id or the way to its folder."""
        return Path(self.model).name or self.model

    def base(self, setting: Setting) -> tuple[StudyRun, ...]:
        """Table 4's runs of one setting: plain, with the usual shots and length."""
        return tuple(run for run in self._usual("plain", setting) if self._is_usual(run))

    def residual(self) -> tuple[StudyRun, ...]:
        """Figure 5's reparameterized runs, which `base("frozen")` is compared with."""
        return tuple(run for run in self._usual("residual", "frozen") if self._is_usual(run))

    def by_shots(self) -> dict[int, tuple[StudyRun, ...]]:
        """Figure 3's runs, by examples per label."""
        usual = [r for r in self._usual("plain", "frozen") if r.length == self.length]
        return _grouped((run.shots, run) for run in usual)

    def by_length(self) -> dict[int, tuple[StudyRun, ...]]:
        """Figure 4's runs, by prompt length."""
        usual = [r for r in self._usual("plain", "frozen") if r.shots == self.shots]
        return _grouped((run.length, run) for run in usual)

    def _usual(self, kind: str, setting: Setting) -> list[StudyRun]:
        chosen = [run for run in self.runs if run.kind == kind and run.setting == setting]
        return sorted(chosen, key=lambda run: (run.seed, run.name))

    def _is_usual(self, run: StudyRun) -> bool:
        return run.shots == self.shots and run.length == self.length


def _grouped(pairs: Iterable[tuple[int, StudyRun]]) -> dict[int, tuple[StudyRun, ...]]:
    groups: dict[int, tuple[StudyRun, ...]] = {}
    for value, run in sorted(pairs, key=lambda pair: pair[0]):
        groups[value] = (*groups.get(value, ()), run)
    return groups


def absent_parts(results: StudyResults) -> dict[str, str]:
    """Parts without a table or figure, with the reason; never an empty plot instead."""
    frozen, full = results.base("frozen"), results.base("full")
    there = {
        "table4": bool(frozen or full),
        "figure2": bool(frozen or full),
        "figure3": len(results.by_shots()) > 1,
        "figure4": len(results.by_length()) > 1,
        "figure5": bool(frozen and results.residual()),
        "table1": bool(frozen or full),
        "section4": bool(frozen),
    }
    reasons = {}
    for part in PARTS:
        if part not in results.parts:
            reasons[part] = "was not asked for"
        elif not there[part]:
            reasons[part] = _NEEDS[part]
    return reasons
