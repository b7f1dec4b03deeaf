"""The steps for one model, in order. A step is one `isogloss` command and what it waits for.

Some words of a command are known only when earlier steps are done: where a step's files lie
(`Output`), which prompt was best (`Best`), which prompts are worth a look at the test split
(`Shortlist`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.training.recipes.ship.settings import ENGLISH, Settings

PAPER = "english-8"
"""The grid whose plain prompts, of all seeds, are judged on test: the paper's own setting."""

ALSO_SHIPPED = (PAPER, "english-all", "diverse")
"""Grids whose best plain and best residual prompt ship under a short name, routed or not."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file in a step's folder, or the folder."""

    step: str
    file: str = ""

    def __str__(self) -> str:
        return f"<{self.step}>/{self.file}".removesuffix("/")


@dataclass(frozen=True, slots=True)
class Best:
    """A `prefix` (such as "prompt:") and the file of a grid's prompt with the best dev accuracy.

    The mean over all languages decides, or one language's where it is given.
    """

    grid: str
    evaluation: str
    language: str | None = None
    prefix: str = ""

    def __str__(self) -> str:
        where = f" on {self.language}" if self.language else ""
        return f"{self.prefix}<best of {self.grid}{where}>"


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Files of the prompts that the routes choose, of the paper's own setting, and of short names.

    The test split is read under these alone: candidates that lost on dev are not evaluated again.
    """

    grids: tuple[str, ...]
    evaluation: str
    routes: str

    def __str__(self) -> str:
        return f"<{self.routes}'s prompts, {PAPER} plain, best of {', '.join(ALSO_SHIPPED)}>"


Word = str | Output | Best | Shortlist


@dataclass(frozen=True, slots=True)
class Step:
    """One command. `grids` are the steps before it that train."""

    name: str
    command: tuple[Word, ...]
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(["isogloss", *(_quoted(word) for word in self.command)])


def _quoted(word: Word) -> str:
    return shlex.quote(word) if isinstance(word, str) else str(word)


def short_name(model: str) -> str:
    """What begins the names of a model's prompts: "bloom" for pocket-bloom."""
    return Path(model).name.lower().removeprefix("pocket-")


@dataclass(frozen=True, slots=True)
class Plan:
    """Makes the steps for one model."""

    model: str
    data: Path
    parallel: tuple[Path, ...]
    settings: Settings

    def steps(self) -> tuple[Step, ...]:
        """All steps, each after those that it needs."""
        sources = tuple(self._sources())
        first = tuple(step.name for step in sources)
        dev_sources = self._evaluate("dev-sources", "dev", [Output(name) for name in first], first)
        clades = tuple(self._clades(dev_sources.name, first))
        second = tuple(step.name for step in clades)
        dev_clades = self._evaluate("dev-clades", "dev", [Output(name) for name in second], second)
        dev = [dev_sources.name, *([dev_clades.name] if second else [])]
        evidence: list[Word] = [Output(name, "predictions.csv") for name in dev]
        routes = self._routes(evidence, (*first, *second), dev)
        shortlist = Shortlist((*first, *second), dev_sources.name, routes.name)
        test = self._evaluate("test", "test", [shortlist], (*first, *second, *dev, routes.name))
        return (
            *sources,
            dev_sources,
            *clades,
            *([dev_clades] if second else []),
            routes,
            test,
            *_told(evidence, (*dev, routes.name, test.name)),
        )

    def _routes(self, evidence: Sequence[Word], grids: tuple[str, ...], dev: Sequence[str]) -> Step:
        read: tuple[Word, ...] = ("--evaluations", *evidence)
        made: tuple[Word, ...] = ("--prompts", *map(Output, grids))
        into: tuple[Word, ...] = ("--store", Output("routes", "store"))
        more = ("--note", f"chosen for {self.model}", *shlex.split(self.settings.route))
        return Step("routes", ("route", *read, *made, *into, *more), (*grids, *dev))

    def _sources(self) -> Iterator[Step]:
        """(a) and (b)."""
        settings = self.settings
        english = (ENGLISH,)
        for name, sources, options in (
            (PAPER, english, settings.english_8),
            ("english-all", english, settings.english_all),
            ("diverse", settings.diverse_sources, settings.diverse),
        ):
            if options:
                yield self._train(name, sources, options, self._labels())

    def _clades(self, dev: str, first: tuple[str, ...]) -> Iterator[Step]:
        """(c) and (d), where there is a prompt to start from or to learn from."""
        settings, needs = self.settings, (*first, dev)
        labelled, teacher = self._labels(), self._teacher(dev)
        tuned = (*labelled, "--init", Best("diverse", dev, prefix="prompt:"))
        for name, codes in settings.clades.items():
            if settings.clade_scratch:
                yield self._train(name, codes, settings.clade_scratch, labelled)
            if settings.clade_tuned and settings.diverse:
                yield self._train(f"{name}-tuned", codes, settings.clade_tuned, tuned, needs)
            if settings.clade_taught and settings.english_all:
                yield self._train(f"{name}-taught", codes, settings.clade_taught, teacher, needs)
        if settings.everywhere_taught and settings.english_all:
            codes, options = settings.everywhere, settings.everywhere_taught
            yield self._train("everywhere-taught", codes, options, teacher, needs)

    def _labels(self) -> tuple[Word, ...]:
        return ("--data", str(self.data))

    def _teacher(self, dev: str) -> tuple[Word, ...]:
        """The best English prompt, whose answers are also where the student starts."""
        teacher, start = (Best("english-all", dev, ENGLISH, prefix) for prefix in ("", "prompt:"))
        folders = (str(folder) for folder in (self.data, *self.parallel))
        return ("--teacher", teacher, "--parallel", *folders, "--init", start)

    def _train(
        self,
        name: str,
        sources: Sequence[str],
        options: str,
        more: tuple[Word, ...],
        needs: tuple[str, ...] = (),
    ) -> Step:
        called = f"{short_name(self.model)}-{name}"
        files: tuple[Word, ...] = ("--name", called, "--out", Output(name), "--resume")
        learns = ("--model", self.model, "--source", ",".join(sources), *more)
        return Step(name, ("train", *learns, *shlex.split(options), *files), needs)

    def _evaluate(
        self, name: str, split: str, prompts: Sequence[Word], needs: tuple[str, ...]
    ) -> Step:
        where = ("--model", self.model, "--data", str(self.data), "--split", split)
        asked = ("--languages", self.settings.languages, "--scores", "--prompts", *prompts)
        out = ("--out", Output(name, "predictions.csv"))
        return Step(name, ("evaluate", *where, *asked, *out), needs)


def _told(evidence: Sequence[Word], needs: tuple[str, ...]) -> tuple[Step, ...]:
    """What is fitted on dev after the routes, and what they come to on test."""
    store, test = Output("routes", "store"), Output("test", "predictions.csv")
    return (
        Step(
            "calibration",
            (
                *("calibrate", "--evaluations", *evidence, "--report", test),
                *("--store", store, "--out", Output("calibration")),
            ),
            needs,
        ),
        Step(
            "gains",
            ("gains", "--evaluations", test, "--store", store, "--out", Output("gains")),
            (*needs, "calibration"),
        ),
    )
