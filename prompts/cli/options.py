"""Options that the commands of this package share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[
    Path | None,
    typer.Option(
        help="Folder or address of a prompt store; by default $ISOGLOSS_STORE or your own."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Note = Annotated[str, typer.Option(help="Why; kept with the generation.")]
RequestId = Annotated[
    str | None,
    typer.Option(help="Make the change once, however often it is asked for under this id."),
]
Routes = Annotated[
    list[str] | None,
    typer.Option(
        "--route", help="Clade that takes this prompt from now on, or `universal`; repeatable."
    ),
]
Reference = Annotated[str, typer.Argument(help="`name` or `name@version`.")]
