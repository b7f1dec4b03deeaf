"""KServe's Open Inference Protocol, version 2, in JSON and with binary tensors (as Triton's)."""

from __future__ import annotations

from functools import partial
from importlib import metadata
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.serving.api.dialects import served, tensors
from isogloss.serving.api.dialects.served import Asked
from isogloss.serving.api.dialects.shapes import KServeErrorBody
from isogloss.serving.api.dialects.tensors import HEADER_LENGTH, InferRequest, Tensor
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer, caller_from
from isogloss.serving.http.openapi import OPEN, errors, json_body
from isogloss.serving.http.parsing import MOST_VALUES, parse
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import REQUEST_ID, Caller
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse

_ERRORS = errors(KServeErrorBody)

VERSION = "1"
"""Of every model: prompts change under it, and answers name theirs by generation."""
_OUTPUTS = ("label", "score", "probabilities")


class _Wanted(NamedTuple):
    about: Asked
    body: InferRequest


def add_kserve_v2(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add what is below `/v2`."""
    _add_server(api, service)
    _add_infer(api, service, bodies)
    _add_models(api, service)


def _add_server(api: FastAPI, service: Service) -> None:
    @api.get("/v2", responses=_ERRORS, summary="The server, as KServe v2 has it")
    async def server() -> dict[str, Any]:
        version, extensions = metadata.version("isogloss"), ["binary_tensor_data"]
        return {"name": "isogloss", "version": version, "extensions": extensions}

    @api.get(
        "/v2/health/live",
        openapi_extra=OPEN,
        responses=_ERRORS,
        summary="Whether the process is alive, as KServe v2 has it",
    )
    async def live() -> dict[str, bool]:
        return {"live": True}

    @api.get(
        "/v2/health/ready",
        openapi_extra=OPEN,
        responses=_ERRORS,
        summary="Whether every model can answer, as KServe v2 has it",
    )
    async def ready() -> dict[str, bool]:
        await service.ready()
        return {"ready": True}


def _add_infer(api: FastAPI, service: Service, bodies: Bodies) -> None:
    most_values = max(MOST_VALUES, 4 * service.settings.max_inputs)

    async def infer(model: str, request: Request) -> Response:
        async def read(caller: Caller) -> Call[_Wanted]:
            work = partial(_read, request, most_values, service.settings.max_inputs)
            texts, body = await bodies.read(request, work)
            about = await served.asked(service, model, caller)
            asked = ClassifyRequest(inputs=texts, model=about.model, task=about.task)
            return Call(asked, _Wanted(about, body))

        wanted, (answered,) = await answer(service, request, read)
        return _response(wanted, answered, request)

    @api.post(
        "/v2/models/{model:path}/versions/{version}/infer",
        openapi_extra=json_body(InferRequest),
        responses=_ERRORS,
        summary="KServe v2 inference with a version",
    )
    async def infer_version(model: str, version: str, request: Request) -> Response:
        _check_version(version)
        return await infer(model, request)

    api.post(
        "/v2/models/{model:path}/infer",
        openapi_extra=json_body(InferRequest),
        responses=_ERRORS,
        summary="KServe v2 inference",
    )(infer)


def _add_models(api: FastAPI, service: Service) -> None:
    @api.get("/v2/models", responses=_ERRORS, summary="The models' names, as KServe v2 has them")
    async def models(request: Request) -> dict[str, list[str]]:
        listed = await served.offered(service, caller_from(request, service))
        return {"models": [each.name for each in listed]}

    async def ready(model: str, request: Request) -> dict[str, Any]:
        about = await served.asked(service, model, caller_from(request, service))
        await service.ready()
        return {"name": about.name, "ready": True}

    async def described(model: str, request: Request) -> dict[str, Any]:
        about = await served.asked(service, model, caller_from(request, service))
        return {
            "name": about.name,
            "versions": [VERSION],
            "platform": "isogloss",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "score", "datatype": "FP32", "shape": [-1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(about.labels)]},
            ],
            "parameters": {"labels": list(about.labels)},
        }

    @api.get(
        "/v2/models/{model:path}/versions/{version}/ready",
        responses=_ERRORS,
        summary="Whether a model answers",
    )
    async def version_ready(model: str, version: str, request: Request) -> dict[str, Any]:
        _check_version(version)
        return await ready(model, request)

    api.get(
        "/v2/models/{model:path}/ready", responses=_ERRORS, summary="Whether a model can answer"
    )(ready)

    @api.get(
        "/v2/models/{model:path}/versions/{version}", responses=_ERRORS, summary="A model's tensors"
    )
    async def version_described(model: str, version: str, request: Request) -> dict[str, Any]:
        _check_version(version)
        return await described(model, request)

    api.get(
        "/v2/models/{model:path}",
        responses=_ERRORS,
        summary="A model's tensors, as KServe v2 has them",
    )(described)


def _read(
    request: Request, most_values: int, most_texts: int, body: bytes
) -> tuple[list[str], InferRequest]:
    head, behind = tensors.split(body, request.headers.get(HEADER_LENGTH))
    wanted = parse(InferRequest, head, most_values, request.headers.get("content-type", ""))
    for each in wanted.outputs or ():
        if each.name not in _OUTPUTS:
            raise InvalidInput(
                f"outputs: there is no {each.name[:40]!r}; ask for {', '.join(_OUTPUTS)}"
            )
    return tensors.texts_of(wanted.texts_input, behind, most_texts), wanted


def _response(wanted: _Wanted, answered: ClassifyResponse, request: Request) -> Response:
    body, about = wanted.body, wanted.about
    whole = {each.name: each for each in _tensors(about, answered)}
    in_bytes = body.parameters is not None and body.parameters.binary_data_output is True
    names, binary = list(_OUTPUTS), [in_bytes] * len(_OUTPUTS)
    if body.outputs:
        names = [each.name for each in body.outputs]
        said = [each.parameters.binary_data if each.parameters else None for each in body.outputs]
        binary = [in_bytes if each is None else each for each in said]
    head = {"model_name": about.name, "model_version": VERSION}
    head["id"] = body.id or request.scope[REQUEST_ID]
    content, length = tensors.written(head, [whole[name] for name in names], binary)
    if length is None:
        return Response(content, media_type="application/json")
    return Response(
        content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(length)}
    )


def _tensors(about: Asked, answered: ClassifyResponse) -> list[Tensor]:
    results = answered.results
    shares = [share for each in results for share in served.in_order(each, about.labels)]
    return [
        Tensor("label", [len(results)], [each.label for each in results]),
        Tensor("score", [len(results)], [each.score for each in results]),
        Tensor("probabilities", [len(results), len(about.labels)], shares),
    ]


def _check_version(version: str) -> None:
    if version != VERSION:
        raise NotFound(f"version: there is no {version[:40]!r}; the one version is {VERSION}")
