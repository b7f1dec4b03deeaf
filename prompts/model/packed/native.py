"""Kernels of `kernels.cpp`, compiled for this very processor when they are first asked for.

What is compiled is kept in the user's cache folder, under a digest of the source, the compiler and
the processor. Without a compiler, or with ISOGLOSS_NATIVE=0, torch does the same in more passes
over memory, and answers are as good.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import cache_folder, unquoted

logger = logging.getLogger(__name__)

NATIVE_VARIABLE = "ISOGLOSS_NATIVE"
"""0: nothing is compiled, and torch does it all."""

_SOURCE = Path(__file__).with_name("kernels.cpp")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++20", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
_OPENMP = ("libgomp", "libiomp5", "libomp")
_COMPILES_WITHIN_S = 120
_OFF = frozenset({"0", "false", "no", "off"})


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there are none, which is logged once."""
    if unquoted(os.environ.get(NATIVE_VARIABLE, "")).lower() in _OFF:
        return None
    try:
        return _load()
    except (OSError, subprocess.SubprocessError) as problem:
        reason = _said(problem)
        logger.info("no kernels, and so torch alone, which takes longer: %s", reason)
        return None


def _load() -> ctypes.CDLL:
    """Compile unless it was done before, and load.

    Raises:
        OSError: there is no compiler or no OpenMP, or the cache folder cannot be written.
        SubprocessError: the compiler fails.
    """
    # The threads are torch's own: a second pool would fight with it for the cores.
    ctypes.CDLL(_openmp_of_torch(), mode=ctypes.RTLD_GLOBAL)
    command = _command()
    path = cache_folder() / "kernels" / f"{_digest(command)}.so"
    durable.create_folder(path.parent)
    _close_to_others(path.parent)
    if not path.exists():
        _compile(command, path)
    return ctypes.CDLL(str(path))


def _close_to_others(folder: Path) -> None:
    """See to it that nobody else can put code into the folder that this process would run.

    Raises:
        OSError: it is another user's, who may be anybody.
    """
    owner = folder.stat()
    if owner.st_uid == os.getuid():
        folder.chmod(0o700)
    elif owner.st_uid != 0 or owner.st_mode & 0o022:
        raise OSError(f"{folder} is another user's, and would be code to run; name another cache")


def _openmp_of_torch() -> str:
    """The OpenMP library in this process, which torch brought."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith(_OPENMP):
            return path
    raise OSError("torch runs without OpenMP here")


def _command() -> list[str]:
    for name in (os.environ.get("CXX", ""), *_COMPILERS):
        if name and (compiler := shutil.which(name)):
            is_x86 = platform.machine() in ("x86_64", "AMD64")
            return [compiler, *_FLAGS, "-march=native" if is_x86 else "-mcpu=native"]
    raise OSError("there is no C++ compiler (install g++)")


def _digest(command: list[str]) -> str:
    """Of all that the compiled code depends on."""
    version = subprocess.run(
        [command[0], "--version"], capture_output=True, check=True, timeout=_COMPILES_WITHIN_S
    ).stdout
    parts = [_SOURCE.read_bytes(), " ".join(command).encode(), version, processor_features()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def processor_features() -> bytes:
    """The line of the first core that tells what instructions it has; its name, where none does."""
    for line in Path("/proc/cpuinfo").read_bytes().splitlines():
        if line.lower().startswith((b"flags", b"features")):
            return line
    return platform.processor().encode()


def _compile(command: list[str], path: Path) -> None:
    """Make the file, whole or not at all: other processes may be at it too."""
    made = durable.temporary_name(path.parent)
    try:
        # Compiled and linked apart: linked with -fopenmp it would load an OpenMP of its own.
        _run([*command, "-c", str(_SOURCE), "-o", f"{made}.o"])
        _run([command[0], "-shared", f"{made}.o", "-o", str(made)])
        os.replace(made, path)
    finally:
        for left in (made, made.with_name(f"{made.name}.o")):
            left.unlink(missing_ok=True)


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, check=True, timeout=_COMPILES_WITHIN_S)


def _said(problem: Exception) -> str:
    """The first line of what went wrong."""
    stderr = getattr(problem, "stderr", None) or b""
    return (stderr.decode(errors="replace") or str(problem)).partition("\n")[0]


def run(name: str, *arguments: Tensor | int | float | None) -> None:
    """Call a kernel on as many threads as torch uses.

    Args:
        name: as in `kernels.cpp`, without `isogloss_`; the library is there.
        arguments: those after the threads. Tensors are dense and of the types that it takes; what
            is a whole number there is an int here.
    """
    kernel = getattr(library(), f"isogloss_{name}")
    kernel(ctypes.c_int64(torch.get_num_threads()), *map(_in_c, arguments))


def _in_c(argument: Tensor | int | float | None) -> Any:
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    return ctypes.c_void_p(None if argument is None else argument.data_ptr())
