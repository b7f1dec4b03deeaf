"""Clients run against a server that somebody else started: see `tests/clients/run.py`."""

from __future__ import annotations

import os

import pytest

if "ISOGLOSS_URL" not in os.environ:
    collect_ignore_glob = ["client_*.py", "browser_*.py"]


@pytest.fixture(scope="session")
def url() -> str:
    """Where the server answers, without a slash at its end."""
    return os.environ["ISOGLOSS_URL"].rstrip("/")
