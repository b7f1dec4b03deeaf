"""The Ray Serve application: with `serving.ray.remote` all that knows Ray's serving interface.

One deployment holds the HTTP routes and the default model in the same process, for every hop
between processes costs milliseconds. Further models are deployments of their own, reached through a
handle only by the requests that name them. `serving.ray.app:application` is what
`deploy/serve.yaml` imports; `serving.ray.launch` runs it on one machine.
"""

from __future__ import annotations

import gc
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from isogloss.prompts.cluster.privacy import listen_where_ray_does
from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.store.store import open_store
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.direct import watching_paths
from isogloss.serving.api.http import build_api
from isogloss.serving.config import ServingSettings, admin_token
from isogloss.serving.environment import settings_from, warn_of_unknown
from isogloss.serving.http.keys import api_keys
from isogloss.serving.http.service import ServedModel, Service
from isogloss.serving.pipeline.caller import NOBODY_ELSE, Caller
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.heap import HEAP_INTERVAL_S, Heap
from isogloss.serving.ray.autoscaling import QUEUE_TOKENS, QueueTokens
from isogloss.serving.ray.hooks.guard import REPLICA_PORT, check_hooks, require
from isogloss.serving.ray.hooks.replica_ingress import answer_directly
from isogloss.serving.ray.hooks.uvicorn_protocol import guard_heads, write_answers_whole
from isogloss.serving.ray.remote import ActorBoard, RemoteModel, over_grpc
from isogloss.serving.registry.registry import Poller
from isogloss.serving.registry.replicas import REPORT_INTERVAL_S, Reporter
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, ModelAnswer
from isogloss.serving.telemetry.logs import configure_logging, work_on
from isogloss.serving.telemetry.tracing import start_tracing, stop_tracing
from isogloss.serving.trials.judge import TRIAL_INTERVAL_S, TrialJudge

logger = logging.getLogger(__name__)

BuildClassifier = Callable[[ServingSettings, str], Classifier]

_MAX_ONGOING_REQUESTS = 10_000  # above our own limits: ours refuse in JSON, Ray's in plain text
_HEALTH_CHECK_PERIOD_S = 1.0  # how long a dead replica may go unnoticed by those who replace it


def application(settings: ServingSettings | Mapping[str, Any]) -> serve.Application:
    """Build the application; `args` of `deploy/serve.yaml` come as a mapping.

    Of a mapping, settings in the environment take the place, and `device: cuda` waits for GPUs: a
    cluster in Kubernetes is told of its application before all of its machines are there.

    Raises:
        pydantic.ValidationError: a setting is unknown or has a wrong value.
        InvalidInput: a variable has a wrong value.
        HookMisfit: a package is installed that the server was not made for.
    """
    check_hooks()
    if not isinstance(settings, ServingSettings):
        warn_of_unknown(logger.warning)
        settings = settings_from({}, beneath=settings)
        return build_application(
            settings, build_classifier, wait_for_gpus=settings.device == "cuda"
        )
    return build_application(settings, build_classifier)


def build_application(
    settings: ServingSettings, build: BuildClassifier, *, wait_for_gpus: bool = False
) -> serve.Application:
    """Build the application.

    Args:
        settings: of the server.
        build: makes the classifier inside each replica.
        wait_for_gpus: whether replicas want GPUs though there are none yet.
    """
    gpus = _gpus(settings)
    replicas = _replicas(settings, gpus)
    most = max(replicas, settings.max_replicas or 0)
    threads = settings.threads or max(1, _cores() // (most * len(settings.models)))
    settings = settings.model_copy(update={"replicas": replicas, "threads": threads})
    deploy = _deployment(settings, on_gpus=gpus > 0 or wait_for_gpus)
    others = {
        model: deploy(ModelReplica)
        .options(name=_deployment_name(model))
        .bind(settings, model, build)
        for model in settings.models[1:]
    }
    ingress = deploy(serve.ingress()(IngressReplica)).options(name="isogloss")
    bound: serve.Application = ingress.bind(settings, others, build)
    return bound


def _deployment(settings: ServingSettings, *, on_gpus: bool) -> Any:
    """What makes a class a deployment, whichever model is in it."""
    return serve.deployment(
        **_scale(settings),
        ray_actor_options={
            "num_cpus": 1,
            "num_gpus": 1 if on_gpus else 0,
            "runtime_env": {"env_vars": _thread_variables()},
        },
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        graceful_shutdown_timeout_s=10,
        health_check_period_s=_HEALTH_CHECK_PERIOD_S,
        logging_config=LoggingConfig(log_level="WARNING", enable_access_log=False),
    )


def demand(settings: ServingSettings) -> dict[str, int]:
    """What all replicas together hold of the cluster's resources, by Ray's names."""
    gpus = _gpus(settings)
    replicas = _replicas(settings, gpus) * len(settings.models)
    return {"CPU": replicas} | ({"GPU": replicas} if gpus else {})


def _replicas(settings: ServingSettings, gpus: int) -> int:
    """Replicas of each model that are there from the start."""
    if settings.max_replicas is not None:
        return settings.replicas or 1
    return settings.replicas or max(1, gpus // len(settings.models))


def _scale(settings: ServingSettings) -> dict[str, Any]:
    """Ray's options for the number of a deployment's replicas, `replicas` of which are known."""
    if settings.max_replicas is None:
        return {"num_replicas": settings.replicas}
    policy = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function=f"{QueueTokens.__module__}:{QueueTokens.__name__}",
        policy_kwargs={"target_queue_tokens": settings.target_queue_tokens},
    )
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=settings.replicas or 1,
            max_replicas=settings.max_replicas,
            policy=policy,
        )
    }


class ModelReplica:
    """One replica of one model."""

    def __init__(self, settings: ServingSettings, model: str, build: BuildClassifier) -> None:
        require(REPLICA_PORT)
        listen_where_ray_does()
        configure_logging(settings.log_format, log_texts=settings.log_texts)
        context = serve.get_replica_context()
        start_tracing(settings.traces, context.replica_id.unique_id)
        self._classifier = build(settings, model)
        self._classifier.warm_up()
        self._reporter = Reporter(
            replica=context.replica_id.unique_id,
            model=model,
            live=self._classifier.registry,
            metrics=self._classifier.metrics,
            board=ActorBoard(context.app_name),
        )
        trials = TrialJudge(
            self._classifier.registry, self._classifier.metrics, self._reporter.board
        )
        heap = Heap(lambda: self._classifier.gate.requests > 0)
        self._reporter.join()
        self._pollers = (
            Poller(self._reporter.poll, settings.store_poll_s),
            Poller(self._reporter.heartbeat, REPORT_INTERVAL_S / 2),
            Poller(trials.poll, TRIAL_INTERVAL_S),
            Poller(heap.poll, HEAP_INTERVAL_S),
        )
        # Half a million objects are here for good. To look through them for garbage takes 0.2 s, in
        # which nothing is answered, and swaps make it happen often.
        gc.collect()
        gc.freeze()

    async def ask(
        self, request: ClassifyRequest, tasks: Sequence[str], caller: Caller = NOBODY_ELSE
    ) -> list[ClassifyResponse] | IsoglossError:
        """Answer a request; an error is an answer too, for Ray would wrap it in its own."""
        work_on(caller.request_id)
        try:
            return await self._classifier.ask(request, tasks, caller)
        except IsoglossError as error:
            return error

    async def describe(self) -> ModelAnswer:
        """Tell what the model is."""
        return await self._classifier.describe()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Ray Serve what `QueueTokens` scales by; it asks where a deployment scales itself."""
        return {QUEUE_TOKENS: self._classifier.gate.tokens}

    async def vet(
        self, prompts: Mapping[str, str], given: Mapping[str, bytes]
    ) -> IsoglossError | None:
        """Require that prompts can answer, before they do; an error is an answer, as above."""
        try:
            await self._classifier.vet(prompts, given)
        except IsoglossError as error:
            return error
        return None

    def __del__(self) -> None:
        """Stop and leave the board; Ray calls this before it takes a replica down."""
        if hasattr(self, "_pollers"):
            for poller in self._pollers:
                poller.close()
            self._classifier.close()
            self._reporter.board.leave(self._reporter.replica)
            stop_tracing()


class IngressReplica(ModelReplica):
    """One replica of the default model, with the HTTP routes in front of it."""

    def __init__(
        self,
        settings: ServingSettings,
        others: dict[str, DeploymentHandle[Any]],
        build: BuildClassifier,
    ) -> None:
        guard_heads()
        write_answers_whole()
        super().__init__(settings, settings.default_model, build)
        models: dict[str, ServedModel] = {
            name: RemoteModel(name, over_grpc(handle), self._classifier.metrics)
            for name, handle in others.items()
        }
        store = open_store(settings.store)
        self._service = Service(self._classifier, models, store, self._reporter, settings)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return what Ray Serve runs for HTTP."""
        admin = Admin(self._service, admin_token())
        api = build_api(self._service, admin, api_keys(self._service.settings))
        answer_directly(watching_paths(api))
        return api


def _thread_variables() -> dict[str, str]:
    """How long the model's threads wait awake for the next piece of work; the user's word wins.

    GNU OpenMP's own 300,000 turns (milliseconds) keep the event loop off the cores, so that a few
    requests at a time take five times as long; none at all puts threads to sleep after every
    operation. This many are about as long as a small model's operation.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        return {}
    return {"GOMP_SPINCOUNT": "5000"}


def _deployment_name(model: str) -> str:
    return "isogloss-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", model).strip("-")


def _gpus(settings: ServingSettings) -> int:
    """GPUs of the cluster, where they are to be used."""
    if settings.device == "cpu":
        return 0
    return int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
