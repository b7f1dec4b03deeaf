"""A stand-in for the hub: as much of its HTTP as its library needs to push and to pull a file."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sockets import served

TOKEN = "hf_for_tests"


@dataclass
class Hub:
    """Repositories, by name, and their files."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    private: list[bool] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def routes(self) -> list[Route]:
        return [
            Route("/api/repos/create", self._create, methods=["POST"]),
            Route("/api/validate-yaml", self._validate, methods=["POST"]),
            Route("/api/models/{repo:path}/preupload/{revision}", self._before, methods=["POST"]),
            Route("/api/models/{repo:path}/commit/{revision}", self._commit, methods=["POST"]),
            Route("/{repo:path}/resolve/{revision}/{file}", self._file, methods=["GET", "HEAD"]),
        ]

    async def _create(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "Invalid username or password."}, 401)
        told = await request.json()
        name = "/".join(filter(None, (told.get("organization"), told["name"])))
        self.private.append(bool(told.get("private")) or told.get("visibility") == "private")
        self.files.setdefault(name, {})
        return JSONResponse({"url": f"{self.url}/{name}", "name": name})

    async def _validate(self, request: Request) -> Response:
        return JSONResponse({"errors": [], "warnings": []})

    async def _before(self, request: Request) -> Response:
        told = await request.json()
        files = [
            {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
            for each in told["files"]
        ]
        return JSONResponse({"files": files})

    async def _commit(self, request: Request) -> Response:
        repo = request.path_params["repo"]
        for line in (await request.body()).splitlines():
            entry = json.loads(line)
            if entry["key"] == "header":
                self.messages.append(entry["value"]["summary"])
            elif entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                self.files[repo][entry["value"]["path"]] = content
        oid = self._commit_of(repo)
        url = f"{self.url}/{repo}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})

    def _commit_of(self, repo: str) -> str:
        return hashlib.sha1(repr(self.files[repo]).encode()).hexdigest()

    async def _file(self, request: Request) -> Response:
        repo, file = request.path_params["repo"], request.path_params["file"]
        self.asked.append(request.path_params["revision"])
        if repo not in self.files:
            return Response(status_code=404, headers={"x-error-code": "RepoNotFound"})
        if file not in self.files[repo]:
            return Response(status_code=404, headers={"x-error-code": "EntryNotFound"})
        content = self.files[repo][file]
        headers = {
            "etag": f'"{hashlib.sha1(content).hexdigest()}"',
            "x-repo-commit": self._commit_of(repo),
        }
        if request.method == "HEAD":
            headers["content-length"] = str(len(content))
            return Response(headers=headers)
        return Response(content, headers=headers)


@contextlib.contextmanager
def hub() -> Iterator[Hub]:
    """A hub while open."""
    made = Hub()
    with served(uvicorn.Config(Starlette(routes=made.routes()), log_config=None)) as url:
        made.url = url
        yield made
