"""The documentation's table of clients is what `make clients` installs."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT
from tests.some import some

NOT_CLIENTS = {"haystack-ai", "playwright", "axe-playwright-python"}
"""What a client stands on, and what opens the page."""
PINS = ("requirements.txt", "label_studio.txt")
"""Of both environments."""


def test_the_clients_of_the_table_are_those_that_are_run() -> None:
    page = (ROOT / "docs/reference/dialects.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", page, re.MULTILINE)
    asked = "\n".join((ROOT / "tests/clients" / n).read_text(encoding="utf-8") for n in PINS)
    pinned = re.findall(r"^([\w-]+)(?:\[\w+\])?==([\d.]+)$", asked, re.MULTILINE)
    used = {name: version for name, version in pinned if name not in NOT_CLIENTS}
    assert dict(some(told)) == used
    assert f"Haystack {dict(pinned)['haystack-ai']}" in page
