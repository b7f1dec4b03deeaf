"""Every private thing of Ray Serve, HAProxy and uvicorn that the server hooks into, and a guard.

Each hook says what it needs of which package, why, and where that is discussed upstream. Whoever
installs a hook calls `require` first; `check_hooks` checks all before a server starts. What a hook
needs is compared with what is installed: a name that is gone, a function with other parameters or a
text that reads otherwise stops the server, and the error says which versions are known to fit.

Hooks into Ray itself, which training uses as well, are in `prompts.cluster`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from isogloss.prompts.errors import Unavailable

_UVICORN = ("uvicorn", ">=0.34,<1")
_RAY = ("ray", ">=2.60,<2.61")
_HTTP = "uvicorn.protocols.http.httptools_impl"
_SERVE = "ray.serve._private"
_MISSING = object()

REPLACED_LINES = (
    "    bind :{{ config.metrics_port }}",
    "  bind *:{{ config.stats_port }}",
    "    http-request return status 404 content-type text/plain lf-string "
    "\"Path '%[path]' not found. Ping http://.../-/routes for available routes.\"",
)
"""Lines of Ray's template for HAProxy's configuration that are replaced."""
RAY_HEADERS = {
    "SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER": "x-request-timeout-seconds",
    "SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER": "x-request-disconnect-disabled",
    "SERVE_MULTIPLEXED_MODEL_ID": "serve_multiplexed_model_id",
    "SERVE_SESSION_ID": "x-session-id",
}
"""Constant of Ray Serve's -> the header that it reads before our routes do."""


class HookMisfit(Unavailable):
    """A package is installed that a hook was not made for."""


@dataclass(frozen=True)
class Hook:
    """One private thing that is used or replaced."""

    name: str
    package: tuple[str, str]
    """Its distribution, and the versions that the hook was made for."""
    why: str
    upstream: str
    """Where it is discussed."""
    reaches: tuple[str, ...] = ()
    """`module:name` of what has to exist; with `(parameters)`, those it has to take."""
    contains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`module:name` -> what has to stand in it: in a string, or in the source of anything else."""

    def check(self) -> None:
        """Compare with what is installed.

        Raises:
            HookMisfit: something that is needed is not there.
        """
        for problem in self._problems():
            name, versions = self.package
            raise HookMisfit(
                f"{name} {_installed(name)} does not fit this server ({self.name}: {problem}); run "
                f"pip install '{name}{versions}'; upstream: {self.upstream}"
            )

    def _problems(self) -> Iterator[str]:
        for target in self.reaches:
            path, _, parameters = target.partition("(")
            found = _resolved(path)
            if found is _MISSING:
                yield f"there is no {path}"
            elif parameters and _parameters(found) != parameters.rstrip(")"):
                yield f"{path} takes ({_parameters(found)}), not ({parameters}"
        for path, texts in self.contains.items():
            there = _text(_resolved(path))
            yield from (
                f"{path} is without {text.strip()!r}" for text in texts if text not in there
            )


HEADS = Hook(
    "heads of requests",
    _UVICORN,
    "uvicorn adds the fields behind a chunked body (trailers) to the list of headers, which routes "
    "may read later: a client could name itself another, behind a proxy that checks heads. Ray "
    "Serve reads some headers before our routes do, as UTF-8, and fails in plain text.",
    "none known for trailers of requests; https://github.com/ray-project/ray/pull/62867",
    (
        f"{_HTTP}:HttpToolsProtocol.on_message_begin(self)",
        f"{_HTTP}:HttpToolsProtocol.on_header(self, name, value)",
        f"{_HTTP}:HttpToolsProtocol.on_headers_complete(self)",
    ),
)
REFUSALS = Hook(
    "uvicorn's own errors",
    _UVICORN,
    "What is no HTTP, and what fails outside our routes, is answered in plain text.",
    "https://github.com/Kludex/uvicorn/pull/1352",
    (
        f"{_HTTP}:HttpToolsProtocol.send_400_response(self, msg)",
        f"{_HTTP}:RequestResponseCycle.send_500_response(self)",
    ),
    {f"{_HTTP}:HttpToolsProtocol.send_400_response": ("self.transport.write(",)},
)
WHOLE_ANSWERS = Hook(
    "answers in one write",
    _UVICORN,
    "uvicorn writes the head before there is a body: of a replica killed between the two, callers "
    "get an answer that nobody can ask another replica for. Ray Serve adds the `x-request-id` that "
    "came in behind the one that we gave.",
    "https://github.com/Kludex/uvicorn/pull/1917, https://github.com/django/asgiref/issues/138, "
    "https://github.com/ray-project/ray/pull/35789",
    (f"{_HTTP}:RequestResponseCycle.send(self, message)",),
    {f"{_HTTP}:RequestResponseCycle.send": ("self.transport.write(", "self.response_started")},
)
RAY_READS = Hook(
    "headers that Ray Serve reads",
    _RAY,
    "A client could make Ray wait or answer otherwise than our contract says.",
    "https://github.com/ray-project/ray/pull/62867",
    contains={
        f"{_SERVE}.constants": tuple(f'"{header}"' for header in RAY_HEADERS.values()),
    },
    reaches=tuple(f"{_SERVE}.constants:{name}" for name in RAY_HEADERS),
)
ASGI_APP = Hook(
    "the application of a replica",
    _RAY,
    "Ray Serve's other ways to give a deployment its routes pickle them, or build them before the "
    "replica has its model. The docstring of `serve.ingress` names this one, the manual does not.",
    "https://github.com/ray-project/ray/pull/63167",
    ("ray.serve:ingress(app)", f"{_SERVE}.replica:SERVE_BUILD_ASGI_APP_METHOD"),
    {f"{_SERVE}.replica:SERVE_BUILD_ASGI_APP_METHOD": ("__serve_build_asgi_app__",)},
)
DIRECT_INGRESS = Hook(
    "requests straight to our routes",
    _RAY,
    "Ray Serve gives each request a queue and two tasks to cancel it by, and looks through all "
    "routes for its name; its own way around that is a header of the client's.",
    "https://github.com/ray-project/ray/pull/60118",
    (
        f"{_SERVE}.replica:Replica._direct_ingress_asgi(self, scope, receive, send)",
        f"{_SERVE}.replica:ReplicaMetricsManager.inc_num_ongoing_requests(self, request_metadata)",
        f"{_SERVE}.replica:ReplicaMetricsManager.dec_num_ongoing_requests(self, request_metadata)",
        f"{_SERVE}.replica:ReplicaMetricsManager.record_request_metrics"
        "(self, route, latency_ms, is_error, exception_type)",
    ),
    {
        f"{_SERVE}.replica:Replica": (
            "self._metrics_manager = ", "self._user_callable_asgi_app = ", "self._route_prefix = ",
            "                    self._direct_ingress_asgi,\n",
        ),
    },
)  # fmt: skip
RUNNING_SERVE = Hook(
    "what Serve runs already",
    _RAY,
    "`serve.status()` starts Serve where there is none, and tells no address that it listens on.",
    "https://github.com/ray-project/ray/pull/37528",
    (
        "ray.serve.context:_get_global_client(raise_if_no_controller_running)",
        "ray.serve._private.client:ServeControllerClient.get_serve_details",
        "ray.serve._private.client:ServeControllerClient.http_config",
    ),
)
REPLICA_PORT = Hook(
    "the port between replicas",
    _RAY,
    "Ray Serve opens it to every interface; `prompts.cluster.privacy` restricts it as Ray is.",
    "https://github.com/ray-project/ray/issues/64544",
    (f"{_SERVE}.replica:add_port_to_grpc_server",),
    {f"{_SERVE}.replica": ('add_port_to_grpc_server(self._server, "[::]:0")',)},
)
OVER_GRPC = Hook(
    "requests to other models",
    _RAY,
    "Actor calls to a node that has died wait for ten seconds and more until the cluster knows. "
    "Serve's own connections fail at once, but no public option of a handle asks for them.",
    "https://github.com/ray-project/ray/pull/59908",
    contains={
        "ray.serve.handle:DeploymentHandle.options": ("_by_reference=_by_reference",),
        f"{_SERVE}.replica_result:gRPCReplicaResult": (
            "grpc.StatusCode.UNAVAILABLE", "raise ActorUnavailableError(",
        ),
    },
)  # fmt: skip
CALLBACKS = Hook(
    "functions that Serve's processes call as they start",
    _RAY,
    "They install the hooks in the controller and in Ray's own proxy.",
    "https://github.com/ray-project/ray/pull/35619",
    (
        f"{_SERVE}.constants:RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH",
        f"{_SERVE}.constants:RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
    ),
)
HAPROXY_VARIABLES = Hook(
    "lines of HAProxy's configuration",
    _RAY,
    "Ray has no variable for `http-request` timeouts, `forwardfor` and `http-error`. It writes two "
    "values as they are, so further lines stand in those.",
    "https://github.com/ray-project/ray/pull/63622, https://github.com/ray-project/ray/pull/61988",
    (
        f"{_SERVE}.constants:RAY_SERVE_HAPROXY_RETRY_ON",
        f"{_SERVE}.constants:RAY_SERVE_HAPROXY_BALANCE_ALGORITHM",
    ),
    {
        f"{_SERVE}.haproxy_templates:HAPROXY_CONFIG_TEMPLATE": (
            "    retry-on {{ config.retry_on }}\n",
            "    balance {{ config.balance_algorithm }}\n",
        ),
    },
)
HAPROXY_TEMPLATE = Hook(
    "addresses that HAProxy listens on",
    _RAY,
    "Ray opens HAProxy's statistics and metrics to every interface, and says in plain text that "
    "nothing is deployed.",
    "https://github.com/ray-project/ray/issues/62976",
    contains={
        f"{_SERVE}.haproxy_templates:HAPROXY_CONFIG_TEMPLATE": tuple(
            f"{line}\n" for line in REPLACED_LINES
        ),
    },
)
HAPROXY_ACTOR = Hook(
    "the actor that runs HAProxy",
    _RAY,
    "Ray notices after ten seconds that HAProxy has ended, and replaces the actor after three "
    "times; a new actor fails where the HAProxy of one that died still holds the port.",
    "https://github.com/ray-project/ray/pull/60586",
    (
        f"{_SERVE}.controller:HAProxyManager",
        f"{_SERVE}.haproxy:HAProxyManager.__ray_metadata__.modified_class.__ray_actor_class__",
        f"{_SERVE}.haproxy:HAPROXY_CONFIG_TEMPLATE",
        f"{_SERVE}.haproxy:HAProxyApi.start(self)",
        f"{_SERVE}.haproxy:HAProxyApi.stop(self)",
        f"{_SERVE}.haproxy:HAProxyApi._is_our_haproxy(self, pid)",
        f"{_SERVE}.haproxy:HAProxyApi._start_and_wait_for_haproxy(self, extra_args, timeout_s)",
    ),
    {
        f"{_SERVE}.haproxy:HAProxyApi": ("self._proc = ", "self.config_file_path = "),
        f"{_SERVE}.haproxy": (
            "self.event_loop = ", "self._reload_lock = ", "self._haproxy_start_task = ",
            "self._haproxy = HAProxyApi(", "env.from_string(HAPROXY_CONFIG_TEMPLATE)",
        ),
    },
)  # fmt: skip
HAPROXY_PAGES = Hook(
    "the HTML pages within HAProxy",
    _RAY,
    "HAProxy answers what is no HTTP, and what does not arrive, with pages that no setting changes "
    "(it was tried with 2.8.25). A copy of the program has ours in their place; one that has no "
    "such pages is run as it is, and that is logged.",
    "https://github.com/haproxy/haproxy/issues/3032",
    (f"{_SERVE}.haproxy:get_haproxy_binary()",),
)
HOOKS = (
    HEADS, REFUSALS, WHOLE_ANSWERS, RAY_READS, ASGI_APP, DIRECT_INGRESS, RUNNING_SERVE,
    REPLICA_PORT, OVER_GRPC, CALLBACKS, HAPROXY_VARIABLES, HAPROXY_TEMPLATE, HAPROXY_ACTOR,
    HAPROXY_PAGES,
)  # fmt: skip


def check_hooks() -> None:
    """Check every hook; to be called before a server starts.

    Raises:
        HookMisfit: a package is installed that one was not made for.
    """
    require(*HOOKS)


def require(*hooks: Hook) -> None:
    """Check some hooks; to be called before they are installed.

    Raises:
        HookMisfit: a package is installed that one was not made for.
    """
    for hook in hooks:
        hook.check()


def _resolved(path: str) -> Any:
    module, _, names = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in filter(None, names.split(".")):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return _MISSING
    return found


def _parameters(function: Any) -> str:
    return ", ".join(inspect.signature(function).parameters)


def _text(found: Any) -> str:
    if isinstance(found, str):
        return found
    return "" if found is _MISSING else inspect.getsource(found)


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
