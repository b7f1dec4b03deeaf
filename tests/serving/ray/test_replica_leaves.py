"""A replica that is taken down leaves the board, so that nobody waits for it."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from isogloss.serving.registry.replicas import LocalBoard
from tests.fakes import MODEL, fake_classifier, fake_settings, fake_store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from isogloss.serving.ray import app


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> LocalBoard:
    """What replicas report to, with nothing of Ray's and nothing of this process changed."""
    board = LocalBoard()
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="one"), app_name="isogloss")
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: context)
    monkeypatch.setattr(app, "ActorBoard", lambda name: board)
    monkeypatch.setattr("gc.freeze", lambda: None)
    for each in ("require", "listen_where_ray_does", "configure_logging", "start_tracing"):
        monkeypatch.setattr(app, each, lambda *_, **__: None)
    return board


def test_a_replica_that_goes_leaves_the_board(tmp_path: Path, board: LocalBoard) -> None:
    settings = fake_settings(fake_store(tmp_path / "store").root)
    replica = app.ModelReplica(settings, MODEL, fake_classifier)
    assert [each.replica for each in board.reports()] == ["one"]
    replica.__del__()
    assert board.reports() == []


def test_a_replica_that_did_not_start_goes_in_silence(
    tmp_path: Path, board: LocalBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"):
        app.ModelReplica(fake_settings(tmp_path), MODEL, broken)  # type: ignore[arg-type]
    app.ModelReplica.__new__(app.ModelReplica).__del__()
