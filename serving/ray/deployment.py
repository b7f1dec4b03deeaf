"""Our application in Ray Serve while open: on Ray of its own, or beside others on a cluster.

Only what is ours is started, and only that is ended.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig, ServeInstanceDetails

from isogloss.prompts.cluster.loss import missing_parts
from isogloss.prompts.errors import Unavailable
from isogloss.serving.config import ServingSettings
from isogloss.serving.ray.app import application, build_application, demand
from isogloss.serving.ray.haproxy import inner_host
from isogloss.serving.ray.hooks.guard import RUNNING_SERVE, check_hooks, require
from isogloss.serving.ray.ports import check_port
from isogloss.serving.ray.readiness import first_that_answers, urls
from isogloss.serving.ray.remote import ON_THE_HEAD, ActorBoard
from isogloss.serving.ray.shared_cluster import (
    APPLICATION,
    ROOT,
    RunningServe,
    fitted,
    wait_for_room,
)

if TYPE_CHECKING:
    from isogloss.serving.ray.app import BuildClassifier

Say = Callable[[str], None]

_COMMAND = f"{APPLICATION}-command"


@contextlib.contextmanager
def alone(settings: ServingSettings, build: BuildClassifier | None) -> Iterator[str]:
    """Serve on Ray that was started for it, and ends with it; yields the URL once it answers.

    Raises:
        Unavailable: it does not start; the message says why.
    """
    check_hooks()
    _start_serve(settings)
    _deploy(settings, build)
    url = first_that_answers(urls(settings.host, settings.port), _replicas)
    try:
        yield url
    finally:  # a start that failed ends with Ray's processes
        if not missing_parts():
            with _in_silence():
                serve.shutdown()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def beside_others(
    settings: ServingSettings, build: BuildClassifier | None, say: Say
) -> Iterator[str]:
    """Serve on a cluster that is not ours; yields the URL once it answers.

    Raises:
        Unavailable: there is no place for it on this cluster, or it does not start.
    """
    check_hooks()
    claim = _claim()
    before = running_serve()
    if before is not None or claim is None:
        beside = before or RunningServe(settings.host, 0)
        settings = fitted(settings, beside, claimed=claim is None)
    else:
        settings = settings.model_copy(update={"port": check_port(settings.host, settings.port)})
    wait_for_room(demand(settings), ray.available_resources, say)
    answers = False
    try:
        if before is None:
            _start_serve(settings)
        _deploy(settings, build)
        machines = before.machines if before else ()
        url = first_that_answers(urls(settings.host, settings.port, machines), _replicas)
        answers = True
        yield url
    finally:
        with _in_silence():
            if not missing_parts():
                _take_away(wait=answers, serve_too=before is None)


def running_serve() -> RunningServe | None:
    """Return what Ray Serve on the cluster does; None where it does not run."""
    require(RUNNING_SERVE)
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    details = ServeInstanceDetails(**client.get_serve_details())
    return RunningServe(
        host=str(client.http_config.host),
        port=client.http_config.port,
        takes_http=str(getattr(details.proxy_location, "value", None)) in _TAKING_HTTP,
        machines=tuple(proxy.node_ip for proxy in details.proxies.values() if proxy.node_ip),
        applications={name: app.route_prefix for name, app in details.applications.items()},
    )


_TAKING_HTTP = ("HeadOnly", "EveryNode")


class Claim:
    """Holds our application's place on a cluster for one command, and dies with it."""


def _claim() -> Any:
    """Take the place, at once or not at all; None where another command has it."""
    try:
        return ray.remote(Claim).options(name=_COMMAND, **ON_THE_HEAD).remote()
    except ValueError:  # what Ray raises where the name is taken
        return None


def _start_serve(settings: ServingSettings) -> None:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with _naming_failures():
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": inner_host(settings.host), "port": settings.port},
            logging_config=LoggingConfig(log_level="ERROR", enable_access_log=False),
        )


def _deploy(settings: ServingSettings, build: BuildClassifier | None) -> None:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    app = application(settings) if build is None else build_application(settings, build)
    with _naming_failures():
        serve.run(app, name=APPLICATION, route_prefix=ROOT)


@contextlib.contextmanager
def _naming_failures() -> Iterator[None]:
    try:
        yield
    except (RayError, RayServeException, RuntimeError, TimeoutError) as error:
        report = "\n".join([str(error), *_reports()])
        remedy = "; try again with --no-haproxy" if "HAProxy" in report else ""
        raise Unavailable(f"the server did not start: {cause(report)}{remedy}") from error


def _reports() -> list[str]:
    """What Serve says of our deployments, where it still says anything."""
    try:
        deployed = serve.status().applications.get(APPLICATION)
    except Exception:  # a cluster that has failed fails under any name
        return []
    return [each.message for each in deployed.deployments.values()] if deployed else []


def cause(report: str) -> str:
    """What Ray's report of a replica's failure says at its end: our own sentence, if it is ours."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    for line in reversed(lines):
        if "cannot bind socket" in line:
            return line
        if ours := re.match(r"isogloss\.[\w.]+: (.+)", line):
            return ours.group(1)
    return lines[-1] if lines else "Ray does not say why"


def _replicas() -> list[str]:
    return [report.replica for report in ActorBoard(APPLICATION).reports()]


def _take_away(*, wait: bool, serve_too: bool) -> None:
    """Remove our application and its board, and Serve where we started it for us alone.

    A start that was told to stop does not wait until they are gone: Serve goes on without us.
    """
    if (running := running_serve()) is None:
        return
    if APPLICATION in running.applications:
        serve.delete(APPLICATION, _blocking=wait)
        ActorBoard(APPLICATION).close()
    if serve_too and not set(running.applications) - {APPLICATION}:
        serve.shutdown()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Ray reports its own end as a failure."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
