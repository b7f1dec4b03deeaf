"""The steps for one model, in order. A step is one `isogloss` command and what it waits for.

Some words of a command are known only when earlier steps are done: where a step's files lie
(`Output`), which prompt was best (`Best`), which prompts are worth a look at the test split
(`Shortlist`).
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.training.recipes.ship.settings import ENGLISH, Settings

PAPER = "english-8"
"""The grid whose plain prompts, of all seeds, are judged on test: the paper's own setting."""

PAPER_MORE = "english-8-more"
"""Further seeds of its longer plain prompts."""

_CALLED = {PAPER_MORE: f"{PAPER}-plain-length16"}
"""Steps whose prompts are named as another's."""

_JUDGED = (PAPER_MORE, "english-8-together", "diverse", "diverse-together")
"""Read on test whole: what answers together, and what clades' prompts start from."""

ALSO_SHIPPED = (PAPER, "english-all", "diverse")
"""Grids whose best plain and best residual prompt ship under a short name, routed or not."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file in a step's folder, or the folder; after a `prefix`, such as "prompt:"."""

    step: str
    file: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        return self.prefix + f"<{self.step}>/{self.file}".removesuffix("/")


@dataclass(frozen=True, slots=True)
class Files:
    """The prompt files of a step whose names match."""

    step: str
    pattern: str

    def __str__(self) -> str:
        return f"<{self.step}>/{self.pattern}"


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
class BestSingle:
    """The name of the prompt that is best on dev of all that answer alone, in all languages."""

    evaluations: tuple[str, ...]
    grids: tuple[str, ...]

    def __str__(self) -> str:
        return "<best single prompt on dev>"


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Files of the prompts that the routes choose, of the paper's own setting, and of short names.

    And those of the steps that are `judged` whole: what the controls are, and what is told of
    prompts that answer together. The test split is read under these alone: candidates that lost on
    dev are not evaluated again.
    """

    grids: tuple[str, ...]
    evaluation: str
    routes: str
    judged: tuple[str, ...] = ()

    def __str__(self) -> str:
        best = f"{PAPER} plain, best of {', '.join(ALSO_SHIPPED)}"
        return f"<{self.routes}'s prompts, {best}, all of {', '.join(self.judged)}>"


Word = str | Output | Files | Best | BestSingle | Shortlist


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
        tailored = tuple(self._tailored(first))
        clades = (*tailored, *self._taught(dev_sources.name, first))
        second = tuple(step.name for step in clades)
        dev_clades = self._evaluate("dev-clades", "dev", [Output(name) for name in second], second)
        dev = [dev_sources.name, *([dev_clades.name] if second else [])]
        evidence: list[Word] = [Output(name, "predictions.csv") for name in dev]
        routes = self._routes(evidence, (*first, *second), dev)
        judged = (*(n for n in first if n in _JUDGED), *(step.name for step in tailored))
        shortlist = Shortlist((*first, *second), dev_sources.name, routes.name, judged)
        test = self._evaluate("test", "test", [shortlist], (*first, *second, *dev, routes.name))
        told = (*dev, routes.name, test.name)
        return (
            *sources,
            dev_sources,
            *clades,
            *([dev_clades] if second else []),
            routes,
            test,
            *self._told(evidence, told, judged, BestSingle(tuple(dev), (*first, *second))),
        )

    def _routes(self, evidence: Sequence[Word], grids: tuple[str, ...], dev: Sequence[str]) -> Step:
        read: tuple[Word, ...] = ("--evaluations", *evidence)
        made: tuple[Word, ...] = ("--prompts", *map(Output, grids))
        into: tuple[Word, ...] = ("--store", Output("routes", "store"))
        more = ("--note", f"chosen for {self.model}", *shlex.split(self.settings.route))
        return Step("routes", ("route", *read, *made, *into, *more), (*grids, *dev))

    def _sources(self) -> Iterator[Step]:
        """(a) and (b), and what answers together of them."""
        settings = self.settings
        english = (ENGLISH,)
        trained = []
        for name, sources, options in (
            (PAPER, english, settings.english_8),
            (PAPER_MORE, english, settings.english_8_more),
            ("english-all", english, settings.english_all),
            ("diverse", settings.diverse_sources, settings.diverse),
        ):
            if options:
                trained.append(name)
                yield self._train(name, sources, options, self._labels())
        for name, (grid, pattern) in settings.together.items():
            if grid in trained:
                yield self._combine(name, grid, pattern)

    def _tailored(self, first: tuple[str, ...]) -> Iterator[Step]:
        """(c): each clade's own prompts, and the controls that were trained as long."""
        settings = self.settings
        if not (settings.clade_tuned and settings.diverse):
            return
        start = f"{short_name(self.model)}-{settings.start}-seed{{seed}}.safetensors"
        more = (*self._labels(), "--init", Output("diverse", start, "prompt:"))
        runs = {f"{name}-tuned": (codes, more) for name, codes in settings.clades.items()}
        for languages in settings.continued:
            count = ("--examples", str(languages * settings.examples_a_language))
            runs[f"continued-{languages}"] = (settings.diverse_sources, (*more, *count))
        for name, (codes, words) in runs.items():
            yield self._train(name, codes, settings.clade_tuned, words, first)
            if _several_seeds(settings.clade_tuned):
                yield self._combine(f"{name}-together", name, "*")

    def _taught(self, dev: str, first: tuple[str, ...]) -> Iterator[Step]:
        """(d), where there is a prompt to learn from."""
        settings, needs = self.settings, (*first, dev)
        if not settings.english_all:
            return
        teacher = self._teacher(dev)
        for name, codes in settings.clades.items():
            if settings.clade_taught:
                yield self._train(f"{name}-taught", codes, settings.clade_taught, teacher, needs)
        if settings.everywhere_taught:
            codes, options = settings.everywhere, settings.everywhere_taught
            yield self._train("everywhere-taught", codes, options, teacher, needs)

    def _combine(self, name: str, grid: str, pattern: str) -> Step:
        out = ("--out", Output(name, f"{short_name(self.model)}-{name}.safetensors"))
        return Step(name, ("prompts", "combine", Files(grid, pattern), *out), (grid,))

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
        called = f"{short_name(self.model)}-{_CALLED.get(name, name)}"
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

    def _told(
        self,
        evidence: Sequence[Word],
        needs: tuple[str, ...],
        judged: Sequence[str],
        single: BestSingle,
    ) -> Iterator[Step]:
        """What is fitted on dev after the routes, and what they come to on test.

        Beside the universal prompt, routes are held against the best one that answers alone, and
        against the universal ones that were trained on as long as any clade's, together.
        """
        store, test = Output("routes", "store"), Output("test", "predictions.csv")
        told: tuple[Word, ...] = ("--evaluations", test, "--out")
        text = ("--model", self.model, "--unlabelled", str(self.data))
        controls = [name for name in judged if name not in self.settings.together]
        longest = f"continued-{max(self.settings.continued, default=0)}-together"
        baselines: tuple[Word, ...] = ("--baseline", single)
        if longest in judged:
            baselines += ("--baseline", f"{short_name(self.model)}-{longest}")
        yield Step(
            "calibration",
            (
                *("calibrate", "--evaluations", *evidence, "--report", test, *text),
                *("--store", store, "--out", Output("calibration")),
            ),
            needs,
        )
        yield Step(
            "gains",
            ("gains", *told, Output("gains"), "--store", store, *baselines),
            (*needs, "calibration"),
        )
        if controls:
            prompts: tuple[Word, ...] = ("--prompts", *map(Output, controls))
            yield Step(
                "tailoring",
                ("tailoring", *told, Output("tailoring"), *prompts),
                (*needs, *controls),
            )


def _several_seeds(options: str) -> bool:
    """Whether these options of `train` make one prompt a seed, and more than one."""
    words = shlex.split(options)
    if "--seed" not in words:
        return False
    after = words[words.index("--seed") + 1 :]
    return len(list(itertools.takewhile(str.isdigit, after))) > 1
