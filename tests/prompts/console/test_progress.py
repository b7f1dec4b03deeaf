"""The bar of long work on rows: what it says, and that it is silent where nobody sees it."""

from __future__ import annotations

import io

from rich.console import Console

from isogloss.prompts.console.progress import RowsBar


def shown(terminal: bool) -> str:
    """What a run of 1000 rows says that began after 400 and takes two seconds for 300 more."""
    now_s = 0.0
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    with RowsBar(2000, 400, console=console, now_s=lambda: now_s) as bar:
        now_s = 2.0
        bar.moved(700, 1400)
        bar.say("row 5: [bold]empty")
    return text.getvalue()


def test_a_terminal_sees_rows_speed_and_share() -> None:
    text = shown(terminal=True)
    assert "700 rows, 150 rows/s" in text
    assert "70%" in text
    assert "row 5: [bold]empty" in text


def test_away_from_a_terminal_only_what_is_said_is_there() -> None:
    assert shown(terminal=False) == "row 5: [bold]empty\n"
