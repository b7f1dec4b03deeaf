"""What can be said of deploy/Dockerfile without building it."""

import fnmatch
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of each line, continuations joined, comments left out."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(word, rest.strip()) for word, _, rest in pairs]


def stages(instructions: list[tuple[str, str]]) -> dict[str, str]:
    """Stage -> what it starts from, in order."""
    found = {}
    for word, rest in instructions:
        if word == "FROM":
            base, _, stage = rest.partition(" AS ")
            found[stage] = base
    return found


def test_every_instruction_is_one(instructions: list[tuple[str, str]]) -> None:
    known = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE"}
    assert {word for word, _ in instructions} == known | {"HEALTHCHECK", "CMD"}


def test_stages_build_on_what_was_there_before(instructions: list[tuple[str, str]]) -> None:
    assert stages(instructions) == {
        "dependencies": "python:${PYTHON}-slim",
        "build": "dependencies",
        "isogloss": "python:${PYTHON}-slim",
    }


def test_copied_paths_exist_and_enter_the_context(instructions: list[tuple[str, str]]) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    copies = [rest.split() for word, rest in instructions if word == "COPY"]
    sources = [path for copy in copies if copy[0] != "--from=build" for path in copy[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), source
    assert sorted(sources) == sorted(allowed)


def test_every_package_is_copied(instructions: list[tuple[str, str]]) -> None:
    """`src/isogloss` links to the packages, which are where the links lead."""
    linked = {path.resolve() for path in (ROOT / "src" / "isogloss").iterdir() if path.is_symlink()}
    packages = {path.relative_to(ROOT).as_posix() for path in linked}
    assert packages == {"prompts", "training", "serving", "deploy"}
    copied = {rest.split()[0] for word, rest in instructions if word == "COPY"}
    assert packages | {"src"} <= copied


def test_it_runs_the_server_as_nobody_special(instructions: list[tuple[str, str]]) -> None:
    last = dict(instructions)  # of each instruction the last one, which is in the last stage
    assert last["USER"] == "1000:1000"
    assert any("useradd --uid 1000" in rest for word, rest in instructions if word == "RUN")
    assert last["CMD"] == '["isogloss", "serve", "--host", "0.0.0.0"]'  # ISOGLOSS_PORT is heeded
    assert last["EXPOSE"] == "8000"
    where = "http://127.0.0.1:${ISOGLOSS_PORT:-${AIP_HTTP_PORT:-8000}}/health"
    assert last["HEALTHCHECK"].rstrip('"').endswith(where)
    assert not any("TOKEN" in rest for word, rest in instructions if word in ("ENV", "ARG"))


def test_the_python_is_one_that_the_project_supports(instructions: list[tuple[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = next(rest for word, rest in instructions if rest.startswith("PYTHON="))
    assert project["requires-python"] == ">=" + python.removeprefix("PYTHON=")


@pytest.mark.parametrize("extras", [None, "serve,s3,otel"])
def test_it_installs_what_a_server_needs_at_pinned_versions(
    extras: str | None, instructions: list[tuple[str, str]]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (default,) = (rest for word, rest in instructions if word == "ARG" and "EXTRAS=" in rest)
    extras = extras or default.removeprefix("EXTRAS=")
    runs = [rest for word, rest in instructions if word == "RUN"]
    (listing,) = (rest for rest in runs if rest.endswith(" > /requirements.txt"))
    listed = subprocess.run(
        ["sh", "-c", listing.removesuffix(" > /requirements.txt")],
        cwd=ROOT,
        env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "EXTRAS": extras},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    wanted = [*project["dependencies"]]
    for extra in extras.split(","):
        wanted += project["optional-dependencies"][extra]
    assert listed == wanted
    assert any(name.startswith("ray[serve]") for name in listed)
    assert any("pip install -c constraints.txt -r /requirements.txt" in rest for rest in runs)
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert sum(pin.startswith("torch==") for pin in pins) == 1  # which the CPU build is asked by
