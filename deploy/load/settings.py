"""How a server under load is started, and how prompts are swapped on it; options are fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from typer import Option


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server is started."""

    model: Annotated[str, Option(help="A pocket model, whose shipped prompts are published.")] = (
        "pocket-bloom"
    )
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"], Option(help="As of isogloss serve.")
    ] = "auto"
    replicas: Annotated[int, Option(min=1, help="Of the model.")] = 2
    haproxy: Annotated[
        bool | None,
        Option(help="Take requests in through HAProxy. (default: where it is installed)"),
    ] = None

    def command(self, store: Path) -> list[str]:
        """Arguments of Python; "{port}" stands for the port."""
        given = ["--model", self.model, "--dtype", self.dtype, "--replicas", str(self.replicas)]
        given += ["--store", str(store), "--port", "{port}"]
        if self.haproxy is not None:
            given.append("--haproxy" if self.haproxy else "--no-haproxy")
        return serve_command(*given)


def serve_command(*options: str) -> list[str]:
    """Arguments of Python that are `isogloss serve` with options."""
    return ["-c", "from isogloss.deploy.cli import main; main()", "serve", *options]


@dataclass(frozen=True, slots=True)
class SwapSettings:
    """How many swaps, how fast, and who asks meanwhile."""

    server: ServerSettings = field(default_factory=ServerSettings)
    swaps: Annotated[int, Option(min=1, help="Publishes in all.")] = 1000
    clients: Annotated[int, Option(min=1, help="That ask all the time.")] = 32
    rounds: Annotated[
        int, Option(min=1, help="Phases with swaps, and as many without, by turns.")
    ] = 5
    every_s: Annotated[float, Option(min=0, help="Between publishes; 0: one after the other.")] = (
        0.25
    )
