"""What tests of training share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray on this machine; jobs use the connection that their process has."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        warnings.simplefilter("ignore")
        import ray

        ray.init(
            address="local",
            num_cpus=4,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
        )
        yield ray
        ray.shutdown()
