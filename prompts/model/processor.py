"""What a model runs on, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

_PROCESSORS = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's name, as the system tells it."""
    if _PROCESSORS.is_file():
        for line in _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hardware(device: torch.device) -> str:
    """The GPU, where it is used, and the processor with the cores that are ours."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{cores} cores, {processor()}"
    if device.type == "cuda":
        said = f"{torch.cuda.get_device_name(device)}; {said}"
    return said
