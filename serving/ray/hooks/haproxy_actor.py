"""Ray Serve's actor that runs HAProxy, with what `guard` says of it mended.

HAProxy that has ended is started again at once, its statistics and metrics are for this machine
only, and its own errors are in the contract's shape. Ray's controller calls `install`, for the
variables of `serving.ray.haproxy` name it, and then starts this actor in place of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

import ray

from isogloss.serving.ray.hooks.guard import (
    HAPROXY_ACTOR,
    HAPROXY_PAGES,
    HAPROXY_TEMPLATE,
    HAPROXY_VARIABLES,
    require,
)
from isogloss.serving.ray.hooks.haproxy_config import HOST_VARIABLE, patched_program, template

haproxy: Any = importlib.import_module("ray.serve._private.haproxy")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class OurHAProxy(haproxy.HAProxyApi):  # type: ignore[misc]
    """One HAProxy, which takes the place of any that an actor before this one has left."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stopped = False
        with contextlib.suppress(OSError):  # then its pages are HTML
            folder, theirs = Path(self.config_file_path).parent, haproxy.get_haproxy_binary()
            ours = str(patched_program(Path(theirs), folder))
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


class SupervisedHAProxy(_THEIRS):  # type: ignore[misc]
    """The actor; it does not wait to be asked whether HAProxy is alive."""

    def __init__(self, http_options: Any, *args: Any, **options: Any) -> None:
        host = os.environ.get(HOST_VARIABLE, http_options.host)
        http_options = http_options.model_copy(update={"host": host})
        haproxy.HAPROXY_CONFIG_TEMPLATE = template(haproxy.HAPROXY_CONFIG_TEMPLATE)
        haproxy.HAProxyApi = OurHAProxy
        super().__init__(http_options, *args, **options)
        self._supervision = self.event_loop.create_task(self._supervise())

    async def _supervise(self) -> None:
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
    """Have the controller in this process start our actor in place of Ray's.

    Raises:
        HookMisfit: Ray's actor is not as ours expects it.
    """
    require(HAPROXY_ACTOR, HAPROXY_PAGES, HAPROXY_TEMPLATE, HAPROXY_VARIABLES)
    controller: Any = importlib.import_module("ray.serve._private.controller")
    controller.HAProxyManager = ray.remote(num_cpus=0)(SupervisedHAProxy)
