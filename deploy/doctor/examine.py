"""Runs every check, all at a time and none for ever; one that breaks says so and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from isogloss.deploy.doctor import gpu, hub, machine, model, packages, ports, processor, store
from isogloss.deploy.doctor.finding import Asked, Finding, fail, warn

Check = Callable[[Asked], Finding | Iterable[Finding]]

PATIENCE_S = 10.0
CHECKS: Mapping[str, Check] = {
    "python": machine.python,
    "packages": packages.packages,
    "hooks": packages.hooks,
    "cores": machine.cores,
    "memory": machine.memory,
    "disks": machine.disks,
    "shared memory": machine.shared_memory,
    "open files": machine.open_files,
    "processor": processor.processor,
    "GPU": gpu.gpus,
    "store": store.store,
    "hub cache": hub.cache,
    "hub": hub.hub,
    "models": model.models,
    "ports": ports.ports,
}

DECIDING = ("store", "models")
"""Checks without which nobody knows whether a server would start."""


class _Running(threading.Thread):
    """A check in a thread of its own, which nobody waits for in the end."""

    def __init__(self, name: str, check: Check, asked: Asked) -> None:
        super().__init__(name=f"isogloss-doctor-{name}", daemon=True)
        self._called, self._check, self._asked = name, check, asked
        self.findings: list[Finding] = [_unknown(name)]
        self.start()

    def run(self) -> None:
        """Look; whatever goes wrong is a finding."""
        try:
            found = self._check(self._asked)
            self.findings = [found] if isinstance(found, Finding) else list(found)
        except Exception as error:  # a machine may be broken in any way
            said = f"the check broke ({type(error).__name__}: {str(error)[:200]})"
            self.findings = [warn(self._called, said, "see to what it says, or report it")]


def _unknown(name: str) -> Finding:
    """What is said of a check until it has ended."""
    remedy = "try again, or look at what hangs: disk, network"
    if name in DECIDING:
        return fail(name, "it is not known in time, so a server may not start", remedy)
    return warn(name, "it is not known in time", remedy)


def examine(
    asked: Asked, checks: Mapping[str, Check] = CHECKS, patience_s: float = PATIENCE_S
) -> list[Finding]:
    """Return what all checks find, in their order."""
    until_s = time.monotonic() + patience_s
    running = [_Running(name, check, asked) for name, check in checks.items()]
    for each in running:
        each.join(max(0.0, until_s - time.monotonic()))
    return [finding for each in running for finding in each.findings]


def is_anything_left() -> bool:
    """Whether a check still runs; the interpreter would not end well beside it."""
    return any(isinstance(each, _Running) for each in threading.enumerate())
