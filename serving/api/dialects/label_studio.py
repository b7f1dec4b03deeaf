"""Label Studio's ML backend, below `/label-studio`: predictions that people correct.

Its project says with a labeling configuration what it asks; each group of choices is a question as
those of `questions`, so one pass over a text answers several. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import FastAPI, Request, Response
from pydantic import Field
from pydantic_core import to_json

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.api.dialects import label_config, questions
from isogloss.serving.api.dialects.label_config import Control
from isogloss.serving.api.dialects.questions import Meant, Question
from isogloss.serving.api.dialects.served import Lenient
from isogloss.serving.config import ServingSettings
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer, caller_from
from isogloss.serving.http.openapi import json_body
from isogloss.serving.http.parsing import parse
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, Result

PREFIX = "/label-studio"
"""The address that a project is given; `/predict` itself is text-embeddings-inference's."""
TRAINING = "START_TRAINING"

_MOST_VALUES = 1 << 17
"""Tasks come with all that was annotated and predicted of them, and all that were selected come."""
_MOST_REQUESTS = 16
"""How many requests' worth of texts one may have."""
_WRITTEN_HERE = 256
"""Tasks whose predictions are written on the event loop."""


class LabelingTask(Lenient):
    """What is to be labelled."""

    data: dict[str, Any] = Field(default={}, description="Fields, one of which holds the text.")

    def text(self, field: str, most_chars: int) -> str | None:
        """The words in a field, as far as they are read; None: it has none."""
        value: Any = self.data
        for name in (field,) if field in self.data else field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        words = value[:most_chars] if isinstance(value, str) else ""
        return words if words.strip() else None


class LabelingTasks(Lenient):
    """Tasks, and what is asked about them. Further fields are let pass."""

    tasks: Annotated[list[LabelingTask], Field(fail_fast=True)]
    label_config: str = Field(description="The project's labeling configuration, in XML.")


class LabelingProject(Lenient):
    """A project that wants predictions; the token it comes with is not read."""

    label_config: str = Field(
        alias="schema", description="The project's labeling configuration, in XML."
    )


class LabelingEvent(Lenient):
    """Something that happened in a project."""

    action: str = Field(default="", max_length=256)


class _Asked(NamedTuple):
    controls: tuple[Control, ...]
    meant: Meant
    places: list[dict[str, int]]
    """Of each task: the place of a field's text among all texts."""


def add_label_studio(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add what is below `/label-studio`."""
    _add_predict(api, service, bodies)
    _add_setup(api, service, bodies)

    @api.get(f"{PREFIX}/health", summary="Whether Label Studio may ask, with the key it has")
    async def health() -> dict[str, str]:
        return {"status": "UP"}

    @api.get(f"{PREFIX}/versions", summary="What predictions are made by, for Label Studio")
    async def versions() -> dict[str, list[str]]:
        return {
            "versions": [_version(service.settings.default_model, service.live.identity.number)]
        }

    @api.post(
        f"{PREFIX}/webhook",
        openapi_extra=json_body(LabelingEvent),
        summary="What happens in a Label Studio project",
    )
    async def webhook(request: Request) -> dict[str, str]:
        event = await bodies.parsed(request, LabelingEvent, most_values=_MOST_VALUES)
        if event.action == TRAINING:
            raise InvalidInput(
                f"action: {TRAINING} is not done by a server; export the annotations, and train "
                "with `isogloss tailor`"
            )
        return {}


def _add_setup(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.post(
        f"{PREFIX}/setup",
        openapi_extra=json_body(LabelingProject),
        summary="Whether a Label Studio project's questions are answered here",
    )
    async def setup(request: Request) -> dict[str, str]:
        project = await bodies.parsed(request, LabelingProject)
        found = label_config.controls(project.label_config, "schema")
        meant = await _meant(service, found, "schema", caller_from(request, service))
        return {"model_version": _version(meant.name, service.live.identity.number)}


def _add_predict(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.post(
        f"{PREFIX}/predict",
        openapi_extra=json_body(LabelingTasks),
        summary="Label Studio predictions",
    )
    async def predict(request: Request) -> Response:
        async def read(caller: Caller) -> Call[_Asked]:
            content_type = request.headers.get("content-type", "")
            work = partial(_read, service.settings, content_type)
            found, texts, places = await bodies.read(request, work)
            meant = await _meant(service, found, "label_config", caller)
            most, model = service.settings.max_inputs, meant.model
            parts = [texts[begin : begin + most] for begin in range(0, len(texts), most)]
            first, *behind = (ClassifyRequest(inputs=part, model=model) for part in parts)
            return Call(first, _Asked(found, meant, places), meant.tasks, tuple(behind))

        asked, answers = await answer(service, request, read)
        write = partial(_written, asked, answers)
        few = len(asked.places) <= _WRITTEN_HERE
        return Response(
            write() if few else await bodies.apart(write), media_type="application/json"
        )


def _read(
    settings: ServingSettings, content_type: str, body: bytes
) -> tuple[tuple[Control, ...], list[str], list[dict[str, int]]]:
    """What is asked, every text that it is asked about, and where each task has its own."""
    asked = parse(LabelingTasks, body, _MOST_VALUES, content_type)
    found = label_config.controls(asked.label_config, "label_config")
    return found, *_texts(asked.tasks, found, settings)


async def _meant(
    service: Service, controls: Sequence[Control], where: str, caller: Caller
) -> Meant:
    asked = [Question("choice", each.name, each.options) for each in controls]
    return await questions.meant(service, None, asked, caller, where)


def _texts(
    tasks: Sequence[LabelingTask], controls: Sequence[Control], settings: ServingSettings
) -> tuple[list[str], list[dict[str, int]]]:
    """Every text that is asked about, and where each task has its own.

    Raises:
        InvalidInput: there is none, or there are too many.
    """
    texts, places = list[str](), list[dict[str, int]]()
    fields = list(dict.fromkeys(each.field for each in controls))
    most = _MOST_REQUESTS * settings.max_inputs
    for task in tasks[: most + 1]:
        own = {field: task.text(field, settings.max_text_chars) for field in fields}
        worded = {field: text for field, text in own.items() if text is not None}
        places.append({field: len(texts) + n for n, field in enumerate(worded)})
        texts += worded.values()
    if not texts or max(len(texts), len(tasks)) > most:
        raise InvalidInput(
            f"tasks: {len(tasks)} with {'' if texts else 'no '}text in {', '.join(fields)[:200]} "
            f"cannot be answered; select 1 to {most} whose data have text there"
        )
    return texts, places


def _written(asked: _Asked, answers: Sequence[ClassifyResponse]) -> bytes:
    results: dict[str, list[Result]] = {}
    versions: list[str] = []
    for each in answers:
        results.setdefault(each.task, []).extend(each.results)
        if each.task == asked.meant.tasks[0]:  # all tasks' answers are of one generation
            versions += [_version(asked.meant.name, each.generation)] * len(each.results)
    told = [_prediction(asked, own, results, versions) for own in asked.places]
    return to_json({"results": told})


def _prediction(
    asked: _Asked,
    places: Mapping[str, int],
    results: Mapping[str, Sequence[Result]],
    versions: Sequence[str],
) -> dict[str, Any] | list[Any]:
    """A task's prediction, as sure as its least sure choice; an empty list: it has none."""
    chosen = []
    for control, meaning in zip(asked.controls, asked.meant.meanings, strict=True):
        if meaning is not None and control.field in places:
            result = results[meaning.task][places[control.field]]
            chosen.append(_choice(control, questions.probabilities(meaning, result)))
    if not chosen:
        return []
    version = versions[next(iter(places.values()))]
    score = min(each["score"] for each in chosen)
    return {"result": chosen, "score": score, "model_version": version}


def _choice(control: Control, shares: Sequence[float]) -> dict[str, Any]:
    score = max(shares)
    return {
        "from_name": control.name,
        "to_name": control.text,
        "type": "choices",
        "value": {"choices": [control.options[shares.index(score)]]},
        "score": score,
    }


def _version(model: str, generation: int) -> str:
    """Another one after every change: Label Studio asks again for what another one predicted."""
    return f"{model} generation {generation}"
