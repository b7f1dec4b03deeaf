"""The commands of this package, one a file. Their heavy imports wait until a command runs."""

from __future__ import annotations

import typer

from isogloss.training.cli.calibrate import calibrate
from isogloss.training.cli.evaluate import evaluate
from isogloss.training.cli.gains import gains
from isogloss.training.cli.options import ManyValuesCommand
from isogloss.training.cli.route import route
from isogloss.training.cli.study import study
from isogloss.training.cli.tailor import tailor
from isogloss.training.cli.tailoring import tailoring
from isogloss.training.cli.train import train


def register(app: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    for command in (train, evaluate, route, tailor, gains, tailoring, calibrate, study):
        app.command(cls=ManyValuesCommand)(command)
