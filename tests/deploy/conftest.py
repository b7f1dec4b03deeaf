"""What the tests of KubeRay's manifests look at."""

from __future__ import annotations

import pytest

from tests.deploy.kustomized import KUBERAY, Manifest, rendered, written


@pytest.fixture(scope="module")
def base() -> dict[str, Manifest]:
    """The base as it is written."""
    return written()


@pytest.fixture(scope="module")
def example() -> list[Manifest]:
    """The example as it is rendered; skips where there is no kubectl."""
    return rendered(KUBERAY / "example")
