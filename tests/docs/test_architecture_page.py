"""The architecture page names every room of the house, and no other."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import ROOT
from tests.some import some

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("prompts", "training", "serving", "deploy")


@pytest.mark.parametrize("package", PACKAGES)
def test_each_room_has_one_paragraph(package: str) -> None:
    folders = {path.parent for path in some(list((ROOT / package).rglob("*.py")))}
    rooms = {folder.relative_to(ROOT / package).as_posix() for folder in folders} - {"."}
    section = PAGE.partition(f"## Rooms of `{package}`\n")[2].partition("\n## ")[0]
    named = re.findall(r"^- \*\*`([\w/]+)`\*\*: .{20}", section, re.MULTILINE)
    assert sorted(named) == sorted(rooms)
