"""Typed questions about one text -> tasks that answer them, and answers out of their probabilities.

OpenAI's Decisions and TypeSafe's System One ask a large model anything. Here a question is about a
task that prompts were trained for, and is recognised by its name or by its options:

- a *choice* by the name of a task, else by its values: they are the labels of a task, or some of
  them, and share what these have between them;
- a *predicate* by the name of a label (`task:label` where two tasks have it), or by the name of a
  task of two labels, one of which says yes;
- a *score* as a choice, whose levels are ordered: the mean of the levels' places.

Names and values count whatever their case. What no task answers is refused, question by question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.api.dialects import served
from isogloss.serving.api.dialects.served import in_order
from isogloss.serving.http.service import Service, Tasks
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.schemas import ClassifyResponse, Result

Kind = Literal["choice", "predicate", "score"]

_SHOWN_CHARS = 400
_YES = ("yes", "true", "1", "positive")


@dataclass(frozen=True, slots=True)
class Question:
    """One question, whoever's words it came in."""

    kind: Kind
    name: str | None
    options: tuple[str | bool, ...] = ()
    """Of a choice its values, of a score its levels, the lowest first; a predicate has none."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What answers a question: labels of a task, one for each of its options."""

    task: str
    labels: tuple[str, ...]


class Labels(NamedTuple):
    """A task's labels, by what they may be called."""

    exact: frozenset[str]
    folded: Mapping[str, str]
    """In any case, where that leaves but one."""

    @classmethod
    def of(cls, labels: Sequence[str]) -> Labels:
        """By both."""
        folded = [_folded(label) for label in labels]
        counted = Counter(folded)
        alone = {f: label for f, label in zip(folded, labels, strict=True) if counted[f] == 1}
        return cls(frozenset(labels), alone)

    def find(self, option: str, folded: str) -> str | None:
        """The label that an option means."""
        return option if option in self.exact else self.folded.get(folded)


@dataclass(frozen=True, slots=True)
class Names:
    """What questions may name: looked through once for all of a request."""

    tasks: Mapping[str, str]
    labels: Mapping[str, Labels]
    """By task."""
    meanings: Mapping[str, Sequence[Meaning]]
    """By label, and by `task:label`."""

    @classmethod
    def of(cls, tasks: Tasks) -> Names:
        """Those of a model's tasks."""
        meanings: dict[str, list[Meaning]] = {}
        for task, labels in tasks.items():
            for label in labels:
                for name in dict.fromkeys((_folded(label), _folded(f"{task}:{label}"))):
                    meanings.setdefault(name, []).append(Meaning(task, (label,)))
        by_task = {task: Labels.of(own) for task, own in tasks.items()}
        return cls({_folded(task): task for task in tasks}, by_task, meanings)


@dataclass(frozen=True, slots=True)
class Meant:
    """The questions of a request, and what answers each of them."""

    name: str
    """As answers call the model."""
    model: str
    questions: tuple[Question, ...]
    meanings: tuple[Meaning | None, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Each task that answers something, once."""
        return tuple(dict.fromkeys(each.task for each in self.meanings if each is not None))

    def answered(
        self, answers: Sequence[ClassifyResponse]
    ) -> list[tuple[Question, list[float] | None]]:
        """Each question with the probabilities of its options; None: nothing answers it.

        Args:
            answers: of each task, about one text.
        """
        results = {each.task: each.results[0] for each in answers}
        return [
            (question, probabilities(meaning, results[meaning.task]) if meaning else None)
            for question, meaning in zip(self.questions, self.meanings, strict=True)
        ]


async def meant(
    service: Service,
    model: str | None,
    asked: Sequence[Question],
    caller: Caller,
    where: str = "questions",
) -> Meant:
    """What a request's questions are about; `where` in the request they stand is for messages.

    Raises:
        NotFound: there is no such model.
        InvalidInput: no question is about any task; the tasks are named.
    """
    about = await served.asked(service, model, caller)
    tasks = await service.tasks(about.model, caller)
    names = Names.of(tasks)
    meanings = tuple(meaning(each, names) for each in asked)
    if not any(meanings):
        known = "; ".join(f"{task} ({', '.join(labels)})" for task, labels in tasks.items())
        known = known if len(known) <= _SHOWN_CHARS else f"{known[:_SHOWN_CHARS]} ..."
        raise InvalidInput(
            f"{where}: none is about a task of this model; ask by a task's name or by its labels: "
            f"{known or 'it has no tasks'}"
        )
    return Meant(about.name, about.model, tuple(asked), meanings)


def meaning(question: Question, known: Names) -> Meaning | None:
    """The task that a question is about; None: no task is."""
    name = _folded(question.name or "")
    if question.kind == "predicate":
        return _predicate(name, known)
    folded = [_folded(option) for option in question.options]
    if name in known.tasks:
        return _of_task(question, folded, known.tasks[name], known)
    found = [_of_task(question, folded, task, known) for task in known.labels]
    # The task with the fewest labels that has them all: best one that has no others.
    fitting = [each for each in found if each is not None]
    return min(
        fitting,
        key=lambda each: (len(known.labels[each.task].exact), each.task),
        default=None,
    )


def probabilities(meant: Meaning, result: Result) -> list[float]:
    """Of each option, among the options alone: they sum to 1. Of a predicate: its own."""
    shares = in_order(result, meant.labels)
    if len(shares) == 1:
        return shares
    total = math.fsum(shares)
    if total <= 0:  # all of them are out of the question, and equally so
        return [1 / len(shares)] * len(shares)
    return [share / total for share in shares]


def confidence(shares: Sequence[float]) -> float:
    """How far the likeliest option is from a guess: 0 at 1/k, 1 at 1."""
    guess = 1 / len(shares)
    return min(1.0, max(0.0, (max(shares) - guess) / (1 - guess)))


def _predicate(name: str, known: Names) -> Meaning | None:
    if (task := known.tasks.get(name)) is not None:
        labels = known.labels[task]
        yes = [labels.folded[each] for each in (*_YES, name) if each in labels.folded]
        return Meaning(task, (yes[0],)) if yes and len(labels.exact) == 2 else None
    found = known.meanings.get(name, ())
    return found[0] if len(found) == 1 else None


def _of_task(question: Question, folded: Sequence[str], task: str, known: Names) -> Meaning | None:
    labels, found = known.labels[task], list[str]()
    for option, other in zip(question.options, folded, strict=True):
        if (label := labels.find(str(option), other)) is None:
            return None
        found.append(label)
    return Meaning(task, tuple(found)) if len(set(found)) == len(found) >= 2 else None


def _folded(value: str | bool) -> str:
    return str(value).strip().casefold()
