"""What clients of a server and of a store do works where PyTorch is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.prompts import samples

_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from isogloss.deploy.cli import main
main()
"""
OF_EXTRAS = {"torch", "transformers", "tokenizers", "ray", "fastapi", "starlette", "uvicorn"}
OF_EXTRAS |= {"prometheus_client", "datasets", "scipy", "matplotlib", "jinja2", "lang2vec", "peft"}
OF_EXTRAS |= {"s3fs", "opentelemetry", "requests", "fasttext", "py3langid", "setuptools"}


def isogloss(
    *arguments: str | Path, folder: Path | None = None, missing: set[str] = OF_EXTRAS
) -> subprocess.CompletedProcess[str]:
    """Run the command where some packages are not installed."""
    command = [sys.executable, "-c", _WITHOUT.format(missing=missing), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_package_alone_imports_neither_torch_nor_ray() -> None:
    heavy_ones = "{'torch', 'ray'} & set(sys.modules)"
    code = f"import isogloss, sys; print(isogloss.__version__, *({heavy_ones}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, *heavy = ran.stdout.split()
    assert version[0].isdigit()
    assert heavy == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["serve", "--help"]])
def test_help_needs_nothing_else(arguments: list[str]) -> None:
    ran = isogloss(*arguments)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_store_is_published_to_and_read(tmp_path: Path) -> None:
    store, file = tmp_path / "store", tmp_path / "mine.safetensors"
    prompt = samples.prompt(3)
    prompt.save(file)
    commands: list[list[str | Path]] = [
        ["publish", file, "--name", "mine", "--store", store],
        ["publish", file, "--name", "other", "--store", store],
        ["list", "--store", store],
        ["list", "--history", "--store", store],
        ["show", "mine", "--store", store],
        ["verify", "--store", store],
        ["rollback", "--store", store],
    ]
    for arguments in commands:
        ran = isogloss("prompts", *arguments)
        assert (ran.returncode, ran.stderr) == (0, ""), arguments


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["serve"], "torch", "serve"),
        (["classify", "Bonjour."], "torch", "serve"),
        (["serve"], "ray", "serve"),
        (["train", "--data", "none", "--out", "x"], "torch", "train"),
        (["study", "--out", "x"], "torch", "study"),
        (["bench", "engine"], "torch", "bench"),
    ],
)
def test_a_command_says_which_extra_it_needs(
    arguments: list[str], package: str, extra: str, tmp_path: Path
) -> None:
    ran = isogloss(*arguments, missing={package}, folder=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1] == (
        f"error: this command needs {package}, which is not installed; "
        f"run pip install 'isogloss[{extra}]'"
    )


def test_a_module_of_ours_that_is_missing_is_no_matter_of_extras(tmp_path: Path) -> None:
    ran = isogloss("classify", "x", missing={"isogloss.serving.config"}, folder=tmp_path)
    assert ran.returncode == 1
    assert "ModuleNotFoundError" in ran.stderr
    assert "pip install" not in ran.stderr
