"""Commands that run other commands: in one process, model and libraries are loaded once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from isogloss.prompts.console.console import say
from isogloss.training.cli.calibrate import calibrate
from isogloss.training.cli.evaluate import evaluate
from isogloss.training.cli.gains import gains
from isogloss.training.cli.options import ManyValuesCommand
from isogloss.training.cli.route import route
from isogloss.training.cli.train import train


def in_process(log: Path, *more: Callable[..., None]) -> Callable[[Sequence[str]], None]:
    """What runs a command that makes prompts and routes, or one of `more`, given its words.

    What the command prints goes to `log`: standard output is its caller's own answer. Its errors
    are raised as they are, Ctrl-C as KeyboardInterrupt.
    """
    from isogloss.prompts.cli import commands as of_prompts
    from isogloss.training.files import writable_folder

    app = typer.Typer()
    commands: list[Any] = [train, evaluate, route, calibrate, gains, *more]
    for command in commands:
        app.command(cls=ManyValuesCommand)(command)
    of_prompts.register(app)
    click: Any = typer.main.get_command(app)
    writable_folder(log.parent)

    def run(words: Sequence[str]) -> None:
        with _into(log):
            say("\n$ isogloss " + " ".join(words))
            try:
                click.main(args=list(words), prog_name="isogloss")
            except SystemExit as ended:
                if ended.code == 130:
                    raise KeyboardInterrupt from None
                if ended.code:
                    raise

    return run


@contextlib.contextmanager
def _into(log: Path) -> Iterator[None]:
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        yield
