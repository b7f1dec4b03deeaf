"""API keys: how they are written, read again, and compared."""

from __future__ import annotations

import hmac
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.config import ServingSettings
from isogloss.serving.http import keys as module
from isogloss.serving.http.keys import ApiKeys, api_keys, parsed


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def bearing(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def write(file: Path, text: str, stamp: int) -> None:
    file.write_text(text, encoding="utf-8")
    os.utime(file, (stamp, stamp))


def test_a_key_has_a_name_or_its_number() -> None:
    entries = [("1", "web:alpha"), ("2", ""), ("3", "beta"), ("4", " batch\t gamma "), ("5", "d:e")]
    keys = ApiKeys(parsed(entries))
    named = {key: keys.name_of(bearing(key)) for key in ("alpha", "beta", "gamma", "e", "d:e", "")}
    assert named == {
        "alpha": "web", "beta": "key-2", "gamma": "batch", "e": "d", "d:e": None, "": None,
    }  # fmt: skip


def test_keys_without_a_name_stand_in_the_environment_and_in_a_file(tmp_path: Path) -> None:
    write(tmp_path / "keys", "beta\n", 1)
    settings = ServingSettings(api_keys_file=tmp_path / "keys")
    keys = api_keys(settings, {"ISOGLOSS_API_KEYS": "alpha"})
    assert keys is not None
    found = [keys.name_of(bearing(key)) for key in ("alpha", "beta")]
    assert found == ["key-1", "file-1"]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-api-key": "alpha"}, "web"),
        ({"x-api-key": " alpha "}, "web"),
        ({"authorization": "Bearer alpha"}, "web"),
        ({"authorization": "bearer  alpha"}, "web"),
        ({"authorization": "alpha"}, None),
        ({"authorization": "Basic alpha"}, None),
        ({"authorization": "Basic YW55Ym9keTphbHBoYQ=="}, "web"),  # anybody:alpha
        ({"authorization": "basic OmFscGhh"}, "web"),  # :alpha
        ({"authorization": "Basic YWxwaGE6eA=="}, None),  # alpha:x
        ({"authorization": "Basic YTr//w=="}, None),  # a: and no UTF-8
        ({"authorization": "Basic é"}, None),
        ({"x-api-key": "Alpha"}, None),
        ({"x-api-key": "alph"}, None),
        ({"x-api-key": "alphaé"}, None),
        ({"x-api-key": "web"}, None),
        ({"x-api-key": "wrong", "authorization": "Bearer alpha"}, "web"),
        ({"x-api-key": "beta", "authorization": "Bearer alpha"}, "batch"),
        ({"authorization": "Bearer open sesame"}, "admin"),
        ({}, None),
    ],
)
def test_where_a_request_bears_its_key(headers: dict[str, str], name: str | None) -> None:
    keys = ApiKeys(
        parsed([("1", "web:alpha"), ("2", "batch:beta")]), None, SecretStr("open sesame")
    )
    assert keys.name_of(headers) == name


@pytest.mark.parametrize("given", ["alpha", "gamma", "alphb", "", "x" * 500])
def test_every_key_is_compared_whatever_is_given(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In constant time, digests of one length; so neither order nor beginnings show."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    keys = ApiKeys(parsed([("1", "a:alpha"), ("2", "b:beta"), ("3", "c:gamma")]))
    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys.name_of({"authorization": f"Bearer {given or '-'}"})
    assert len({other for _, other in compared}) == len(compared) == 3
    assert {len(each) for pair in compared for each in pair} == {64}
    assert not any(b"alpha" in each for pair in compared for each in pair)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (["web:"], "key 1: its key cannot be used; write NAME:KEY"),
        (["web:a", "web:b"], "key 2: its name is there twice"),
        (["web:a", "batch:a"], "key 2: its key is there twice"),
        (["we/b:secret"], "key 1: its name cannot be used"),
        (["web:sec ret"], "key 1: its key cannot be used"),
        (["web:sécret"], "key 1: its key cannot be used"),
        (["admin:secret"], "key 1: 'admin' is the name of the admin token"),
    ],
)
def test_what_is_no_key_is_refused_without_being_quoted(entries: list[str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        api_keys(ServingSettings(), {"ISOGLOSS_API_KEYS": ",".join(entries)})
    assert "ret" not in str(refused.value)
    assert str(refused.value).startswith("ISOGLOSS_API_KEYS: ")


def test_without_keys_nobody_needs_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ISOGLOSS_ADMIN_TOKEN", "token")
    assert api_keys(ServingSettings(), {}) is None
    assert api_keys(ServingSettings(), {"ISOGLOSS_API_KEYS": " , "}) is None
    write(tmp_path / "keys", "web alpha", 1)
    keys = api_keys(ServingSettings(api_keys_file=tmp_path / "keys"), {})
    assert keys is not None
    assert keys.name_of(bearing("alpha")) == "web"
    assert keys.name_of(bearing("token")) == "admin"


def test_a_file_is_read_again_at_most_once_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    write(file, "# of the shop\nweb:alpha\n\nbatch beta\n", 1)
    keys = ApiKeys({}, file, clock=clock)
    assert keys.name_of(bearing("beta")) == "batch"
    write(file, "web:gamma\n", 2)
    clock.now_s = 0.9
    assert keys.name_of(bearing("alpha")) == "web"
    clock.now_s = 1.1
    assert keys.name_of(bearing("alpha")) is None
    assert keys.name_of(bearing("gamma")) == "web"
    assert keys.name_of(bearing("beta")) is None


def test_a_file_that_has_not_changed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, clock = tmp_path / "keys", Clock()
    write(file, "web:alpha", 1)
    keys = ApiKeys({}, file, clock=clock)
    monkeypatch.setattr(module, "_of_file", lambda _: pytest.fail("it was read"))
    clock.now_s = 5.0
    assert keys.name_of(bearing("alpha")) == "web"


@pytest.mark.parametrize(
    "broken", ["", "# none", "web:a b", "web:alpha\nweb:beta", "web:\xff", None]
)
def test_a_broken_file_keeps_the_old_keys_and_is_logged_once(
    broken: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "keys", Clock()
    write(file, "web:alpha", 1)
    keys = ApiKeys({}, file, clock=clock)
    if broken is None:
        file.unlink()
    else:
        write(file, broken, 2)
    with caplog.at_level(logging.ERROR):
        for clock.now_s in (2.0, 4.0, 6.0):
            assert keys.name_of(bearing("alpha")) == "web"
    assert [r.getMessage()[:30] for r in caplog.records] == ["the API keys stay as they were"]
    assert "alpha" not in caplog.text
    write(file, "web:delta", 3)
    clock.now_s = 8.0
    assert keys.name_of(bearing("delta")) == "web"


@pytest.mark.parametrize(
    ("text", "why"), [(None, "cannot be read"), ("#", "no key in it"), ("a:b c", "line 1: its key")]
)
def test_a_server_does_not_start_with_a_broken_file(
    text: str | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    if text is not None:
        write(file, text, 1)
    with pytest.raises(InvalidInput, match=why):
        api_keys(ServingSettings(api_keys_file=file), {})


def test_a_name_is_in_the_file_or_in_the_environment(tmp_path: Path) -> None:
    write(tmp_path / "keys", "web:alpha", 1)
    settings = ServingSettings(api_keys_file=tmp_path / "keys")
    with pytest.raises(InvalidInput, match="both have a key named web; rename one"):
        api_keys(settings, {"ISOGLOSS_API_KEYS": "web:beta"})
    both: Any = api_keys(settings, {"ISOGLOSS_API_KEYS": "batch:beta"})
    assert [both.name_of(bearing(key)) for key in ("alpha", "beta")] == ["web", "batch"]
