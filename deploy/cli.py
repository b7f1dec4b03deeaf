"""The `isogloss` command: every package's commands under one name.

Each package registers its own in `<package>/commands.py`; heavy libraries are imported only by the
command that needs them, so `isogloss --help` answers at once.
"""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from isogloss.deploy.bench import commands as bench
from isogloss.deploy.doctor import commands as doctor
from isogloss.prompts.cli import commands as prompts
from isogloss.prompts.cluster.import_path import leave_working_folder
from isogloss.prompts.console.console import ReportingGroup, say
from isogloss.serving.cli import commands as serving
from isogloss.training.cli import commands as training

app = typer.Typer(
    name="isogloss",
    cls=ReportingGroup,
    help="Language-tailored soft prompts: train them, route them by language family, serve them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
)
for package in (serving, training, prompts, bench, doctor):
    package.register(app)


def _show_version(asked: bool) -> None:
    """Say them without an import: torch alone takes seconds."""
    if asked:
        say(f"isogloss {version('isogloss')}")
        say(f"python {platform.python_version()}")
        say(f"torch {_version_of('torch') or '(not installed)'}")
        raise typer.Exit


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@app.callback()
def isogloss(
    _: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Print versions."
        ),
    ] = False,
) -> None:
    """Language-tailored soft prompts: train them, route them by language family, serve them."""


def main() -> None:
    """Entry point of the `isogloss` command."""
    leave_working_folder()  # where it was started with `python -m` or `-c`
    app()
