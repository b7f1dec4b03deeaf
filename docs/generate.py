"""Puts the site's pages together: what is written in `docs/`, and the reference out of the code.

    python -m docs.generate build/docs

leaves `build/docs/zensical.toml` and `build/docs/pages`, from which `make docs` builds the site.
Links from a page to a file outside of `docs/` bring that file along.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from docs.from_code import ROOT, openapi, reference_pages

DOCS = Path(__file__).parent
BESIDE = "repository"
"""Folder of the site that holds the linked files of the repository."""
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE_NOTE = re.compile(r"^(```\w+) [^\n]+$", re.MULTILINE)
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def main(out: Path) -> None:
    """Write all pages and the site's configuration into a folder, anew."""
    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    for name, text in {**written_pages(), **reference_pages()}.items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_text(text, encoding="utf-8")
    for name in linked_files():
        (pages / BESIDE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, pages / BESIDE / name)
    for folder in ("images", "examples"):
        shutil.copytree(DOCS / folder, pages / folder)
    (pages / "reference" / "openapi.json").write_text(json.dumps(openapi(), indent=2))
    shutil.copyfile(DOCS / "zensical.toml", out / "zensical.toml")


def written_pages() -> dict[str, str]:
    """Every page in `docs/`, and every Markdown file that one links to, as the site has it."""
    pages = {path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")}
    reached = pages | {name for name in _reached(pages) if name.endswith(".md")}
    return {in_site(name): _for_site(name) for name in sorted(reached)}


def linked_files() -> set[str]:
    """Files outside `docs/` that pages link to or show, as paths in the repository."""
    pages = {path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")}
    return {
        name
        for name in _reached(pages)
        if not name.endswith(".md") and not name.startswith("docs/") and (ROOT / name).is_file()
    }


def in_site(name: str) -> str:
    """Where the site has a file of the repository."""
    return name.removeprefix("docs/") if name.startswith("docs/") else f"{BESIDE}/{name}"


def links(name: str) -> Iterator[tuple[str, str]]:
    """Links of a Markdown file that stay in the repository: (path in the repository, anchor)."""
    text = _CODE.sub("", (ROOT / name).read_text(encoding="utf-8"))
    for _, target, anchor, _ in _LINK.findall(text):
        if not re.match(r"\w+:", target):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(name), target)), anchor[1:]
    for anchor in re.findall(r"\]\(#([^)\s]+)\)", text):
        yield name, anchor


def _reached(pages: Iterable[str]) -> set[str]:
    """All files that pages link to, and that linked Markdown files link to."""
    found: set[str] = set()
    waiting = list(pages)
    while waiting:
        for name, _ in links(waiting.pop()):
            if name not in found and (ROOT / name).exists():
                found.add(name)
                waiting += [name] if name.endswith(".md") else []
    return found


def _for_site(name: str) -> str:
    """A page's text: links follow the files, and folders are named without a link."""
    text = _FENCE_NOTE.sub(r"\1", (ROOT / name).read_text(encoding="utf-8"))
    here = posixpath.dirname(in_site(name))

    def moved(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        if re.match(r"\w+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        to = posixpath.relpath(in_site(path), here or ".")
        return f"{before}{to}{anchor or ''}{after}"

    text = re.sub(r"\[([^\]]*)\]\(([^)\s#]+)\)", lambda m: _folder(name, m) or m[0], text)
    return _LINK.sub(moved, text)


def _folder(name: str, match: re.Match[str]) -> str | None:
    """What stands for a link to a folder, which a site cannot show: its path."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
    return f"{match[1]} (`{path}`)" if (ROOT / path).is_dir() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
