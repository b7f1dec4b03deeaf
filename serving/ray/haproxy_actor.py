"""Ray Serve's actor that runs HAProxy, as we want it.

Ray asks the actor every ten seconds whether HAProxy is alive, gives it up after three times, and
starts another actor: here HAProxy is started again at once. Ray opens HAProxy's statistics and
metrics to every interface: here they are for this machine. And what HAProxy says by itself is in
the contract's shape. All this is done inside the actor, whose class Ray's controller takes from
here: it calls `install`, for the variables of `serving.ray.front` name it. Made for Ray 2.60; a
test compares what is replaced with what the installed Ray has.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

import ray

from isogloss.serving.ray.front import HOST_VARIABLE, LOOPBACK
from isogloss.serving.ray.haproxy_words import WORDS, speaking_program

haproxy: Any = importlib.import_module("ray.serve._private.haproxy")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_REPLACED = {
    "    bind :{{ config.metrics_port }}": f"    bind {LOOPBACK}:{{{{ config.metrics_port }}}}",
    "  bind *:{{ config.stats_port }}": f"  bind {LOOPBACK}:{{{{ config.stats_port }}}}",
    "    http-request return status 404 content-type text/plain lf-string "
    "\"Path '%[path]' not found. Ping http://.../-/routes for available routes.\"": (
        "    http-request return status 503 content-type application/json string "
        + '"' + WORDS[503].json().replace('"', '\\"') + '"'
    ),
}  # fmt: skip
"""Lines of Ray's template, and ours. The last one: nothing is deployed, or not yet."""


def template(of_ray: str) -> str:
    """The template of HAProxy's configuration, with our lines."""
    for theirs, ours in _REPLACED.items():
        of_ray = of_ray.replace(theirs, ours)
    return of_ray


class OurHAProxy(haproxy.HAProxyApi):  # type: ignore[misc]
    """One HAProxy, which takes the place of any that an actor before this one has left."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stopped = False
        with contextlib.suppress(OSError):  # then it speaks as HAProxy does
            folder, theirs = Path(self.config_file_path).parent, haproxy.get_haproxy_binary()
            ours = str(speaking_program(Path(theirs), folder))
            haproxy.get_haproxy_binary = lambda: ours

    async def stop(self) -> None:
        """Stop it for good."""
        self.stopped = True
        await super().stop()

    async def _start_and_wait_for_haproxy(self, *extra_args: str, **options: Any) -> Any:
        if not extra_args and (left := self._left_behind()):
            extra_args = ("-sf", *left)
        return await super()._start_and_wait_for_haproxy(*extra_args, **options)

    def _left_behind(self) -> list[str]:
        """HAProxies of this very configuration file, which is the server's alone."""
        numbers = (path.name for path in Path("/proc").glob("[0-9]*"))
        return [number for number in numbers if self._is_our_haproxy(int(number))]


_THEIRS: Any = haproxy.HAProxyManager.__ray_metadata__.modified_class.__ray_actor_class__


class WatchedHAProxy(_THEIRS):  # type: ignore[misc]
    """The actor; it does not wait to be asked whether HAProxy is alive."""

    def __init__(self, http_options: Any, *args: Any, **options: Any) -> None:
        host = os.environ.get(HOST_VARIABLE, http_options.host)
        http_options = http_options.model_copy(update={"host": host})
        haproxy.HAPROXY_CONFIG_TEMPLATE = template(haproxy.HAPROXY_CONFIG_TEMPLATE)
        haproxy.HAProxyApi = OurHAProxy
        super().__init__(http_options, *args, **options)
        self._watching = self.event_loop.create_task(self._watch())

    async def _watch(self) -> None:
        """Start HAProxy again whenever it ends by itself."""
        await self._haproxy_start_task
        while not self._haproxy.stopped:
            running = self._haproxy._proc
            await running.wait()
            await self._replace(running)

    async def _replace(self, ended: Any) -> None:
        """Unless a reload has put another in its place meanwhile."""
        pause_s = _FIRST_PAUSE_S
        async with self._reload_lock:
            while self._haproxy._proc is ended and not self._haproxy.stopped:
                try:
                    await self._haproxy.start()
                except Exception:
                    haproxy.logger.exception("HAProxy does not start again.")
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def install() -> None:
    """Have the controller in this process start our actor in place of Ray's."""
    controller: Any = importlib.import_module("ray.serve._private.controller")
    controller.HAProxyManager = ray.remote(num_cpus=0)(WatchedHAProxy)
