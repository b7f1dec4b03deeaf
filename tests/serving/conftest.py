"""What the tests of the server share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from isogloss.serving.telemetry.logs import work_on
from tests.serving.api_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture
def own_loggers() -> Iterator[None]:
    """This project's logger may be configured; afterwards it is as it was before."""
    logger = logging.getLogger("isogloss")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
    work_on("")
