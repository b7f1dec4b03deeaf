"""What is in other processes, asked through Ray: further models, and the replicas' board."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import ray
from grpc import RpcError
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from isogloss.prompts.errors import IsoglossError, Unavailable
from isogloss.serving.pipeline.caller import NOBODY_ELSE, Caller, TooLate
from isogloss.serving.ray.hooks.guard import OVER_GRPC, require
from isogloss.serving.registry.replicas import LocalBoard, ReplicaReport, Wanted
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, ModelAnswer
from isogloss.serving.telemetry.metrics import ServingMetrics

logger = logging.getLogger(__name__)

NAMESPACE = "isogloss"
ON_THE_HEAD = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
"""Options of an actor that all replicas need: a node that dies takes Ray ten seconds to notice, and
the head is the one that nothing outlives anyway."""
_BOARD_TIMEOUT_S = 5.0
_WAITING = "waiting"
_TRIES = 4
"""Of one request, each on another replica: as many as HAProxy makes in front of us."""


def over_grpc(handle: DeploymentHandle[Any]) -> DeploymentHandle[Any]:
    """Return the handle with connections of its own to the replicas, past Ray's actor calls.

    Those fail only once the cluster knows that a node is dead, ten seconds later. A connection
    fails with its process, wherever that was, and another replica is asked at once.
    """
    require(OVER_GRPC)
    return handle.options(_by_reference=False)


class RemoteModel:
    """A model in other processes."""

    def __init__(self, name: str, handle: DeploymentHandle[Any], metrics: ServingMetrics) -> None:
        self._name = name
        self._handle = handle
        self._metrics = metrics

    async def ask(
        self, request: ClassifyRequest, tasks: Sequence[str], caller: Caller = NOBODY_ELSE
    ) -> list[ClassifyResponse]:
        """Answer one request; one that a dying replica leaves unanswered is asked of another.

        Raises:
            TooLate: the caller's time ran out before a replica was there to answer.
            Unavailable: no replica answers.
            IsoglossError: as `Classifier.ask`.
        """
        started_s = time.perf_counter()

        async def ask() -> Any:
            waited = caller.after(time.perf_counter() - started_s)
            return await self._ask("ask", request, tuple(tasks), waited)

        try:
            async with asyncio.timeout(caller.timeout_s):
                answer = await self._until_answered(ask)
        except TimeoutError:
            raise TooLate.after(time.perf_counter() - started_s) from None
        if isinstance(answer, IsoglossError):
            raise answer
        return answer  # type: ignore[no-any-return]

    async def describe(self) -> ModelAnswer:
        """Tell what the model is."""
        return await self._until_answered(lambda: self._ask("describe"))  # type: ignore[no-any-return]

    async def vet(self, prompts: Mapping[str, str], given: Mapping[str, bytes]) -> None:
        """Require that prompts can answer, before they do; as `Classifier.vet`."""
        answer = await self._until_answered(lambda: self._ask("vet", prompts, given))
        if isinstance(answer, IsoglossError):
            raise answer

    async def _until_answered(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask again where a replica died: classifying changes nothing, so twice is as good as once.

        Ray sends the next try to another replica, or waits for one.
        """
        try:
            for _ in range(_TRIES - 1):
                try:
                    return await ask()
                except (RayActorError, RpcError):
                    logger.warning("a replica of %s died with a request; asking again", self._name)
                    self._metrics.asked_again.inc()
            return await ask()
        except (RayError, RayServeException, RpcError) as error:
            raise Unavailable(
                f"model {self._name} does not answer ({type(error).__name__}); try again in a "
                "moment, or look at its replica's log"
            ) from error

    async def _ask(self, method: str, *arguments: object) -> Any:
        response = getattr(self._handle, method).remote(*arguments)
        try:
            return await response
        except asyncio.CancelledError:  # its caller left: let the other process know
            response.cancel()
            raise


class ActorBoard:
    """The board of one application, in a small actor that all its replicas share."""

    def __init__(self, app_name: str) -> None:
        self._options = {
            "name": f"isogloss-board-{app_name}",
            "namespace": NAMESPACE,
            "get_if_exists": True,
            "lifetime": "detached",
            "max_restarts": -1,
            **ON_THE_HEAD,
        }
        self._actor = self._find()

    def report(self, report: ReplicaReport) -> None:
        """Put a replica's newest report up."""
        try:
            self._call("report", report)
        except RayError:  # it died: the next one fills from everybody's reports
            self._actor = self._find()
            self._call("report", report)

    def leave(self, replica: str) -> None:
        """Take down a replica that stops; one that cannot say so is forgotten after a while."""
        if ray.is_initialized():
            self._actor.leave.remote(replica)

    def reports(self) -> list[ReplicaReport]:
        """The newest report of every replica that is alive.

        Raises:
            Unavailable: the board does not answer.
        """
        try:
            return self._call("reports")  # type: ignore[no-any-return]
        except RayError as error:
            raise _silent(error) from error

    def wait_for(self, wanted: Wanted, timeout_s: float) -> list[ReplicaReport]:
        """Wait until every replica serves a generation, or serves one to be looked up, or the time
        is over: who is behind.

        Raises:
            Unavailable: the board does not answer.
        """
        wait = self._actor.wait_for.options(concurrency_group=_WAITING)
        try:
            asked = wait.remote(wanted, timeout_s)
            return ray.get(asked, timeout=timeout_s + _BOARD_TIMEOUT_S)  # type: ignore[no-any-return]
        except RayError as error:
            raise _silent(error) from error

    def close(self) -> None:
        """Take the board itself away: no replica is left to report."""
        ray.kill(self._actor)

    def _find(self) -> Any:
        # Whoever waits for the replicas must not keep these from reporting.
        board: Any = ray.remote(concurrency_groups={_WAITING: 64})(LocalBoard)  # type: ignore[call-overload]
        return board.options(**self._options).remote()

    def _call(self, method: str, *arguments: object) -> Any:
        return ray.get(getattr(self._actor, method).remote(*arguments), timeout=_BOARD_TIMEOUT_S)


def _silent(error: RayError) -> Unavailable:
    return Unavailable(f"the replicas' board does not answer ({type(error).__name__}); try again")
