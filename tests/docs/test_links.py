"""Links within the repository lead somewhere, also to the right heading."""

from __future__ import annotations

import re
import subprocess

import pytest

from docs.from_code import reference_pages
from docs.generate import in_site, links
from tests.docs.blocks import ROOT
from tests.some import some

MARKDOWN = sorted(
    subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()
)  # fmt: skip


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return reference_pages()


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    bare = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in found)
    return {re.sub(r"[ ]", "-", heading.strip()) for heading in bare}


def test_links_lead_somewhere(generated: dict[str, str]) -> None:
    for name, target, anchor in some([(n, *link) for n in MARKDOWN for link in links(n)]):
        made = generated.get(in_site(target))
        assert made or (ROOT / target).exists(), f"{name} links to {target}"
        if anchor:
            text = made or (ROOT / target).read_text(encoding="utf-8")
            assert anchor in anchors(text), f"{name} links to {target}#{anchor}"
