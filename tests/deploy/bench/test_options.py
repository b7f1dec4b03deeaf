"""Settings as options: what is declared once reaches the command line, the checks and the peers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from isogloss.deploy.bench import engine, peer_list, peers
from isogloss.deploy.bench.engine_settings import QUICK, EngineSettings
from isogloss.deploy.bench.options import REPEATED, SIZES
from isogloss.prompts.cli.settings import as_command, check_limits
from isogloss.prompts.console.console import ReportingGroup
from isogloss.prompts.errors import InvalidInput
from tests.deploy.small_models import tiny_model


@dataclass(frozen=True)
class Inner:
    replicas: Annotated[int, typer.Option(min=1, help="Of the model.")] = 2
    command: str = "not an option"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=lambda: Inner(replicas=1))
    sizes: Annotated[tuple[int, ...], typer.Option(min=1, help="Sizes."), SIZES] = (1, 8)
    names: Annotated[tuple[str, ...], typer.Option("--name", help="Names."), REPEATED] = ("a",)


@pytest.fixture
def made() -> tuple[typer.Typer, list[Outer]]:
    app, received = typer.Typer(cls=ReportingGroup), list[Outer]()

    @app.command()
    @as_command
    def run(settings: Outer, loud: bool = False) -> None:
        received.append(settings)

    @app.command()
    def other() -> None:
        """So that the app is a group."""

    return app, received


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], Outer()),
        (["--sizes", "4,2"], Outer(sizes=(2, 4))),
        (["--name", "b", "--name", "c", "--name", "b"], Outer(names=("b", "c"))),
        (["--replicas", "3", "--loud"], Outer(inner=Inner(replicas=3))),
    ],
)
def test_fields_are_options_and_defaults_those_of_the_settings(
    made: tuple[typer.Typer, list[Outer]], options: list[str], expected: Outer
) -> None:
    app, received = made
    done = CliRunner().invoke(app, ["run", *options])
    assert done.exit_code == 0, done.output
    assert received == [expected]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--replicas", "0"], "--replicas"),
        (["--sizes", "1,0"], "--sizes '1,0'"),
        (["--command", "x"], "No such option"),
    ],
)
def test_mistakes_are_named(
    made: tuple[typer.Typer, list[Outer]], options: list[str], said: str
) -> None:
    done = CliRunner().invoke(made[0], ["run", *options])
    assert done.exit_code == 2
    assert said in done.stderr


def test_limits_hold_wherever_settings_are_made() -> None:
    check_limits(Outer())
    with pytest.raises(InvalidInput, match="sizes: must be at least 1, not 0"):
        check_limits(Outer(sizes=()))
    with pytest.raises(InvalidInput, match="names: name at least one"):
        check_limits(Outer(names=()))


def test_quick_changes_only_what_the_settings_have() -> None:
    assert set(QUICK) <= set(EngineSettings.__dataclass_fields__)


def test_a_peer_that_is_not_installed_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Absent(peers.Transformers):
        name = "absent"
        needs = ("no_such_package",)

    monkeypatch.setattr(peer_list, "PEERS", (peers.Transformers, Absent))
    said: list[str] = []
    settings = EngineSettings(
        models=("bloom-560m",),
        device="cpu",
        dtypes=("float32",),
        curves=("batch_size",),
        batch_sizes=(2,),
        peers=("transformers", "absent"),
        rounds=1,
        seconds=0,
    )
    report = engine.bench_engine(settings, said.append, tiny_model)
    assert report["settings"]["absent_peers"] == ["absent"]
    assert set(report["results"][0]["contenders"]) == {"isogloss_fp32", "transformers"}
    assert any(line.startswith("absent is left out") for line in said)
