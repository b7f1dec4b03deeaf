"""What the processes we start may import: what is installed, and never what lies in a folder.

Ray puts the driver's working folder, and the command's own, first on every worker's path. There a
file named as one of our modules, or as anybody's, would be run instead of it: by accident in a
project that has a `prompts.py`, on purpose in a folder that others can write to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import isogloss

_INSTALLED = ("site-packages", "dist-packages")


def checkout() -> Path | None:
    """Return the folder that `isogloss` is imported from; None where it is installed."""
    root = Path(isogloss.__file__).parents[1]
    return None if root.name in _INSTALLED else root


def safe_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep Python, and Ray under `uv run`, from the working folder.

    An entry of PYTHONPATH that is relative, or empty as after a stray colon, means it too.
    """
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    return {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(each for each in given if os.path.isabs(each)),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def variables_of_a_module(environment: Mapping[str, str]) -> dict[str, str]:
    """The same for `python -m` of a module of ours, which in a checkout is not installed."""
    safe = safe_variables(environment)
    root = [str(root)] if (root := checkout()) else []
    return {**safe, "PYTHONPATH": os.pathsep.join([*root, *filter(None, [safe["PYTHONPATH"]])])}


def leave_working_folder() -> None:
    """Import nothing more from the working folder in this process, unless it is our checkout."""
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was removed meanwhile, and holds nothing
        return
    if str(checkout()) != here:
        sys.path[:] = [each for each in sys.path if os.path.realpath(each) != here]


def job_config() -> Any:
    """Ray's settings of a job whose workers get none of the driver's folders on their path."""
    from ray.job_config import JobConfig

    class OwnCodeOnly(JobConfig):
        """Ray asks this question, and nothing else, before it adds the driver's folders."""

        def _runtime_env_has_working_dir(self) -> bool:
            return True

    root = checkout()
    return OwnCodeOnly(_py_driver_sys_path=[str(root)] if root else [])
