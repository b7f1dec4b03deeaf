"""Draw the figures of a detector's evaluation, next to its tables.

    isogloss detect --evaluate ../shared/data/sib200 --headlines ../shared/data/ntrex --out FOLDER
    python -m isogloss.training.recipes.detection FOLDER [--detector isogloss]

`confusion-*.svg` (and .png) show for each kind of text which clade is taken for which, and
`reliability.svg` whether a language, a candidate and a clade are as often right as is said.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from isogloss.prompts.console.console import reporting_errors
from isogloss.training.canvas import save, style
from isogloss.training.recipes.detection.confusion import draw_confusion
from isogloss.training.recipes.detection.reliability import draw_reliability
from isogloss.training.recipes.detection.tables import read_table


def main() -> None:
    """Read the tables, write the figures, name them."""
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.detection",
        description="Draw the figures of a detector's evaluation.",
    )
    parser.add_argument("folder", type=Path, help="with confusion.csv and reliability.csv")
    parser.add_argument("--detector", default="isogloss", help="whose figures")
    arguments = parser.parse_args()
    with reporting_errors():
        for path in draw(arguments.folder, arguments.detector):
            print(f"wrote {path} and .png")


def draw(folder: Path, detector: str) -> list[Path]:
    """Write a detector's figures into the folder of its tables; return the SVG files.

    Raises:
        InvalidData: a table is missing, or has nothing of this detector.
        InvalidInput: the folder cannot be written.
    """
    confusions = read_table(folder / "confusion.csv", detector)
    paths = []
    for kind in dict.fromkeys(row["texts"] for row in confusions):
        name = f"confusion-{kind.replace(' ', '-')}"
        with style(name):
            rows = [row for row in confusions if row["texts"] == kind]
            paths.append(save(draw_confusion(kind, rows), folder, name))
    with style("reliability"):
        curves = read_table(folder / "reliability.csv", detector)
        paths.append(save(draw_reliability(curves), folder, "reliability"))
    return paths


if __name__ == "__main__":
    main()
