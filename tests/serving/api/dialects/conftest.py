from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.api.dialects.two_tasks import server_of
from tests.serving.api_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return server_of(tmp_path)
