"""Builds the sdist and, from it, the wheel, and tries the wheel as a user has it: `make wheel`.

The wheel goes into an environment of its own, with [serve] and whatever packages are named as
arguments beside it, and without setuptools. There it answers from a folder whose modules are named
like ours and raise on import.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import hostile_folder

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
TEXT = "Le match a fini sur un score nul."
HELD = (
    "isogloss/py.typed",
    "isogloss/prompts/data/languages.csv",
    "isogloss/prompts/pocket/pocket-bloom/config.json",
    "isogloss/prompts/pocket/pocket-xglm/model.safetensors",
    "isogloss/prompts/shipped/generations/",
    "isogloss/prompts/shipped/objects/",
    "isogloss/serving/data/detector.npz",
    "isogloss/training/study/report.html.jinja",
    "isogloss/training/study/published/table1.csv",
    "isogloss/prompts/data/pretraining_data.csv",
    "isogloss/serving/page/assets/index.html",
    "isogloss/training/tailor/report/report.html.jinja",
    "isogloss/deploy/serve.yaml",
    "isogloss/deploy/haproxy.env",
    "isogloss/deploy/kuberay/base/rayservice.yaml",
    "isogloss/deploy/grafana/isogloss.json",
    "isogloss/deploy/bench/http_load.lua",
)
"""Beginnings of the names of files that an installation cannot do without."""
LEFT_OUT = ("isogloss/training/recipes/", "isogloss/deploy/soak/", "isogloss/deploy/bench/results/")
NOT_NEEDED = ("datasets", "lang2vec", "scipy", "matplotlib", "setuptools", "peft", "pandas")
_START_S = 180


def main(besides: Sequence[str]) -> None:
    """Build, install and try; raises where something is wrong."""
    wheel = build()
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        install(environment, wheel, besides)
        check_imports(environment)
        answer_in_a_hostile_folder(environment, Path(folder) / "work")


def build() -> Path:
    """Make the sdist and the wheel of it, in `dist/`; returns the wheel."""
    print("==> building the sdist, and the wheel from it", flush=True)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,) = DIST.glob("*.whl")
    print(*(f"    {file.name}: {file.stat().st_size / 1e6:.1f} MB" for file in DIST.iterdir()))
    return wheel


def check_contents(wheel: Path) -> None:
    """Require one package with what it reads, and without how that was made."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"isogloss", f"isogloss-{wheel.name.split('-')[1]}.dist-info"}, tops
    missing = [held for held in HELD if not any(name.startswith(held) for name in names)]
    assert not missing, missing
    extra = [name for name in names if name.startswith(LEFT_OUT)]
    assert not extra, extra


def install(environment: Path, wheel: Path, besides: Sequence[str]) -> None:
    """Install the wheel with [serve] and without setuptools; says how long and how large."""
    print(f"==> installing it with {' '.join(['[serve]', *besides])}", flush=True)
    run(sys.executable, "-m", "venv", environment)
    python = str(environment / "bin" / "python")
    begun_s = time.monotonic()
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pinned = ["-c", str(ROOT / "constraints.txt")]
    run(*pip, "install", *pinned, f"{wheel}[serve]")
    took_s = time.monotonic() - begun_s
    count = len(list(environment.glob("lib/*/site-packages/*.dist-info")))
    size = sum(file.lstat().st_size for file in environment.rglob("*"))
    print(f"    {took_s:.0f} s, {count} packages, {size / 2**20:.0f} MiB", flush=True)
    if besides:
        run(*pip, "install", *pinned, *besides)
        run(*pip, "check")
    run(*pip, "uninstall", "--yes", "setuptools")  # which torch asks for, and does not use here


def check_imports(environment: Path) -> None:
    """Require that `import isogloss` is quick, and that nothing is there for training alone."""
    code = "import isogloss, sys; assert not {'torch', 'ray'} & set(sys.modules)"
    run(environment / "bin" / "python", "-c", code)
    code = "import sys, importlib.util as u; print(*filter(u.find_spec, sys.argv[1:]))"
    command = [str(environment / "bin" / "python"), "-c", code, *NOT_NEEDED]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert there == [], there


def answer_in_a_hostile_folder(environment: Path, folder: Path) -> None:
    """Require an answer of `classify` and one of `serve`, and nothing imported from there."""
    folder.mkdir()
    traps = hostile_folder.fill(folder)
    command = environment / "bin" / "isogloss"
    settings = {**os.environ, "ISOGLOSS_STORE": str(environment / "store")}
    print("==> isogloss classify, in a hostile folder", flush=True)
    classified = subprocess.run(
        [command, "classify", TEXT, "--json"],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        check=True,
    )
    here = json.loads(classified.stdout)["results"][0]
    print("==> isogloss serve, in a hostile folder", flush=True)
    with serving(command, folder, settings) as url:
        body = json.dumps({"inputs": TEXT}).encode()
        request = urllib.request.Request(
            f"{url}/v1/classify", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            there = json.load(answer)["results"][0]
    assert (here["label"], there["label"]) == ("sports", "sports")
    assert hostile_folder.imported(traps) == []


@contextlib.contextmanager
def serving(command: Path, folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """A server while open; yields its URL."""
    with subprocess.Popen(
        [command, "serve", "--port", "0"],
        cwd=folder,
        env=settings,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            said = []
            for line in server.stderr:  # ends where the server does
                said.append(line)
                if found := re.search(r"(ready after \d+ s): (http://\S+)", line):
                    print(f"    {found[1]}", flush=True)
                    yield found[2]
                    break
            else:
                raise AssertionError(f"the server did not start: {''.join(said)}")
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=_START_S)
    assert server.returncode == 0, server.returncode


def run(*command: str | Path) -> None:
    """Run a command that must succeed; what it says is shown only where it fails."""
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ran.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{ran.stdout}")


if __name__ == "__main__":
    main(sys.argv[1:])
