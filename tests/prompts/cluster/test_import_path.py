"""What the processes that we start may import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isogloss.prompts.cluster import import_path
from isogloss.prompts.cluster.import_path import safe_variables
from tests import hostile_folder

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (None, ""),
        ("", ""),
        (":", ""),
        (".", ""),
        (":/opt/lib", "/opt/lib"),
        ("/opt/lib:", "/opt/lib"),
        ("/a::/b", "/a:/b"),
        ("lib:/a:./b:../c", "/a"),
    ],
)
def test_the_working_folder_is_no_part_of_the_path(given: str | None, left: str) -> None:
    found = safe_variables({} if given is None else {"PYTHONPATH": given})
    assert found["PYTHONPATH"] == left
    assert found["PYTHONSAFEPATH"] == "1"
    assert found["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"


def test_a_module_of_ours_starts_in_a_hostile_folder(tmp_path: Path) -> None:
    marker = hostile_folder.fill(tmp_path)
    environment = {**os.environ, **safe_variables({"PYTHONPATH": ":"})}
    command = [sys.executable, "-m", "isogloss.deploy.cli", "--version"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert hostile_folder.imported(marker) == []


@pytest.mark.parametrize("entry", ["", "."])
def test_the_command_leaves_the_working_folder(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry, str(tmp_path), "/opt/lib", str(ROOT)])
    import_path.leave_working_folder()
    assert sys.path == ["/opt/lib", str(ROOT)]


def test_the_command_runs_where_it_is_imported_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "isogloss").symlink_to(ROOT / "src" / "isogloss")
    command = [sys.executable, "-S", "-c", _FROM_HERE, *filter(None, sys.path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [str(tmp_path / "isogloss"), "False"]


_FROM_HERE = """
import sys
sys.path += [each for each in sys.argv[1:] if not each.endswith("/src")]
from isogloss.prompts.cluster import import_path
import_path.leave_working_folder()
import isogloss
import isogloss.prompts.cluster.signals
print(isogloss.__path__[0])
print("" in sys.path)
"""


def test_workers_get_none_of_the_drivers_folders() -> None:
    import ray.job_config

    config = import_path.job_config()
    assert isinstance(config, ray.job_config.JobConfig)
    assert config._runtime_env_has_working_dir()  # type: ignore[no-untyped-call]
    assert config._py_driver_sys_path == []
