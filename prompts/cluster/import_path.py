"""What the processes we start may import: what is installed, and nothing from the working folder.

Ray puts the driver's working folder, and the command's own, first on every worker's path. There a
file that is named like one of our modules, or like anybody's, would be run instead of it: by
accident in a project that has a `ray.py` or an `isogloss/`, on purpose in a folder that others can
write to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any


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


def leave_working_folder() -> None:
    """Import nothing more from the working folder in this process.

    Where `isogloss` itself was imported from there, its own modules are still found: a package
    keeps the path of its folder.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was removed meanwhile, and holds nothing
        return
    sys.path[:] = [each for each in sys.path if os.path.realpath(each) != here]


def job_config() -> Any:
    """Ray's settings of a job whose workers get none of the driver's folders on their path."""
    from ray.job_config import JobConfig

    class NoDriverFolders(JobConfig):
        """Ray asks this question, and nothing else, before it adds the driver's folders."""

        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return NoDriverFolders(_py_driver_sys_path=[])
