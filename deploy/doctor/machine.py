"""Python, system, cores, memory, disks, shared memory and open files."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from isogloss.deploy.doctor import limits
from isogloss.deploy.doctor.finding import GIB, Asked, Finding, fail, gib, ok, warn
from isogloss.prompts.files.given_paths import cache_folder
from isogloss.prompts.store.filesystems import address_of
from isogloss.prompts.store.seed import default_store_path

OLDEST_PYTHON = (3, 11)
LITTLE_MEMORY = 2 * GIB
LITTLE_DISK = GIB
LITTLE_SHARED = 256 << 20
FEW_FILES = 4096
SHARED_MEMORY = Path("/dev/shm")


def python(asked: Asked) -> Finding:
    """Python and the system."""
    said = f"Python {platform.python_version()} on {platform.platform()}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fail("python", said, "install Python 3.11 or newer")
    if sys.platform != "linux":
        return warn("python", said, "serve on Linux; other systems are not tested")
    return ok("python", said)


def cores(asked: Asked) -> Finding:
    """Cores, against the threads of all replicas."""
    there, settings = limits.cores(), asked.settings
    wanted = (settings.threads or 1) * (settings.replicas or 1) * len(settings.models)
    said = f"{there:g} cores for {wanted} threads at least"
    if wanted > max(1.0, there):
        return warn("cores", said, "ask for fewer replicas or threads, or for more cores")
    return ok("cores", said)


def memory(asked: Asked) -> Finding:
    """Memory, which a model is weighed against in its own check."""
    total, free = limits.memory_bytes()
    said = f"{gib(free)} of {gib(total)} memory are free"
    if free < LITTLE_MEMORY:
        remedy = f"free memory or raise the container's limit to have {gib(LITTLE_MEMORY)}"
        return warn("memory", f"{said}: a server with a small model takes about as much", remedy)
    return ok("memory", said)


def disks(asked: Asked) -> Iterator[Finding]:
    """Free space where the store and the cache lie."""
    store = asked.settings.store or default_store_path()
    places = {"disk of the cache": cache_folder()}
    if address_of(store) is None:
        places["disk of the store"] = Path(str(store).removeprefix("file://"))
    for name, path in places.items():
        free = shutil.disk_usage(there(path)).free
        said = f"{gib(free)} are free at {path}"
        remedy = f"make room there, or choose another place: {gib(LITTLE_DISK)} should be free"
        yield ok(name, said) if free >= LITTLE_DISK else warn(name, said, remedy)


def shared_memory(asked: Asked) -> Finding:
    """What Ray keeps its objects in."""
    if not SHARED_MEMORY.is_dir():
        return warn("shared memory", f"there is no {SHARED_MEMORY}", "mount a tmpfs there for Ray")
    free = shutil.disk_usage(SHARED_MEMORY).free
    said = f"{gib(free)} are free in {SHARED_MEMORY}"
    if free < LITTLE_SHARED:
        return warn("shared memory", f"{said}, too little for Ray", "docker run --shm-size 1g")
    return ok("shared memory", said)


def open_files(asked: Asked) -> Finding:
    """How many connections and files a process may have; Ray raises the soft limit itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = float("inf") if hard == resource.RLIM_INFINITY else hard
    said = f"{soft} open files, at most {most:g}"
    if most < FEW_FILES:
        return warn("open files", f"{said}: too few for many clients", "ulimit -n 65536")
    return ok("open files", said)


def there(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next((each for each in (path, *path.absolute().parents) if each.exists()), Path("/"))
