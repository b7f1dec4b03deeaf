"""The pages of the site: all are in its navigation, and the reference has what the code has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from docs import generate
from docs.from_code import ROOMS, commands, reference_pages
from isogloss.serving.config import ServingSettings
from tests.docs.blocks import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    generate.main(folder)
    return folder


def named(nav: Any) -> set[str]:
    """Pages in a navigation, at any depth."""
    if isinstance(nav, str):
        return {nav}
    children = nav.values() if isinstance(nav, dict) else nav
    return set().union(*map(named, children))


def test_every_page_is_in_the_navigation(site: Path) -> None:
    project = tomllib.loads((site / "zensical.toml").read_text(encoding="utf-8"))["project"]
    pages = {path.relative_to(site / "pages").as_posix() for path in site.rglob("*.md")}
    assert named(project["nav"]) <= pages
    beside = {page for page in pages if page.startswith(generate.BESIDE)}
    assert pages - beside <= named(project["nav"])


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    project = tomllib.loads((site / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert project["theme"]["font"] is False
    assert not {"extra_css", "extra_javascript"} & set(project)
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", "".join(generate.written_pages().values()))
    assert pictures
    assert not [picture for picture in pictures if "://" in picture]


def test_the_reference_has_all_commands_settings_and_rooms() -> None:
    pages = reference_pages()
    assert all(f"## {name}\n" in pages["reference/command-line.md"] for name in commands())
    settings = ServingSettings.model_fields
    assert all(f"| `{name}` |" in pages["reference/settings.md"] for name in settings)
    assert "## POST /v1/classify" in pages["reference/openapi.md"]
    assert all((ROOT / room / "__init__.py").is_file() for room in ROOMS)


def test_links_of_a_page_follow_its_files(site: Path) -> None:
    page = (site / "pages" / "measurements" / "engine.md").read_text(encoding="utf-8")
    assert "](../repository/deploy/bench/results/engine-cpu-2cores-batch.svg)" in page
    picture = generate.BESIDE + "/deploy/bench/results/engine-cpu-2cores-batch.svg"
    assert (site / "pages" / picture).is_file()
