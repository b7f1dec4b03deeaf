"""What other systems' model names mean here, where a server answers several tasks.

A model's own name asks for the default task (or its first, where it has none of that name), and
`model:task` for another; a task's name alone asks the default model. An empty name, or none, is the
default model and task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from isogloss.prompts.errors import NotFound, Unavailable
from isogloss.serving.config import DEFAULT_TASK
from isogloss.serving.http.calls import Call
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import NOBODY_ELSE, Caller
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, Result


class Lenient(BaseModel):
    """A body, or a part of one, whose further fields mean nothing here and are let pass."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Asked(NamedTuple):
    """A model and a task of it."""

    name: str
    """As answers call it."""
    model: str
    task: str
    labels: tuple[str, ...]
    """In the order of answers that name none: it never changes while the labels are the same."""


async def asked(service: Service, name: str | None, caller: Caller = NOBODY_ELSE) -> Asked:
    """What a name asks for.

    Raises:
        NotFound: there is no such model, or no routes for the task; those there are, are named.
        StoreSilent: what the tasks are is not in memory, and the store has not answered in time.
    """
    everything = await offered(service, caller)
    if not name:
        name = service.settings.default_model
    for each in everything:
        if name in (each.name, f"{each.model}:{each.task}"):
            return each
    of_default = [each for each in everything if each.model == service.settings.default_model]
    for each in of_default:
        if name == each.task:
            return each._replace(name=name)
    known = ", ".join(each.name for each in everything) or "none"
    raise NotFound(f"model: {name[:80]!r} is not served here; served are {known}")


async def call(
    service: Service, name: str | None, inputs: str | list[str], caller: Caller
) -> Call[Asked]:
    """Texts for the model and task that a name asks for; raises as `asked`."""
    about = await asked(service, name, caller)
    return Call(ClassifyRequest(inputs=inputs, model=about.model, task=about.task), about)


async def offered(service: Service, caller: Caller = NOBODY_ELSE) -> list[Asked]:
    """Every served model with every task that it has routes for; the default one first."""
    found = []
    for model in service.settings.models:
        tasks = await service.tasks(model, caller)
        first = DEFAULT_TASK if DEFAULT_TASK in tasks else next(iter(tasks), "")
        for task in sorted(tasks, key=lambda task: (task != first, task)):
            name = model if task == first else f"{model}:{task}"
            found.append(Asked(name, model, task, tasks[task]))
    return found


def in_order(result: Result, labels: Sequence[str]) -> list[float]:
    """A result's probabilities in this order of the labels.

    Raises:
        Unavailable: it has others, for the task's prompt was replaced by one with other labels.
    """
    scores = {each.label: each.score for each in result.scores}
    try:
        return [scores[label] for label in labels]
    except KeyError as missing:
        raise Unavailable(
            f"the labels of the task changed while this was answered ({missing} is gone); try again"
        ) from missing


def tokens(answer: ClassifyResponse) -> int:
    """Of all texts, as the model read them."""
    return sum(result.tokens for result in answer.results)
