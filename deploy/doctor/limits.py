"""What the system lets this process have: a container's limits are honoured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")


def cores() -> float:
    """Cores that this process may use; a part of one where a container has a quota."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min([float(here or 1), *_quotas()])


def memory_bytes() -> tuple[int, int]:
    """Memory that is there, and what of it is free."""
    total, free = _machine()
    for folder in _folders():
        most = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if most is None or most >= total:
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        total, free = most, min(free, max(0, most - used + _droppable(folder)))
    return total, free


def _machine() -> tuple[int, int]:
    lines = (line.split() for line in _text(MEMORY).splitlines())
    kib = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
    total = kib.get("MemTotal", 0)
    return total * 1024, kib.get("MemAvailable", total) * 1024


def _quotas() -> Iterator[float]:
    for folder in _folders():
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)
        micros, every = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if micros and every:
            yield micros / every


def _folders() -> Iterator[Path]:
    """This process' groups, and those they are in, of both versions of the interface."""
    for line in _text(OWN_CGROUP).splitlines():
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        for kind in kinds.split(",") if kinds else [""]:
            root = CGROUPS / kind
            own = root / path.lstrip("/")
            yield from (each for each in (own, *own.parents) if each.is_relative_to(root))


def _droppable(folder: Path) -> int:
    """Bytes of files that the system keeps in memory for as long as nobody needs it."""
    for line in _text(folder / "memory.stat").splitlines():
        name, _, size = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and size.isdigit():
            return int(size)
    return 0


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
