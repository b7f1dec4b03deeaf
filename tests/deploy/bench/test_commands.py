"""The commands of `isogloss bench`: mistakes are named before anything slow."""

import pytest
from typer.testing import CliRunner

from isogloss.deploy.bench import commands
from isogloss.deploy.bench.engine_settings import EngineSettings
from isogloss.deploy.bench.settings import HttpSettings, TrainSettings
from isogloss.prompts.errors import InvalidInput

NOWHERE = ["--out", "/no/such/folder/x.json"]


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("engine", ["--batch-sizes", "1,x"], "--batch-sizes '1,x'"),
        ("engine", ["--batch-sizes", ""], "--batch-sizes ''"),
        ("engine", ["--residents", "0"], "--residents '0'"),
        ("engine", ["--model", "gpt2"], "model 'gpt2'"),
        ("engine", ["--dtype", "float32", *NOWHERE], "--out '/no/such/folder/x.json'"),
        ("train", ["--model", "gpt2"], "model 'gpt2'"),
        ("train", ["--epochs", "21"], "--epochs"),
        ("train", NOWHERE, "--out '/no/such/folder/x.json'"),
        ("http", ["--client", "python", "--concurrency", "1,x"], "--concurrency '1,x'"),
        ("http", ["--client", "python", "--model", "./nowhere"], "model './nowhere'"),
        ("http", ["--client", "python", *NOWHERE], "--out '/no/such/folder/x.json'"),
        ("swap", ["--swaps", "0"], "--swaps"),
        ("swap", ["--clients", "0"], "--clients"),
        ("swap", NOWHERE, "--out"),
        ("scale", [], "request_ms"),
        ("scale", ["--check", "--loads", "0"], "--loads '0'"),
        ("scale", ["--request-ms", "2", "--costs", "/no/such.json"], "'/no/such.json'"),
        ("precision", ["--dtype", "int4"], "--dtype 'int4'"),
    ],
)
def test_mistakes_are_named_before_anything_slow(
    command: str, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(commands.app, [command, *options])
    assert result.exit_code == 2
    assert message in result.stderr


def test_settings_refuse_nothing_to_do() -> None:
    with pytest.raises(InvalidInput, match="batch_sizes: must be at least 1"):
        EngineSettings(batch_sizes=())
    with pytest.raises(InvalidInput, match="curves: name at least one"):
        EngineSettings(curves=())
    with pytest.raises(InvalidInput, match="rounds: must be at least 1"):
        TrainSettings(rounds=0)
    with pytest.raises(InvalidInput, match="concurrency: must be at least 1"):
        HttpSettings(concurrency=())
