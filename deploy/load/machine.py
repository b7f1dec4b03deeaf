"""What a benchmark ran on, and the memory that a call needs at its peak."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

from isogloss.prompts.model.processor import processor

Result = TypeVar("Result")

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): writing 5 sets the peak resident size to the current one
_KIB = 1024


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


def versions() -> dict[str, str]:
    """Python's and those of the libraries that a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("isogloss", "torch", "transformers", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_of(call: Callable[[], Result], device: torch.device) -> tuple[Result, int | None]:
    """A call's result, and the bytes of memory it held at its peak beyond what was held before.

    On a GPU torch's own account; on Linux the process's peak resident size; elsewhere None.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = call()
        return result, torch.cuda.max_memory_allocated(device) - before
    if sys.platform != "linux" or not os.access(_CLEAR_REFS, os.W_OK):
        return call(), None
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # memory that earlier calls freed but kept would hide what this one needs
    _CLEAR_REFS.write_text(_RESET_PEAK)
    before = _status_bytes("VmRSS")
    result = call()
    return result, max(0, _status_bytes("VmHWM") - before)


def _status_bytes(field: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    raise KeyError(field)
