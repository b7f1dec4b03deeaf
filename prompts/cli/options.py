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
Canary = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE",
        help="Only try it: it answers this share, such as 5%, of the texts of each --route (by "
        "default: of those that take the name).",
    ),
]
Shadow = Annotated[
    bool,
    typer.Option("--shadow", help="Only try it: it is scored beside what answers those texts."),
]
Share = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Of the texts, for --shadow; by default 100%."),
]
MinAgreement = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE", help="Servers end the trial if the prompts agree on fewer labels."
    ),
]
MaxScoreDrop = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="... if its best scores lie further below, on average."),
]
MaxLatencyRatio = Annotated[
    float | None,
    typer.Option(metavar="RATIO", help="... if its texts take more than this times as long."),
]
MinTexts = Annotated[
    int | None,
    typer.Option(min=1, help="... but after this many texts of a clade (200)."),
]
Reference = Annotated[str, typer.Argument(help="`name` or `name@version`.")]
