"""Which steps a situation allows, in order; and what it does not allow, with the remedy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isogloss.prompts.format.problem import Problem
from isogloss.training.tailor.cost import Rates, evaluation_s, training_s
from isogloss.training.tailor.kinship import diverse, groups
from isogloss.training.tailor.situation import Situation
from isogloss.training.tailor.ways import Way, Ways
from isogloss.training.tailor.words import (
    Best,
    BestSingle,
    Files,
    Output,
    Shortlist,
    Step,
    Word,
)

DEV, DEV_CLADES, TEST, ROUTES = "dev", "dev-clades", "test", "routes"
FEW, WHOLE, DIVERSE, EVERYWHERE = "few", "whole", "diverse", "everywhere-taught"
_MIN_SENTENCES = "10"  # on dev; what so few can tell, the rule's shrinkage decides
_FEWEST_PAIRS = 20  # sentences of a language that a prompt is taught on
_SHORTLISTED = 8  # prompts that are read on test, about


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What could not be tried or told, and what data would let it."""

    what: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Given:
    """What the command was asked: all that is not in the data."""

    model: str
    data: str
    task: str
    words: tuple[str, ...] = ()  # label=word
    machine: tuple[str, ...] = ()  # --device, --dtype, --workers of each command
    problem: Problem = "single_label"
    levels: tuple[str, ...] | None = None  # of an ordered task, the lowest first
    none_word: str | None = None  # of a task of several labels
    template: str | None = None  # what stands around every text

    @property
    def kind(self) -> tuple[Problem, tuple[str, ...] | None]:
        """What kind of answer is wanted."""
        return self.problem, self.levels

    @property
    def labels(self) -> tuple[str, ...]:
        """Options that say how labels are read and spoken; a teacher's stand in its card."""
        words = (text for word in self.words for text in ("--word", word))
        several = ("--multi-label",) if self.problem == "multi_label" else ()
        levels = ("--levels", ",".join(self.levels)) if self.levels else ()
        none = ("--none-word", self.none_word) if self.none_word else ()
        return (*words, *several, *levels, *none)

    @property
    def framed(self) -> tuple[str, ...]:
        """The option that puts texts into a template; who starts from a prompt has its own."""
        return ("--template", self.template) if self.template else ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps for one model, task and situation."""

    given: Given
    situation: Situation
    ways: Ways
    rates: Rates
    left_out: list[LeftOut] = field(default_factory=list)
    clades: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Clades that get candidates of their own, and whom these learn from."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Of the diverse prompts; the first language alone where no other has labels."""
        found = self.situation
        lineages = {code: tongue.lineage for code, tongue in found.tongues.items()}
        known = {code: tongue.known for code, tongue in found.tongues.items()}
        count = self.ways.diverse_sources
        return diverse(lineages, found.labelled, found.first, count, known)

    def steps(self) -> tuple[Step, ...]:
        """All of them, each after those that it needs; fills `left_out` and `clades`."""
        self.left_out.clear()
        self.clades.clear()
        first = tuple(self._first())
        dev = self._evaluate(DEV, "dev", first)
        second = tuple(self._second(tuple(step.name for step in first)))
        evaluations = [dev]
        if second:
            evaluations.append(self._evaluate(DEV_CLADES, "dev", second, (dev.name,)))
        routes = self._routes([*first, *second], [step.name for step in evaluations])
        told = (*self._told([*first, *second], evaluations, routes),)
        return (*first, dev, *second, *evaluations[1:], routes, *told)

    # Candidates

    def _first(self) -> Iterator[Step]:
        """From the first language's labels, and from several languages'."""
        found, ways = self.situation, self.ways
        first, fewest = (found.first,), found.fewest((found.first,))
        shots = ways.few_shots(fewest)
        if ways.few and shots:
            examples = shots * len(found.labels)
            options = ("--shots", str(shots), *ways.few.options(examples))
            yield self._train(FEW, first, options, ways.few, examples)
        if ways.whole and fewest >= 2:
            yield self._train(WHOLE, first, self._all(ways.whole, first), ways.whole)
            yield from self._together(WHOLE, ways.whole)
        if fewest < 2:
            self._miss_labels(found.first, fewest)
        sources = self.sources
        if len(sources) < 2:
            self.left_out.append(
                LeftOut(
                    "prompts that learn from several languages",
                    f"only {found.tongues[found.first].name} has labels",
                    "label texts in a second language, best of another family: these prompts carry "
                    "over best",
                )
            )
        elif ways.diverse and found.fewest(sources) >= 2:
            yield self._train(DIVERSE, sources, self._all(ways.diverse, sources), ways.diverse)
            yield from self._together(
                DIVERSE, ways.diverse, "*-plain-*" if ways.diverse.kinds[1:] else "*"
            )

    def _miss_labels(self, code: str, fewest: int) -> None:
        counts = self.situation.tongues[code].labels
        rare = [label for label in self.situation.labels if counts.get(label, 0) <= fewest]
        self.left_out.append(
            LeftOut(
                f"prompts from {self.situation.tongues[code].name} alone",
                f"{', '.join(map(repr, rare))}: {fewest} examples in train",
                "give every label two examples at least, 10 for the paper's setting",
            )
        )

    def _second(self, first: tuple[str, ...]) -> Iterator[Step]:
        """For each clade, from its own labels, or from parallel text."""
        found, ways = self.situation, self.ways
        lineages = {code: found.tongues[code].lineage for code in found.asked}
        start = DIVERSE if DIVERSE in first else WHOLE if WHOLE in first else None
        unlabelled: list[str] = []
        for clade, codes in groups(lineages, ways.clade_languages).items():
            own = [code for code in codes if found.tongues[code].labels]
            if start and ways.tuned and own and found.fewest(own) >= 2 and own != [found.first]:
                self.clades[clade] = tuple(own)
                yield from self._tuned(clade, own, start, first)
            elif set(codes) != {found.first}:
                unlabelled += [code for code in codes if not found.tongues[code].labels]
                yield from self._taught_or_missed(clade, codes, own, first)
        if WHOLE in first and ways.taught and (taught := self._translated(unlabelled)):
            yield self._teach(EVERYWHERE, taught, first)

    def _tuned(
        self, clade: str, own: Sequence[str], start: str, first: tuple[str, ...]
    ) -> Iterator[Step]:
        ways, name = self.ways, f"{_slug(clade)}-tuned"
        assert ways.tuned is not None
        begun = ways.diverse if start == DIVERSE else ways.whole
        kind = "-plain" if begun and begun.kinds[1:] else ""
        file = f"{self._called(start)}{kind}-seed{{seed}}.safetensors"
        if begun and len(begun.seeds) == 1:
            file = f"{self._called(start)}{kind}-seed{begun.seeds[0]}.safetensors"
        init: tuple[Word, ...] = ("--init", Output(start, file, "prompt:"))
        options: tuple[Word, ...] = (*_without_length(self._all(ways.tuned, own)), *init)
        yield self._train(name, own, options, ways.tuned, needs=first)
        yield from self._together(name, ways.tuned)

    def _taught_or_missed(
        self, clade: str, codes: Sequence[str], own: Sequence[str], first: tuple[str, ...]
    ) -> Iterator[Step]:
        translated = self._translated(codes)
        if translated and WHOLE in first and self.ways.taught:
            self.clades[clade] = translated
            yield self._teach(f"{_slug(clade)}-taught", translated, first)
            return
        names = [self.situation.tongues[code].name for code in codes]
        why = "too few labels in it" if own else "no labels in it"
        self.left_out.append(
            LeftOut(
                f"prompts for {clade} ({_some(names)})",
                why if self.situation.parallel else f"{why}, and no parallel text",
                f"label texts in {' or '.join(names[:2])}, or give --parallel text with "
                f"{self.situation.tongues[self.situation.first].name} beside it",
            )
        )

    def _translated(self, codes: Sequence[str]) -> tuple[str, ...]:
        """Those that parallel text has beside the first language, in enough sentences."""
        found, first = self.situation.tongues, self.situation.first
        return tuple(c for c in codes if len(found[c].translated) >= _FEWEST_PAIRS and c != first)

    # Commands

    def _train(
        self,
        name: str,
        sources: Sequence[str],
        options: Sequence[Word],
        way: Way,
        examples: int | None = None,
        needs: tuple[str, ...] = (),
    ) -> Step:
        count = self._examples(sources) if examples is None else examples
        seconds = training_s(self.rates, way, count, way.epochs(count))
        task = ("--task", self.given.task, *self.given.labels, *self.given.framed)
        given = ("--data", self.given.data, *task, "--source", ",".join(sources))
        return self._made(name, (*given, *options), needs, seconds)

    def _teach(self, name: str, codes: Sequence[str], first: tuple[str, ...]) -> Step:
        way, found = self.ways.taught, self.situation
        assert way is not None
        there = frozenset().union(*(found.tongues[code].translated for code in codes))
        # Of many languages together, half as many sentences are as many texts as of few.
        pairs = min(len(there), self.ways.pairs // (1 if len(codes) <= 10 else 2))
        judged = found.first if found.first in found.evaluated else None
        teacher, start = Best(WHOLE, DEV, judged), Best(WHOLE, DEV, judged, "prompt:")
        task = ("--task", self.given.task)
        words: list[Word] = [*task, "--source", ",".join(codes), "--teacher", teacher]
        words += ["--init", start, "--teacher-language", found.first]
        words += ["--parallel", *found.parallel, "--pairs", str(pairs)]
        words += _without_length(way.options(pairs * len(codes)))
        seconds = training_s(self.rates, way, pairs * len(codes), way.least_epochs)
        return self._made(name, words, (*first, DEV), seconds)

    def _made(
        self, name: str, words: Sequence[Word], needs: tuple[str, ...], seconds: float
    ) -> Step:
        files: tuple[Word, ...] = ("--name", self._called(name), "--out", Output(name), "--resume")
        learns = ("--model", self.given.model, *words, *files, *self.given.machine)
        return Step(name, ("train", *learns), needs, seconds)

    def _together(self, name: str, way: Way, pattern: str = "*") -> Iterator[Step]:
        """Seeds of one setting answer together: the second opinion is nearly free."""
        if len(way.seeds) < 2:
            return
        combined = f"{name}-together"
        out = ("--out", Output(combined, f"{self._called(combined)}.safetensors"))
        yield Step(combined, ("prompts", "combine", Files(name, pattern), *out), (name,), 1.0)

    def _evaluate(
        self, name: str, split: str, steps: Sequence[Step], needs: tuple[str, ...] = ()
    ) -> Step:
        names = tuple(step.name for step in steps)
        codes = self.situation.evaluated
        sentences = sum(self.situation.tongues[code].dev for code in codes)
        seconds = evaluation_s(self.rates, sentences, self._members(names))
        prompts: list[Word] = [Output(each) for each in names]
        return self._read(name, split, codes, prompts, (*names, *needs), seconds)

    def _read(
        self,
        name: str,
        split: str,
        codes: Sequence[str],
        prompts: Sequence[Word],
        needs: tuple[str, ...],
        seconds: float,
    ) -> Step:
        words: list[Word] = ["evaluate", "--model", self.given.model, "--data", self.given.data]
        words += ["--split", split, "--languages", ",".join(codes), "--scores"]
        words += ["--prompts", *prompts, "--out", Output(name, "predictions.csv")]
        return Step(name, (*words, *self.given.machine), needs, seconds)

    def _routes(self, made: Sequence[Step], dev: Sequence[str]) -> Step:
        names = tuple(step.name for step in made)
        read: tuple[Word, ...] = ("--evaluations", *(Output(n, "predictions.csv") for n in dev))
        prompts: tuple[Word, ...] = ("--prompts", *map(Output, names))
        into: tuple[Word, ...] = ("--store", Output(ROUTES, "store"))
        more = ("--min-sentences", _MIN_SENTENCES, "--note", f"chosen for {self.given.model}")
        return Step(ROUTES, ("route", *read, *prompts, *into, *more), (*names, *dev), 20.0)

    def _told(self, made: Sequence[Step], dev: Sequence[Step], routes: Step) -> Iterator[Step]:
        """What is fitted on dev after the routes, and what they come to on test."""
        evaluations = tuple(step.name for step in dev)
        names = tuple(step.name for step in made)
        single = BestSingle(evaluations, names)
        needs: tuple[str, ...] = (*names, *evaluations, routes.name)
        test: tuple[Word, ...] = ()
        if tested := self.situation.tested:
            shortlist = Shortlist(routes.name, single, (FEW,) if FEW in names else ())
            sentences = sum(self.situation.tongues[code].test for code in tested)
            seconds = evaluation_s(self.rates, sentences, _SHORTLISTED * 8)
            yield self._read(TEST, "test", tested, [shortlist], needs, seconds)
            test, needs = (Output(TEST, "predictions.csv"),), (*needs, TEST)
        else:
            self.left_out.append(
                LeftOut(
                    "what the routes gain on texts that chose nothing",
                    "no language has a test split",
                    "put some of dev.tsv in test.tsv; dev chose the routes and flatters them",
                )
            )
        store = ("--store", Output(routes.name, "store"))
        yield self._calibrate(evaluations, test, store, needs)
        if test:
            out: tuple[Word, ...] = ("--out", Output("gains"), *store, "--baseline", single)
            yield Step(
                "gains", ("gains", "--evaluations", *test, *out), (*needs, "calibration"), 15.0
            )

    def _calibrate(
        self,
        dev: Sequence[str],
        test: tuple[Word, ...],
        store: tuple[Word, ...],
        needs: tuple[str, ...],
    ) -> Step:
        evidence: tuple[Word, ...] = tuple(Output(name, "predictions.csv") for name in dev)
        report: tuple[Word, ...] = ("--report", *test) if test else ()
        text: tuple[Word, ...] = ()
        seconds = 10.0
        if (folders := self._unlabelled()) and self.given.problem != "multi_label":
            text = ("--unlabelled", *folders, "--model", self.given.model, *self.given.machine)
            seconds += evaluation_s(self.rates, 200 * len(self.situation.evaluated), 8)
        words = ("calibrate", "--evaluations", *evidence, *report, *text, *store)
        return Step("calibration", (*words, "--out", Output("calibration")), needs, seconds)

    def _unlabelled(self) -> tuple[str, ...]:
        """Folders with text whose labels need not be looked at."""
        own = (self.given.data,) if Path(self.given.data).is_dir() else ()
        return (*own, *self.situation.parallel)

    def _all(self, way: Way, sources: Sequence[str]) -> tuple[Word, ...]:
        return ("--shots", "all", *way.options(self._examples(sources)))

    def _examples(self, sources: Sequence[str]) -> int:
        """That train: a tenth is held out."""
        return round(0.9 * sum(self.situation.tongues[code].train for code in sources))

    def _called(self, step: str) -> str:
        """A name in a store may hold prompts of one model and task."""
        task = "" if self.given.task == "topic" else f"{_slug(self.given.task)}-"
        return f"{short_name(self.given.model)}-{task}{step}"

    def _members(self, steps: Sequence[str]) -> int:
        """Prompt vectors that a text is read with under all prompts of these steps."""
        by_step: Mapping[str, Way | None] = {
            FEW: self.ways.few,
            WHOLE: self.ways.whole,
            DIVERSE: self.ways.diverse,
        }
        total = 0
        for name in steps:
            way = by_step.get(name, self.ways.taught if "-taught" in name else self.ways.tuned)
            if way and not name.endswith("-together"):
                total += way.prompts * sum(way.lengths) // len(way.lengths)
        return total


def short_name(model: str) -> str:
    """What begins the names of a model's prompts: "bloom" for pocket-bloom.

    >>> short_name("/srv/My models/Qwen2.5_0.5B")
    'qwen2-5-0-5b'
    """
    return _slug(Path(model).name).removeprefix("pocket-") or "model"


def _slug(clade: str) -> str:
    """A clade's, task's or model's name as files and prompts are named.

    >>> _slug("North-Central_Atlantic")
    'north-central-atlantic'
    """
    kept = (letter if letter.isascii() and letter.isalnum() else "-" for letter in clade.lower())
    return "-".join(part for part in "".join(kept).split("-") if part)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _without_length(options: Sequence[Word]) -> tuple[Word, ...]:
    """Options of a prompt that starts from another, whose length follows."""
    place = options.index("--length")
    end = next(n for n in range(place + 1, len(options)) if str(options[n]).startswith("--"))
    return (*options[:place], *options[end:])


def commands(steps: Sequence[Step]) -> str:
    """As `--plan` prints them: each with its seconds before it."""
    return "\n".join(f"# {step.name}: {step.seconds:.0f} s\n{step}" for step in steps)


__all__ = ["Given", "LeftOut", "Plan", "commands", "shlex", "short_name"]
