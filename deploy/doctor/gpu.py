"""GPUs: what their driver says of them, and whether torch sees them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from isogloss.deploy.doctor.finding import Asked, Finding, fail, gib, ok, warn

_QUERY = "name,driver_version,memory.total,memory.free"
_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One, as nvidia-smi has it."""

    name: str
    driver: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Torch:
    """What torch makes of it."""

    version: str
    cuda: str | None
    """The CUDA that it was built for; None: for processors."""
    sees: bool


def gpus(asked: Asked) -> Iterator[Finding]:
    """Each GPU, and whether it will be used."""
    there, torch = nvidia_gpus(), torch_here()
    for place, gpu in enumerate(there):
        free = f"{gib(gpu.free_bytes)} of {gib(gpu.total_bytes)} are free"
        yield ok(f"GPU {place}", f"{gpu.name}, driver {gpu.driver}, {free}")
    yield used(asked.settings.device, len(there), torch)


def used(device: str, count: int, torch: Torch | None) -> Finding:
    """Whether torch sees the GPUs that there are."""
    bad = fail if device == "cuda" else warn
    if device == "cpu":
        return ok("GPU", f"{count} GPUs, none of which is used: the device is cpu")
    if torch is None:
        return fail("GPU", "torch is not installed", "pip install 'isogloss[serve]'")
    about = f"torch {torch.version} is built for {f'CUDA {torch.cuda}' if torch.cuda else 'CPUs'}"
    if torch.sees:
        return ok("GPU", f"{about} and sees the GPUs")
    if not count:
        said = "there is no NVIDIA GPU, or its driver is missing"
        remedy = "install NVIDIA's driver (in a container: --gpus all), or use --device auto"
        return fail("GPU", said, remedy) if device == "cuda" else ok("GPU", f"{said}; {about}")
    if torch.cuda is None:
        return bad("GPU", f"{about} and leaves {count} GPUs unused", "install torch's CUDA build")
    remedy = "install a newer driver, and see that CUDA_VISIBLE_DEVICES hides none"
    return bad("GPU", f"{about} and does not see the {count} GPUs", remedy)


def nvidia_gpus() -> list[Gpu]:
    """Those that the driver lists; none where there is no driver."""
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parsed(done.stdout) if done.returncode == 0 else []


def parsed(table: str) -> list[Gpu]:
    """GPUs out of nvidia-smi's table, whose sizes are MiB; `[N/A]` is nothing."""
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines()]
    sizes = [tuple(int(s) << 20 if s.isdigit() else 0 for s in row[2:4]) for row in rows]
    return [
        Gpu(row[0], row[1], *size)
        for row, size in zip(rows, sizes, strict=True)
        if len(row) == _QUERY.count(",") + 1
    ]


def torch_here() -> Torch | None:
    """What torch says; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return Torch(torch.__version__, torch.version.cuda, torch.cuda.is_available())
