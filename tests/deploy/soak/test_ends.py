"""What the ends of a server are done to: processes by the names that they have."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from isogloss.deploy.soak.ends import BLOWS, HAPROXY_ACTOR
from isogloss.prompts.errors import Unavailable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from isogloss.serving.ray.hooks.haproxy_actor import SupervisedHAProxy


def test_the_actor_is_killed_by_the_name_that_it_has() -> None:
    assert f"ray::{SupervisedHAProxy.__name__}" == HAPROXY_ACTOR


@pytest.mark.parametrize("blow", ["SIGKILL of the raylet", "SIGKILL of HAProxy's actor"])
def test_a_part_that_is_not_there_is_an_error(blow: str) -> None:
    server: Any = SimpleNamespace(mark="no process bears this mark")
    with pytest.raises(Unavailable, match="has no process"):
        BLOWS[blow](server)
