"""`isogloss serve`: Ray Serve on this machine, from nothing to a URL, and down again."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prompts.errors import Unavailable
from serving.config import ServingSettings
from serving.engine import open_prompts
from serving.front import haproxy_here, haproxy_is_installed, inner_host
from serving.lifeline import lifeline
from serving.local_ray import close_session_folder, forget_token, private_variables
from serving.ports import check_port

if TYPE_CHECKING:
    from serving.app import BuildClassifier

Say = Callable[[str], None]

_OBJECT_STORE_BYTES = 100 << 20  # requests never go through it
_APP = "isogloss"


def run(
    settings: ServingSettings,
    say: Say,
    *,
    haproxy: bool | None = None,
    build: BuildClassifier | None = None,
) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code.

    Raises:
        IsoglossError: the server cannot start; the message says why.
    """
    started_s = time.monotonic()
    ready = False
    try:
        _stop_on_signals()
        with running(settings, say, haproxy=haproxy, build=build) as url:
            ready = True
            _stop_on_signals()  # again: Ray has put its own in place
            say(f"ready after {time.monotonic() - started_s:.0f} s: {url} (docs at {url}/docs)")
            say(f"try: {_example(url)}")
            say("Ctrl-C stops it")
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0 if ready else 130
    return 0


def _stop_on_signals() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, also in a background job of a shell."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _example(url: str) -> str:
    body = '{"inputs": "Le match a fini sur un score nul."}'
    return f"curl -s {url}/v1/classify -H 'content-type: application/json' -d '{body}'"


@contextlib.contextmanager
def running(
    settings: ServingSettings,
    say: Say = lambda line: None,
    *,
    haproxy: bool | None = None,
    build: BuildClassifier | None = None,
) -> Iterator[str]:
    """Run a server on this machine while open; yields its URL once it answers.

    Args:
        settings: of the server.
        say: told what is going on, line by line.
        haproxy: whether HAProxy takes the requests in; None is where its binary is installed.
        build: makes the classifier inside each replica; None is the real one.

    Raises:
        PortInUse, NotFound, StoreError: before anything is started.
        Unavailable: the server did not start; the message says why.
    """
    if build is None:
        _check_models(settings)
    open_prompts(settings)
    port = check_port(settings.host, settings.port)
    settings = settings.model_copy(update={"port": port})
    scratch = Path(tempfile.mkdtemp(prefix="isogloss-"))
    haproxy = haproxy_is_installed() if haproxy is None else haproxy
    before = dict(os.environ)
    try:
        with lifeline(scratch, lambda: _stop(say)) as line:
            os.environ.update(_environment(scratch, settings.host, haproxy) | before)
            say("starting Ray on this machine (a few seconds) ...")
            with _without_warnings():
                with line.starting():
                    _start_ray(settings)
                say(f"loading {', '.join(settings.models)} and the prompts ...")
                _deploy(settings, build)
            yield f"http://{_shown_host(settings.host)}:{port}"
    finally:
        os.environ.clear()
        os.environ.update(before)


def _check_models(settings: ServingSettings) -> None:
    """Find out now, and not from a replica's log, that a folder or a name is wrong."""
    from prompts.loading import resolve

    for model in settings.models:
        resolve(model)


def _environment(scratch: Path, host: str, haproxy: bool) -> dict[str, str]:
    """Variables of the Ray processes: quiet, local, and with as few hops as there can be.

    Ray reads most of these when it is imported, in this process and in each of its own; a variable
    that the user has set wins.
    """
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    patient = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}  # a busy machine is not a dead one
    # Nothing in a replica blocks its event loop, so requests need no second loop to cross to.
    direct = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
    front = haproxy_here(scratch, host) if haproxy else {}
    own = {} if "RAY_ADDRESS" in os.environ else private_variables(scratch)
    return quiet | patient | direct | front | own


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep to itself what Ray and its libraries say about their own future versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _start_ray(settings: ServingSettings) -> None:
    import ray

    forget_token()
    ray.init(
        address=os.environ.get("RAY_ADDRESS", "local"),
        num_cpus=None if "RAY_ADDRESS" in os.environ else _logical_cpus(settings),
        object_store_memory=None if "RAY_ADDRESS" in os.environ else _OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        namespace="isogloss",
    )
    close_session_folder()


def _logical_cpus(settings: ServingSettings) -> int:
    """Ray's CPUs are places, not cores: there must be one for every replica."""
    return max(os.cpu_count() or 1, (settings.replicas or 1) * len(settings.models))


def _deploy(settings: ServingSettings, build: BuildClassifier | None) -> None:
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.schema import LoggingConfig

    from serving.app import application, build_application

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": inner_host(settings.host), "port": settings.port},
            logging_config=LoggingConfig(log_level="ERROR", enable_access_log=False),
        )
        app = application(settings) if build is None else build_application(settings, build)
        serve.run(app, name=_APP, route_prefix="/")
    except (RayError, RuntimeError, TimeoutError) as error:
        deployed = serve.status().applications.get(_APP)
        reports = [each.message for each in deployed.deployments.values()] if deployed else []
        report = "\n".join([str(error), *reports])
        remedy = "; try again with --no-haproxy" if "HAProxy" in report else ""
        raise Unavailable(f"the server did not start: {_cause(report)}{remedy}") from error


def _cause(report: str) -> str:
    """What Ray's report of a replica's failure says at its end: our own sentence, if it is ours."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    for line in reversed(lines):
        if "cannot bind socket" in line:
            return line
        if found := re.match(r"(?:prompts|serving)\.[\w.]+: (.+)", line):
            return found.group(1)
    return lines[-1]


def _stop(say: Say) -> None:
    import ray
    from ray import serve

    say("stopping ...")
    if not ray.is_initialized():
        return
    # Ray reports its own end as a failure.
    with _without_warnings(), contextlib.redirect_stdout(io.StringIO()):
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


def _shown_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
