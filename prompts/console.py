"""How commands speak: answers on stdout, as text or one JSON object; errors, one line, on stderr.

Exit codes: 0 done; 2 the input cannot be used (it was malformed, or names what is not there);
1 anything else, such as a disk that is full.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from prompts.errors import InvalidInput, IsoglossError, NotFound, TooLarge

if TYPE_CHECKING:
    from rich.console import RenderableType


class ReportingGroup(TyperGroup):
    """A typer app (`cls=ReportingGroup`) whose commands may raise IsoglossError."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an IsoglossError becomes one line and an exit code."""
        with reporting_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn an IsoglossError into one line on stderr and an exit code.

    Raises:
        SystemExit: with the exit code.
    """
    try:
        yield
    except IsoglossError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(exit_code(error)) from error


def exit_code(error: IsoglossError) -> int:
    """2 where the person's input is at fault, 1 where something else is."""
    return 2 if isinstance(error, InvalidInput | NotFound | TooLarge) else 1


def print_json(answer: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(answer, ensure_ascii=False, indent=2))


def print_table(table: RenderableType) -> None:
    """Print a table; away from a terminal it is as wide as it needs to be, for other programs."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    console.print(table)
