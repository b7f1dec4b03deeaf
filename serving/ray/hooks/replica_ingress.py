"""Requests from a replica's port to our routes without the steps that Ray Serve puts between.

Ray gives each request a queue and two tasks, to cancel it when its caller leaves, and asks all
routes for its name. Routes that classify watch their callers themselves. Ray still counts what is
under way, for that is how it drains a replica, and how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from ray.serve._private import replica
from ray.serve._private.common import RequestMetadata, RequestProtocol

from isogloss.serving.ray.hooks.guard import DIRECT_INGRESS, require

_ANY_REQUEST = RequestMetadata(
    request_id="",
    internal_request_id="",
    _request_protocol=RequestProtocol.HTTP,
    is_direct_ingress=True,
)
"""What Ray's counting asks of one."""


def answer_directly(paths: Collection[str]) -> None:
    """Hand requests for these paths to the application at once, in this process; idempotent.

    Args:
        paths: of routes that end by themselves when their caller leaves.

    Raises:
        HookMisfit: another Ray is installed.
    """
    if hasattr(replica.Replica._direct_ingress_asgi, "direct"):
        return
    require(DIRECT_INGRESS)
    through_ray: Any = replica.Replica._direct_ingress_asgi
    wanted = frozenset(paths)

    async def direct(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") not in wanted or self._route_prefix != "/":
            await through_ray(self, scope, receive, send)
            return
        metrics, started_s = self._metrics_manager, time.perf_counter()
        metrics.inc_num_ongoing_requests(_ANY_REQUEST)
        failed = True
        try:
            await self._user_callable_asgi_app(scope, receive, send)
            failed = False
        finally:
            metrics.dec_num_ongoing_requests(_ANY_REQUEST)
            took_ms = (time.perf_counter() - started_s) * 1000
            metrics.record_request_metrics(route=scope["path"], latency_ms=took_ms, is_error=failed)

    direct.direct = True  # type: ignore[attr-defined]
    replica.Replica._direct_ingress_asgi = direct  # type: ignore[method-assign]
