"""Names from a URL or a body can never leave the store, in whatever disguise they come."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.routing.routes import check_name, parse_reference
from tests.fakes import soft_prompt
from tests.serving.api_server import ADMIN, Server

OUTSIDE = "nobody's business"
NAMES: tuple[str, ...] = (
    "..", "../..", "..%2f", "..%2F..%2Fsecret", "..%252f..%252fsecret", "%2e%2e%2fsecret",
    "%2e%2e/secret", "..%5c..%5csecret", "..\\..\\secret", "....//secret", "..;/secret",
    "..%c0%afsecret", "..%c1%9csecret", "%uff0e%uff0e%u2215secret", "..%ef%bc%8fsecret", "%00",
    "romance%00", "romance%00.safetensors", "secret%00romance", "romance%0a", "%0d%0aset-x:1",
    "%2fetc%2fpasswd", "%2fproc%2fself%2fenviron", "C:%5cwindows", "file:%2f%2f%2fetc%2fpasswd",
    "s3:%2f%2fbucket%2fkey", "objects%2f..%2fgenerations%2f00000001.json", "%2e", "%2e%2e", ".",
    "-", "~", "~root", "$HOME", "%24%7bHOME%7d", "romance%2f..%2fcongo", "romance@..%2f1",
    "romance@-1", "romance@0", "romance@01", "romance@1@1", "romance@%00", "romance@" + "9" * 400,
    "@", "@1", "ROMANCE", "romance%20", "%20romance", "r%c3%b6mance", "%f0%9f%92%a9", "%ed%a0%80",
    "%ff%fe", "rom\u0430nce", "\u202eromance", "\uff0e\uff0e", "CON", "x" * 65, "x" * 5000,
    "a" * 20_000, "%" * 50, "%zz", "'%20or%201=1--", "<script>", "{{7*7}}", "*", "?", "romance*",
)  # fmt: skip
PIECES = (
    "..", "/", "%2f", "%2F", "%252f", "%5c", "\\", "%00", "%2e", ".", "romance", "secret", "@", "1",
    "%c0%af", "%ef%bc%8f", "objects", "tmp", "~", ";", "%0a", "\u2215", "A", "%",
)  # fmt: skip
STATUSES = {307, 400, 404, 405, 413, 422}


def disguises(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 7))) for _ in range(count)]


async def ask_everywhere(client: httpx.AsyncClient, name: str, data: bytes) -> None:
    """Name something in every place that takes a name."""
    # The client would take literal dots for the way up, and never send them.
    url = f"/v1/prompts/{quote(unquote(name), safe='').replace('.', '%2e')}"
    for answer in (
        await client.get(url),
        await client.get(f"{url}/file"),
        await client.put(url, content=data, headers=ADMIN),
        await client.post("/v1/classify", json={"inputs": "a", "prompt": name}),
        await client.post("/v1/classify", json={"inputs": "a", "prompt": unquote(name)}),
    ):
        assert answer.status_code in STATUSES or is_reference(unquote(name)), (name, answer.text)
        assert OUTSIDE.encode() not in answer.content
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "error_type"}
            assert len(answer.content) < 1_000


def is_reference(name: str) -> bool:
    try:
        parse_reference(name)
    except IsoglossError:
        return False
    return True


def everything(folder: Path) -> dict[str, bytes]:
    """What every file below a folder holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def guarded(tmp_path: Path) -> Server:
    """A store with something beside it, and in it, that nobody may read or replace."""
    guarded = Server(tmp_path / "inner")
    for folder in (tmp_path, tmp_path / "inner", guarded.store.root):
        (folder / "secret").write_text(OUTSIDE)
        (folder / "secret.safetensors").write_text(OUTSIDE)
    return guarded


def test_no_name_leaves_the_store(guarded: Server, tmp_path: Path) -> None:
    before = everything(tmp_path)

    async def scenario(client: httpx.AsyncClient) -> None:
        for name in NAMES:
            assert not is_reference(unquote(name)), name
            await ask_everywhere(client, name, soft_prompt(9.0).to_bytes())
        good = await client.get("/v1/prompts/romance/file")
        assert good.status_code == 200

    guarded(scenario)
    assert everything(tmp_path) == before


def test_no_disguise_leaves_the_store(guarded: Server, tmp_path: Path) -> None:
    before = everything(tmp_path)

    async def scenario(client: httpx.AsyncClient) -> None:
        for name in disguises(seed=1, count=800):
            await ask_everywhere(client, name, soft_prompt(9.0).to_bytes())

    guarded(scenario)
    after = everything(tmp_path)
    assert {name: after.get(name) for name in before} == before
    ours = f"{guarded.store.root.relative_to(tmp_path).as_posix()}/"
    for name in set(after) - set(before):  # a disguise may, by luck, be a name that is one
        assert name.startswith((f"{ours}generations/", f"{ours}objects/")), name


@pytest.mark.parametrize("name", [*(unquote(name) for name in NAMES), "", "a/b", "a\0", "a\n", "é"])
def test_what_is_no_name_is_none(name: str) -> None:
    with pytest.raises(IsoglossError):
        parse_reference(name)
    with pytest.raises(IsoglossError):
        check_name(name)
