"""What this machine's processor is called."""

from __future__ import annotations

import platform
from pathlib import Path

_PROCESSORS = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's name, as the system tells it."""
    if _PROCESSORS.is_file():
        for line in _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
