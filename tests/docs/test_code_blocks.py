"""The documentation's blocks are run, page after page, as a reader would: the tutorial first.

All pages share one folder, one store and one real server, which the tutorial starts. A block that
cannot run here says why on its fence (`not-run`), and `test_blocks_hold.py` checks its commands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

TUTORIAL = "docs/tutorial.md"
PATIENCE_S = 600
"""For a block that takes seconds on an idle machine."""
_URL = "http://127.0.0.1:8000"


class Reader:
    """Somebody who types what the pages say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.server: subprocess.Popen[str] | None = None
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ISOGLOSS_STORE": str(folder / "store"),
            "ISOGLOSS_ADMIN_TOKEN": "token",
        }

    def read(self, page: str) -> list[Block]:
        """Run a page's blocks in order; returns those that ran."""
        said, ran = "", []
        for block in blocks(page):
            if block.not_run is None:
                said = self._run(block, said)
                ran.append(block)
        return ran

    def _run(self, block: Block, said: str) -> str:
        """Run one block, or compare it with what the one before it said; returns what it says."""
        if block.language == "json":
            assert_told(json.loads(block.text), json.loads(said), str(block))
        elif block.language == "text" and said:
            assert said.strip() == block.text.strip(), str(block)
        elif block.run == "server":
            self._serve(block.text)
        elif block.language == "python":
            return self._call(block, [sys.executable, "-c", block.text])
        elif block.language == "sh":
            return self._call(block, ["bash", "-euo", "pipefail", "-c", self._here(block.text)])
        return ""

    def _here(self, text: str) -> str:
        text = text.replace(_URL, self.url)
        return re.sub(r"^isogloss trials", f"isogloss trials --url {self.url}", text, flags=re.M)

    def _call(self, block: Block, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _serve(self, text: str) -> None:
        script = text.replace("$(openssl rand -hex 32)", "token")
        script = script.replace(
            "isogloss serve", "exec isogloss serve --port 0 --device cpu --budget-tokens 4096"
        )
        self.server = subprocess.Popen(
            ["bash", "-euc", script], cwd=self.folder, env=self.environment,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.server.stderr is not None
        said = []
        for line in self.server.stderr:
            said.append(line)
            if found := re.search(r"ready after \d+ s: (http://\S+)", line):
                self.url = self.environment["ISOGLOSS_URL"] = found[1]
                return
        pytest.fail(f"the server did not start: {''.join(said)}")


def assert_told(printed: Any, real: Any, where: str) -> None:
    """What a page prints of an answer is in it; scores differ a little between processors."""
    if isinstance(printed, dict):
        assert printed.keys() <= real.keys(), where
        for name in printed.keys() - {"generation"}:
            assert_told(printed[name], real[name], f"{where}: {name}")
    elif isinstance(printed, list):
        assert len(printed) == len(real), where
        for one, other in zip(printed, real, strict=True):
            assert_told(one, other, where)
    elif isinstance(printed, float):
        assert real == pytest.approx(printed, abs=0.05), where
    else:
        assert real == printed, where


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader who has done the tutorial, with its server still running."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(ROOT / "docs" / "examples" / "tickets.csv", folder)
    reader = Reader(folder)
    try:
        assert reader.read(TUTORIAL)
        yield reader
    finally:
        if reader.server is not None:
            reader.server.send_signal(signal.SIGINT)
            reader.server.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("page", [p for p in PAGES if p != TUTORIAL and blocks(p)])
def test_blocks_run(reader: Reader, page: str) -> None:
    runnable = [block for block in blocks(page) if block.not_run is None]
    assert reader.read(page) == runnable
