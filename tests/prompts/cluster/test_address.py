"""Which Ray cluster is meant, and whether anything is there; Ray is not needed for that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from isogloss.prompts.cluster.address import Address, check_answers, chosen_address
from isogloss.prompts.errors import InvalidInput, Unavailable

SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("given", "variable", "text", "source"),
    [
        (None, None, "local", ""),
        (None, "", "local", ""),
        (None, " \t\n", "local", ""),
        ("", "", "local", ""),
        (" ", "10.0.0.1:6379", "10.0.0.1:6379", "RAY_ADDRESS"),
        (None, " 10.0.0.1:6379\n", "10.0.0.1:6379", "RAY_ADDRESS"),
        ("head:6379", "other:6379", "head:6379", "--ray-address"),
        (None, "auto", "auto", "RAY_ADDRESS"),
        (None, "local", "local", "RAY_ADDRESS"),
        ("[::1]:6379", None, "[::1]:6379", "--ray-address"),
        (None, "ray://head:10001", "ray://head:10001", "RAY_ADDRESS"),
    ],
)
def test_what_is_meant(given: str | None, variable: str | None, text: str, source: str) -> None:
    environment = {} if variable is None else {"RAY_ADDRESS": variable}
    assert chosen_address(given, environment) == Address(text, source)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("nonsense", "RAY_ADDRESS nonsense: not host:port; name the head's address"),
        ("10.0.0.1", "RAY_ADDRESS 10.0.0.1: not host:port"),
        (":6379", "RAY_ADDRESS :6379: not host:port"),
        ("head:", "RAY_ADDRESS head:: not host:port"),
        ("head:port", "RAY_ADDRESS head:port: not host:port"),
        ("head:-1", "not host:port"),
        ("head:\u0666\u0663\u0667\u0669", "not host:port"),
        ("head:99999", "its port must be from 1024 to 65535"),
        ("head:80", "its port must be from 1024 to 65535"),
        ("head:" + "9" * 5000, "its port must be from 1024 to 65535"),
        ("ray://head", "RAY_ADDRESS ray://head: not host:port"),
        ("http://127.0.0.1:8265", "http:// leads to Ray's dashboard and jobs"),
        ("https://head:6379", "https:// leads to Ray's dashboard and jobs"),
        ("he\x1b[2Jad", r"RAY_ADDRESS 'he\x1b[2Jad': not host:port"),
    ],
)
def test_what_is_no_address(variable: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        chosen_address(None, {"RAY_ADDRESS": variable})
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert "leave it out to work on this machine" in str(caught.value)


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Answers whoever comes, whatever they say."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
                    connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\6\0\0\0\0\0"]
)
def test_what_answers_is_not_ray(scheme: str, answer: bytes) -> None:
    with (
        server(answer) as place,
        pytest.raises(
            Unavailable, match=f"^RAY_ADDRESS {scheme}{place}: what answers there is not"
        ),
    ):
        check_answers(Address(scheme + place, "RAY_ADDRESS"))


def test_what_greets_as_ray_does_is_let_through() -> None:
    with server(SETTINGS) as place:
        check_answers(Address(place, "RAY_ADDRESS"))


def test_tls_is_not_spoken_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(b"") as place:
        check_answers(Address(place, "RAY_ADDRESS"))


def test_an_address_where_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for place in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(Unavailable, match=rf"--ray-address {place}: nothing answers there"):
            check_answers(Address(place, "--ray-address"))
    with pytest.raises(Unavailable, match="nothing answers there"):
        check_answers(Address("no-such-host.invalid:6379", "RAY_ADDRESS"))
    for text in ("local", "auto"):
        check_answers(Address(text, ""))
