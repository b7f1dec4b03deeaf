"""The page's files: who gets them, and that they ask nobody else for anything."""

from __future__ import annotations

import re

import pytest

from isogloss.serving.page.routes import _files
from tests.serving.api_server import Server
from tests.some import some

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_browsers_get_the_page_and_programs_are_told_where_it_is(server: Server) -> None:
    async with server.client() as client:
        page = await client.get("/", headers=BROWSER)
        assert page.headers["content-type"].startswith("text/html")
        assert "<title>Isogloss</title>" in page.text
        assert (await client.get("/")).json()["docs"] == "/docs"
        assert (await client.post("/", json={"inputs": "a"})).status_code == 200


async def test_the_policy_lets_nothing_in_from_elsewhere(server: Server) -> None:
    async with server.client() as client:
        policy = (await client.get("/", headers=BROWSER)).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert not re.search(r"https?:|\*", policy)


async def test_every_file_that_the_page_names_is_there(server: Server) -> None:
    async with server.client() as client:
        page = await client.get("/", headers=BROWSER)
        named = re.findall(r'(?:href|src)="(page/[\w.]+)"', page.text)
        scripts = [content for name, (content, _) in _files().items() if name.endswith(".js")]
        imported = re.findall(rb'from "\./([\w.]+)"', b"".join(scripts))
        for path in some({*named, *(f"page/{name.decode()}" for name in imported)}):
            answer = await client.get(f"/{path}")
            assert answer.status_code == 200, path
            again = await client.get(f"/{path}", headers={"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2froutes.py", "routes.py", "%00"])
async def test_no_other_file_is_given_out(server: Server, name: str) -> None:
    async with server.client() as client:
        assert (await client.get(f"/page/{name}")).status_code == 404


def test_the_files_name_no_other_server_and_write_no_html() -> None:
    for name, (content, _) in some(_files().items()):
        text = content.decode()
        foreign = [url for url in re.findall(r"https?://[^\s\"')]+", text) if "w3.org" not in url]
        assert not foreign, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text), (
            name
        )
        assert not re.search(r"\bstyle=|\bon\w+=\"", text), name


async def test_the_apis_pages_come_from_this_server(server: Server) -> None:
    async with server.client() as client:
        for path in ("/docs", "/redoc"):
            page = await client.get(path)
            assert page.status_code == 200
            for url in some(re.findall(r'(?:src|href)="([^"]+)"', page.text)):
                assert not url.startswith("http"), url
                found = await client.get(f"/{url.lstrip('/')}")
                assert found.status_code == 200, url
