"""Who asks: by which headers clients are told apart, and how long they wait."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import Caller, caller_of, request_id_of
from tests.serving.api_server import Server
from tests.some import some


def caller(peer: str = "10.0.0.9", hops: int = 1, **headers: str) -> Caller:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller_of(named, peer, request_id="r", timeout_s=100.0, forwarded_hops=hops)


@pytest.mark.parametrize(
    ("hops", "forwarded", "client"),
    [
        (1, "", "address:10.0.0.9"),
        (1, " , ", "address:10.0.0.9"),
        (0, "1.1.1.1", "address:10.0.0.9"),
        (1, "1.1.1.1", "address:1.1.1.1"),
        (1, "forged, 1.1.1.1", "address:1.1.1.1"),
        (2, "forged, 1.1.1.1, 10.0.0.8", "address:1.1.1.1"),
        (5, "1.1.1.1, 10.0.0.8", "address:1.1.1.1"),
        (1, "x" * 999, "address:" + "x" * 64),
    ],
)
def test_without_a_key_a_client_is_the_address_it_calls_from(
    hops: int, forwarded: str, client: str
) -> None:
    assert caller(hops=hops, x_forwarded_for=forwarded).client == client


@pytest.mark.parametrize(
    ("spellings", "client"),
    [
        (
            ("203.0.113.7", "203.0.113.7:51000", "203.0.113.7:1", "::ffff:203.0.113.7",
             "[::ffff:203.0.113.7]:80", "::FFFF:CB00:7107", '"203.0.113.7:9"', "203.0.113.7:"),
            "address:203.0.113.7",
        ),
        (
            ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8::0001", "[2001:db8::1]",
             "[2001:db8::1]:443", "[2001:DB8::1]:51000", '"[2001:db8:0::1]:443"'),
            "address:2001:db8::1",
        ),
        (("fe80::1", "fe80::1%eth0", "[fe80::1%2]:80", "FE80::1%25eth1"), "address:fe80::1"),
        (("unknown", "UNKNOWN", "Unknown"), "address:unknown"),
        (("203.0.113.7.9", ), "address:203.0.113.7.9"),
        (("[::1", ), "address:[::1"),
        (("010.1.1.1", ), "address:010.1.1.1"),
        (("_hidden:80", ), "address:_hidden:80"),
    ],
)  # fmt: skip
def test_an_address_has_one_spelling(spellings: tuple[str, ...], client: str) -> None:
    for spelled in some(spellings):
        assert caller(x_forwarded_for=spelled).client == client
        assert caller(x_forwarded_for=f"6.6.6.6, {spelled}").client == client
        assert caller(x_forwarded_for=f"{spelled}, 10.0.0.2", hops=2).client == client


def test_the_peers_own_address_has_one_spelling_too() -> None:
    assert caller("::ffff:10.0.0.9").client == caller("10.0.0.9").client
    assert caller("::1").client != caller("::2").client


def test_a_client_is_its_key_wherever_it_calls_from() -> None:
    one, other = caller("1.1.1.1", x_api_key="secret"), caller("2.2.2.2", x_api_key="secret")
    assert one.client == other.client
    assert one.client != caller(x_api_key="another").client
    assert caller(authorization="Bearer a").client != caller(authorization="Bearer b").client
    assert caller(x_api_key="k", authorization="Bearer a").client == caller(x_api_key="k").client
    assert "secret" not in repr(one)


def test_how_long_a_caller_waits() -> None:
    assert caller().timeout_s == 100.0
    assert caller(x_request_timeout_ms="250").timeout_s == 0.25
    assert caller(x_request_timeout_ms="999999999").timeout_s == 3600
    assert caller(x_request_timeout_ms="250").after(0.2).timeout_s == pytest.approx(0.05)
    assert caller(x_request_timeout_ms="250").after(9).timeout_s == 0
    assert Caller().after(9).timeout_s is None


@pytest.mark.parametrize("value", ["", "0", "-5", "1.5", "soon", "²", "1" * 5000, "1e3", "0x10"])
def test_a_time_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match=r"x-request-timeout-ms: .* send whole milliseconds"):
        caller(x_request_timeout_ms=value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("7f2c-11.a:b_c", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ('"}\n{"', False),
        ("", False),
    ],
)
def test_a_request_keeps_the_id_it_came_with_if_it_is_one(given: str, kept: bool) -> None:
    found = request_id_of({"x-request-id": given})
    assert (found == given) is kept
    assert kept or len(found) == 32


def test_what_a_proxy_adds_on_a_line_of_its_own_counts(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As HAProxy does, below the line that the client made up."""
    seen: list[str] = []
    real = Service.ask

    async def ask(self: Service, request: Any, tasks: Any, caller: Caller) -> Any:
        seen.append(caller.client)
        return await real(self, request, tasks, caller)

    async def scenario(client: httpx.AsyncClient) -> None:
        for lines in (["forged", "1.1.1.1"], ["1.1.1.1"], ["forged, 2.2.2.2", "1.1.1.1"]):
            headers = [("x-forwarded-for", line) for line in lines]
            answer = await client.post("/v1/classify", json={"inputs": "a"}, headers=headers)
            assert answer.status_code == 200

    monkeypatch.setattr(Service, "ask", ask)
    server(scenario)
    assert seen == ["address:1.1.1.1"] * 3
