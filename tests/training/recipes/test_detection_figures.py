"""The figures of a detector's evaluation, drawn from tables as `isogloss detect` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.training.recipes.detection.__main__ import draw
from isogloss.training.recipes.detection.confusion import draw_confusion
from isogloss.training.recipes.detection.reliability import draw_reliability
from isogloss.training.recipes.detection.tables import read_table

CONFUSION = """detector,texts,true_clade,detected_clade,number_of_texts
isogloss,sentences,Romance,Romance,98
isogloss,sentences,Romance,Narrow_Bantu,1
isogloss,sentences,Romance,Iranian,1
isogloss,sentences,Narrow_Bantu,Narrow_Bantu,200
isogloss,sentences,Atlantic-Congo,Atlantic-Congo,50
isogloss,sentences,Basque,Basque,10
other,sentences,Basque,Romance,10
"""
RELIABILITY = "detector,texts,languages,claim,bin,number_of_claims,mean_confidence,share_right\n"
RELIABILITY += "".join(
    f"isogloss,sentences,{languages},{claim},{low},{number},{said},{right}\n"
    for languages in ("the 52", "all")
    for claim in ("language", "candidates", "clade")
    for low, number, said, right in (
        ("0.2", 4, 0.25, 0.0),
        ("0.5", 20, 0.5, 0.7),
        ("0.9", 76, 1, 1),
    )
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "confusion.csv").write_text(CONFUSION, encoding="utf-8")
    (tmp_path / "reliability.csv").write_text(RELIABILITY, encoding="utf-8")
    return tmp_path


def test_figures_are_written_the_same_every_time(folder: Path) -> None:
    paths = draw(folder, "isogloss")
    assert [path.name for path in paths] == ["confusion-sentences.svg", "reliability.svg"]
    first = [path.read_bytes() for path in paths]
    assert all(path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG" for path in paths)
    assert [path.read_bytes() for path in draw(folder, "isogloss")] == first


def test_rows_of_the_matrix_are_shares_of_a_clade(folder: Path) -> None:
    figure = draw_confusion("sentences", read_table(folder / "confusion.csv", "isogloss"))
    (axes,) = figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [
        "Narrow Bantu (200)",
        "other Atlantic-Congo (50)",
        "Basque (10)",
        "Romance (100)",
    ]
    assert axes.get_xticklabels()[-1].get_text() == "elsewhere"  # Iranian: none of the texts is
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(3, 3)] == "98.0"
    assert cells[(0, 3)] == cells[(4, 3)] == "1.0"
    assert (1, 3) not in cells


def test_small_bins_are_counted_but_not_drawn(folder: Path) -> None:
    figure = draw_reliability(read_table(folder / "reliability.csv", "isogloss"))
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    (label,) = [text.get_text() for text in legend.get_texts()]
    assert label == "sentences: 0.050"  # (4 x 0.25 + 20 x 0.2) / 100
    (drawn,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert np.asarray(drawn.get_xdata()).tolist() == [0.5, 1.0]


def test_a_table_without_the_detector_says_so(folder: Path) -> None:
    with pytest.raises(InvalidData, match="nothing of detector 'nope'; evaluate it"):
        draw(folder, "nope")


def test_a_missing_table_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="isogloss detect --evaluate"):
        draw(tmp_path, "isogloss")
