"""`isogloss doctor` as a whole: checks that break or hang, settings, exit status."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isogloss.deploy.cli import app
from isogloss.deploy.doctor import commands, examine
from isogloss.deploy.doctor.examine import CHECKS, Check
from isogloss.deploy.doctor.finding import Asked, Finding, ok
from isogloss.deploy.doctor.machine import python
from tests.deploy.doctor.findings import asked, only


def test_a_check_that_breaks_says_so() -> None:
    def broken(_: Asked) -> Finding:
        raise ValueError("no such thing")

    def half(_: Asked) -> Iterable[Finding]:
        yield ok("half", "one")
        raise KeyError("two")

    fine = ok("fine", "well")
    checks: dict[str, Check] = {"broken": broken, "half": half, "fine": lambda _: fine}
    one, two, three = examine.examine(asked(), checks)
    only(one, "warn", "the check broke (ValueError: no such thing)")
    only(two, "warn", "KeyError")
    assert three == fine


def test_a_check_that_hangs_is_left() -> None:
    let_go = threading.Event()

    def hanging(_: Asked) -> Finding:
        let_go.wait(60)
        return ok("hanging", "in the end")

    begun_s = time.monotonic()
    checks: dict[str, Check] = {"hanging": hanging, "fine": python}
    hung, fine = examine.examine(asked(), checks, patience_s=1.0)
    assert time.monotonic() - begun_s < 10
    only(hung, "warn", "it is not known in time")
    assert fine.level == "ok"
    assert examine.is_anything_left()
    let_go.set()


@pytest.mark.parametrize("name", examine.DECIDING)
def test_a_check_that_decides_and_hangs_is_not_healthy(name: str) -> None:
    let_go = threading.Event()

    def hanging(_: Asked) -> Finding:
        let_go.wait(60)
        return ok(name, "in the end")

    assert name in CHECKS
    only(examine.examine(asked(), {name: hanging}, patience_s=0.2), "fail", "not known in time")
    let_go.set()


def command(*arguments: str, found: list[Finding], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(examine, "examine", lambda _: list(found))
    monkeypatch.setattr(examine, "is_anything_left", lambda: False)
    return CliRunner().invoke(app, ["doctor", *arguments])


WELL, POOR, ILL = (
    Finding("store", "ok", "it opens"), Finding("memory", "warn", "there is little", "free some"),
    Finding("port 8000", "fail", "it is taken", "use another"),
)  # fmt: skip


@pytest.mark.parametrize(("found", "code"), [([WELL], 0), ([WELL, POOR], 0), ([ILL, POOR], 1)])
def test_the_exit_status_says_whether_a_server_would_run(
    found: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("--json", found=found, monkeypatch=monkeypatch)
    answer = json.loads(done.stdout)
    assert done.exit_code == code
    assert answer["healthy"] is (code == 0)
    assert answer["findings"][1:] == [dataclasses.asdict(each) for each in found]
    shown = command(found=found, monkeypatch=monkeypatch)
    assert shown.exit_code == code
    for each in found:
        assert each.said in shown.stdout
        assert each.remedy in shown.stdout


def test_what_hangs_is_not_waited_for_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(examine, "examine", lambda _: [ILL])
    monkeypatch.setattr(examine, "is_anything_left", lambda: True)
    monkeypatch.setattr(commands, "_leave", ends.append)
    CliRunner().invoke(app, ["doctor"])
    assert ends == [1]


@pytest.mark.parametrize(
    ("variables", "level", "said"),
    [
        ({}, "ok", "without API keys"),
        ({"ISOGLOSS_API_KEYS": "web:alpha"}, "ok", "with API keys"),
        ({"ISOGLOSS_API_KEYS": "web:"}, "fail", "ISOGLOSS_API_KEYS: key 1"),
        ({"ISOGLOSS_PORT": "eighty"}, "fail", "ISOGLOSS_PORT: "),
    ],
)
def test_settings_of_the_environment(
    variables: dict[str, str], level: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    about, findings = commands._asked(["pocket-xglm"], Path("/store"))
    assert (about.settings.models, about.settings.store) == (("pocket-xglm",), Path("/store"))
    only(findings, level, said)


def test_variables_that_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOGLOSS_PROT", "81")
    _, findings = commands._asked(None, None)
    only(findings[1:], "warn", "ISOGLOSS_PROT in the environment")


def test_every_check_has_a_name_of_its_own() -> None:
    assert len(set(CHECKS.values())) == len(CHECKS) == 15
