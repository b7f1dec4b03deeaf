"""`isogloss serve`: from nothing to a URL that answers, and down again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.prompts.cluster.address import Address, chosen_address
from isogloss.prompts.cluster.connection import STOP_S, Machine, connected, variables
from isogloss.prompts.cluster.folders import scratch_folder
from isogloss.prompts.cluster.processes import end_children
from isogloss.prompts.cluster.signals import ended_within
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.names import resolve
from isogloss.prompts.store.filesystems import address_of, backend_of
from isogloss.prompts.store.seed import default_store_path
from isogloss.prompts.store.store import open_store
from isogloss.serving.config import DEFAULT_TASK, ServingSettings
from isogloss.serving.http.keys import api_keys
from isogloss.serving.ray.cluster_watch import watched
from isogloss.serving.ray.haproxy import haproxy_here, haproxy_is_installed
from isogloss.serving.ray.hooks.uvicorn_protocol import guard_heads
from isogloss.serving.ray.ports import check_port
from isogloss.serving.ray.shared_cluster import removal_command

if TYPE_CHECKING:
    from isogloss.serving.ray.app import BuildClassifier

Say = Callable[[str], None]

_OBJECT_STORE_BYTES = 100 << 20  # requests never go through it
_LONGEST_SCRATCH = 97 - len("/admin.sock") - len("/") - 56
"""Bytes of a path that leave room for HAProxy's socket, which Ray puts under a node's number."""


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
        with contextlib.ExitStack() as starting:
            starting.enter_context(ended_within(STOP_S, end_children))
            with running(settings, say, haproxy=haproxy, build=build) as url:
                starting.close()
                ready = True
                say(f"ready after {time.monotonic() - started_s:.0f} s: {url} (docs at {url}/docs)")
                say(f"try: {_example(url, settings.store)}")
                say("Ctrl-C stops it")
                threading.Event().wait()  # for a signal, or the loss of the cluster
    except KeyboardInterrupt:
        return 0 if ready else 130
    return 0


def _stop_on_signals() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, also in a background job of a shell."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _example(url: str, store: Path | None) -> str:
    """A request that this store can answer: it names a task where the usual one has no routes."""
    tasks = [table.task for table in open_store(store).state().routes] or [DEFAULT_TASK]
    named = "" if DEFAULT_TASK in tasks else f', "task": "{tasks[0]}"'
    body = f'{{"inputs": "Le match a fini sur un score nul."{named}}}'
    return f"curl -s {url}/v1/classify -H 'content-type: application/json' -d '{body}'"


@contextlib.contextmanager
def running(
    settings: ServingSettings,
    say: Say = lambda line: None,
    *,
    haproxy: bool | None = None,
    build: BuildClassifier | None = None,
) -> Iterator[str]:
    """Run a server while open; yields its URL once it answers there.

    Args:
        settings: of the server.
        say: told what is going on, line by line.
        haproxy: whether HAProxy takes the requests in; None is where its binary is installed.
        build: makes the classifier inside each replica; None is the real one.

    Raises:
        PortInUse, NotFound, StoreError: before anything is started.
        InvalidInput: what is asked for is not possible on this cluster.
        Unavailable: the server did not start; the message says why.
    """
    address = chosen_address(None, os.environ)
    if build is None:
        _check_models(settings)
    if address.local:  # other machines have an environment and files of their own
        api_keys(settings)
    open_store(settings.store)
    if address.local:
        server = _on_this_machine(settings, say, haproxy, build)
    else:
        server = _on_a_cluster(settings, say, haproxy, build, address)
    with server as url:
        yield url


@contextlib.contextmanager
def _on_this_machine(
    settings: ServingSettings, say: Say, haproxy: bool | None, build: BuildClassifier | None
) -> Iterator[str]:
    port = check_port(settings.host, settings.port)
    settings = settings.model_copy(update={"port": port})
    haproxy = haproxy_is_installed() if haproxy is None else haproxy
    machine = Machine(_logical_cpus(settings), _OBJECT_STORE_BYTES)
    with contextlib.ExitStack() as server:
        scratch = server.enter_context(_scratch())
        watch = server.enter_context(watched(scratch))
        front = haproxy_here(scratch, settings.host) if haproxy else {}
        server.enter_context(variables(_variables() | front))
        with watch.starting():
            server.enter_context(connected(Address("local", ""), machine, say, scratch))
        server.enter_context(_telling_of_the_end(say))
        say(f"loading {', '.join(settings.models)} and the prompts ...")
        with _without_warnings():
            from isogloss.serving.ray.deployment import alone
        with alone(settings, build) as url, watch.until_asked():
            yield url


@contextlib.contextmanager
def _on_a_cluster(
    settings: ServingSettings,
    say: Say,
    haproxy: bool | None,
    build: BuildClassifier | None,
    address: Address,
) -> Iterator[str]:
    settings = _for_a_cluster(settings, haproxy, address)
    with contextlib.ExitStack() as server:
        server.enter_context(variables(_variables()))
        scratch = server.enter_context(_scratch())
        removal = removal_command(address.text)
        watch = server.enter_context(watched(scratch, removal))
        with watch.starting():
            server.enter_context(connected(address, Machine(0, 0), say))
        server.enter_context(_telling_of_the_end(say))
        say(f"loading {', '.join(settings.models)} and the prompts on {address} ...")
        with _without_warnings():
            from isogloss.serving.ray.deployment import beside_others
        with beside_others(settings, build, say) as url, watch.until_asked():
            yield url


def _for_a_cluster(
    settings: ServingSettings, haproxy: bool | None, address: Address
) -> ServingSettings:
    """The settings as they mean the same in replicas with other folders and variables.

    Raises:
        InvalidInput: they cannot.
    """
    if address.client:
        raise InvalidInput(
            f"{address}: a server does not run through Ray Client; give the address of the "
            "cluster's head, such as 10.0.0.1:6379, on one of its machines"
        )
    if haproxy:
        raise InvalidInput(
            f"--haproxy: the machines of a cluster ({address}) run it where their own environment "
            "says so (deploy/haproxy.env); leave the option out"
        )
    for model in settings.models:
        if not Path(model).is_absolute() and Path(model).expanduser().is_dir():
            raise InvalidInput(
                f"--model {model}: on a cluster ({address}) give a path from the root that all of "
                "its machines have"
            )
    store = settings.store or default_store_path()
    if address_of(store) is None:
        store = Path(backend_of(store).location).absolute()
    return settings.model_copy(update={"store": store})


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    folder = scratch_folder(os.environ, _LONGEST_SCRATCH)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _telling_of_the_end(say: Say) -> Iterator[None]:
    try:
        yield
    finally:
        say("stopping ...")


def _check_models(settings: ServingSettings) -> None:
    """Find out now, and not from a replica's log, that a folder or a name is wrong."""
    for model in settings.models:
        resolve(model)


def _variables() -> dict[str, str]:
    """Variables of the Ray processes: quiet, patient, and with as few hops as there can be."""
    # Ray would print what it says of its own death, which is told in one sentence.
    quiet = {"RAY_SERVE_LOG_TO_STDERR": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
    patient = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}  # a busy machine is not a dead one
    # Nothing in a replica blocks its event loop, so requests need no second loop to cross to.
    direct = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
    # Ray's own proxy reads heads as replicas do, and asks this function for middlewares.
    heads = {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": (
            f"{guard_heads.__module__}:{guard_heads.__qualname__}"
        )
    }
    return quiet | patient | direct | heads


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep to itself what Ray and its libraries say about their own future versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _logical_cpus(settings: ServingSettings) -> int:
    """Ray's CPUs are places, not cores: there must be one for every replica that may come."""
    most = settings.max_replicas or settings.replicas or 1
    return max(os.cpu_count() or 1, most * len(settings.models))
