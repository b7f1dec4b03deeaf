"""The command line, run in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from isogloss.prompts.cli.commands import app
from isogloss.prompts.format.soft_prompt import SoftPrompt


@dataclass
class Cli:
    """Runs `isogloss prompts ... --store STORE`."""

    folder: Path
    store: Path = field(init=False)

    def __post_init__(self) -> None:
        self.store = self.folder / "store"

    def run(self, *arguments: str | Path) -> Any:
        given = [*map(str, arguments), "--store", str(self.store)]
        return CliRunner().invoke(app, given)

    def json(self, *arguments: str | Path) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def error(self, code: int, *arguments: str | Path) -> str:
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        message: str = result.stderr
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        return message

    def file(self, name: str, prompt: SoftPrompt) -> Path:
        path = self.folder / f"{name}.safetensors"
        prompt.save(path)
        return path
