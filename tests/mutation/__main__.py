"""Put a sample of faults into the code and run each one's own tests: which are noticed?

Works on copies of the checkout. With `--package`, a fault that its own tests do not notice is tried
again with all tests of its package.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import typer
from rich.progress import Progress

from tests.mutation.operators import Mutant, mutants
from tests.mutation.own_tests import Imports

ROOT = Path(__file__).parents[2]
PACKAGES = ("serving", "prompts")
_CHECKOUT = ("prompts", "training", "serving", "deploy", "src", "tests")
_FILES = ("pyproject.toml", "constraints.txt", "README.md", "Makefile")
_TIMEOUT_S = 600
_NO_TESTS = 5


@dataclass(frozen=True)
class Fault:
    """Where a fault is, and whether a test noticed it."""

    file: str
    line: int
    what: str
    noticed_by: str
    """`own`, `package`, or nothing."""


def main(
    sample: Annotated[int, typer.Option(min=1, help="How many faults to try.")] = 150,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = (
        os.cpu_count() or 1
    ),
    out: Annotated[Path | None, typer.Option(help="JSON file for all of them.")] = None,
    package: Annotated[bool, typer.Option(help="Then all tests of its package.")] = False,
    least: Annotated[float, typer.Option(min=0, max=1, help="Share that must be noticed.")] = 0.85,
) -> None:
    """Try a sample of faults; exits with 1 where too few are noticed."""
    chosen = _chosen(sample, seed)
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            copies.put(_copy(Path(folder) / str(number) / "checkout"))
        task = progress.add_task("faults", total=len(chosen))

        def attempt(place: tuple[Path, Mutant]) -> Fault:
            copy = copies.get()
            try:
                fault = _try(copy, *place, package=package)
            finally:
                copies.put(copy)
            progress.advance(task)
            if not fault.noticed_by:
                progress.print(f"{fault.file}:{fault.line}: {fault.what}", markup=False)
            return fault

        with ThreadPoolExecutor(workers) as pool:
            faults = list(pool.map(attempt, chosen))
    noticed = sum(bool(fault.noticed_by) for fault in faults)
    typer.echo(f"{noticed} of {len(faults)} faults were noticed ({noticed / len(faults):.0%})")
    if out is not None:
        out.write_text(json.dumps([asdict(fault) for fault in faults], indent=1) + "\n")
    raise typer.Exit(noticed < least * len(faults))


def _chosen(sample: int, seed: int) -> list[tuple[Path, Mutant]]:
    """Faults drawn from all of both packages, each as likely as any other."""
    files = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
    everything = [(path, each) for path in files for each in mutants(path.read_text("utf-8"))]
    return random.Random(seed).sample(everything, min(sample, len(everything)))


def _copy(folder: Path) -> Path:
    """A checkout to break; the data beside the project is beside it too."""
    folder.mkdir(parents=True)
    for name in _CHECKOUT:  # src/isogloss links to the others
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in _FILES:
        shutil.copy(ROOT / name, folder / name)
    if (shared := ROOT.parent / "shared").is_dir():
        (folder.parent / "shared").symlink_to(shared.resolve())
    return folder


def _try(copy: Path, path: Path, mutant: Mutant, *, package: bool) -> Fault:
    name = path.relative_to(ROOT)
    whole = (copy / name).read_bytes()
    tests = {"own": Imports(copy, _CHECKOUT[:4]).tests_of(copy / name)}
    if package:
        tests["package"] = [copy / "tests" / name.parts[0]]
    try:
        (copy / name).write_text(mutant.source, encoding="utf-8")
        noticed_by = next((kind for kind, files in tests.items() if _fails(copy, files)), "")
    finally:
        (copy / name).write_bytes(whole)
    return Fault(name.as_posix(), mutant.line, mutant.what, noticed_by)


def _fails(copy: Path, tests: Sequence[Path]) -> bool:
    """Whether a test of these fails, or does not end."""
    if not tests:
        return False
    options = ["-n", "0", "-x", "-q", "-m", "not ray and not soak", "-p", "no:cacheprovider"]
    command = [sys.executable, "-B", "-m", "pytest", *options, *map(str, tests)]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy / "src")},
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode not in (0, _NO_TESTS)


if __name__ == "__main__":
    typer.run(main)
