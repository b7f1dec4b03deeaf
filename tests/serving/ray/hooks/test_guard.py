"""Hooks fit what is installed; where one does not, it says what it misses."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from isogloss.serving.pipeline.caller import REQUEST_ID_HEADER
from isogloss.serving.ray import launch
from isogloss.serving.ray.haproxy import haproxy_here
from isogloss.serving.ray.hooks import guard, uvicorn_protocol
from isogloss.serving.ray.hooks.guard import HOOKS, Hook, HookMisfit, check_hooks
from tests.some import some

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from ray.serve._private import constants

    from isogloss.serving.ray.hooks import haproxy_actor

REACHED = [(hook, target) for hook in HOOKS for target in hook.reaches]
TEXTS = [(hook, path) for hook in HOOKS for path in hook.contains]


def named(hook: Hook, target: str) -> str:
    return f"{hook.name}-{target.partition('(')[0].rpartition('.')[2]}".replace(" ", "-")


def test_hooks_fit_what_is_installed() -> None:
    check_hooks()
    assert constants.SERVE_HTTP_REQUEST_ID_HEADER == REQUEST_ID_HEADER


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name.replace(" ", "-"))
def test_a_hook_says_why_it_is_and_where_that_is_discussed(hook: Hook) -> None:
    assert hook.why.endswith(".")
    assert "https://github.com/" in hook.upstream
    assert hook.reaches or hook.contains


@pytest.mark.parametrize(("hook", "target"), REACHED, ids=[named(*each) for each in REACHED])
def test_what_is_gone_or_takes_other_parameters_is_missed(
    hook: Hook, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, parameters = target.partition("(")
    resolved = guard._resolved

    def replaced(asked: str, instead: Any) -> Any:
        return instead if asked == path else resolved(asked)

    def other(nobody: object, expects: object) -> None:
        """Takes other parameters."""

    monkeypatch.setattr(guard, "_resolved", lambda asked: replaced(asked, guard._MISSING))
    with pytest.raises(HookMisfit) as gone:
        hook.check()
    assert f"there is no {path}" in str(gone.value)
    assert f"pip install '{hook.package[0]}{hook.package[1]}'" in str(gone.value)
    if parameters:
        monkeypatch.setattr(guard, "_resolved", lambda asked: replaced(asked, other))
        with pytest.raises(HookMisfit, match=r"takes \(nobody, expects\), not \("):
            hook.check()


@pytest.mark.parametrize(("hook", "path"), TEXTS, ids=[named(*each) for each in TEXTS])
def test_each_text_that_reads_otherwise_is_missed(
    hook: Hook, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = guard._text
    for text in some(hook.contains[path]):
        monkeypatch.setattr(guard, "_text", lambda of, text=text: read(of).replace(text, "?"))
        with pytest.raises(HookMisfit, match="is without"):
            hook.check()


def test_a_package_that_is_not_there_is_a_misfit() -> None:
    absent = Hook("nothing", ("no-such-package", ">=1"), "Why not.", "nowhere", ("no_such_one:x",))
    with pytest.raises(HookMisfit, match=r"no-such-package \(not installed\) does not fit"):
        absent.check()


def test_nothing_is_installed_over_a_misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    controller: Any = importlib.import_module("ray.serve._private.controller")
    theirs = controller.HAProxyManager
    # As in a process of its own: another test may have installed ours in this one.
    monkeypatch.setattr(HttpToolsProtocol, "on_header", lambda protocol, name, value: None)
    monkeypatch.setattr(RequestResponseCycle, "send", lambda cycle, message: None)
    before = (HttpToolsProtocol.on_header, RequestResponseCycle.send)
    monkeypatch.setattr(guard, "_resolved", lambda path: guard._MISSING)
    guard_heads, write_whole = uvicorn_protocol.guard_heads, uvicorn_protocol.write_answers_whole
    for install in (haproxy_actor.install, guard_heads, write_whole):
        with pytest.raises(HookMisfit):
            install()
    assert (HttpToolsProtocol.on_header, RequestResponseCycle.send) == before
    assert controller.HAProxyManager is theirs


def test_ray_serve_reads_every_variable_that_is_set_for_it(tmp_path: Any) -> None:
    names = {*launch._variables(), *haproxy_here(tmp_path, "127.0.0.1")}
    ours = {name for name in names if name.startswith("RAY_SERVE_")}
    source = guard._text(constants)
    assert len(ours) > 20
    assert {name for name in ours if f'"{name}"' not in source} == set()
