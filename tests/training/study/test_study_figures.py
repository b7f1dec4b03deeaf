"""Figures of the study: all are drawn, alike every time, with every label readable."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from isogloss.training.canvas import FAMILY_COLOURS, OTHER_COLOUR, family_colour, style
from isogloss.training.study.figures import (
    draw_correlations,
    draw_curve,
    draw_figures,
    draw_settings,
)
from isogloss.training.study.language_figures import draw_changes, draw_languages
from isogloss.training.study.results import StudyResults
from isogloss.training.study.tables import study_tables
from tests.some import some
from tests.training.study_samples import BLOOM, FEW, PAPER, XGLM, run, study, whole_study

DRAWN = {"figure2", "figure3", "figure4", "figure5", "table1", "table4"}
STUDIES = {
    "52 languages": lambda: whole_study(PAPER),
    "38 languages, as the paper": lambda: whole_study(BLOOM, paper_model="bloom-560m"),
    "30 languages, as the paper": lambda: whole_study(
        XGLM, architecture="xglm", paper_model="xglm-564M"
    ),
    "one seed": lambda: whole_study(FEW, seeds=1),
    "a model far away": lambda: whole_study(
        FEW, model="/data/" + "models/" * 20 + "bloom-560m", paper_model="bloom-560m"
    ),
}


def figures_of(results: StudyResults) -> dict[str, Figure]:
    tables = study_tables(results)
    return {
        "figure2": draw_settings(results, tables.figure2),
        "figure3": draw_curve(results, tables.figure3, "shots"),
        "figure4": draw_curve(results, tables.figure4, "length"),
        "figure5": draw_changes(tables.figure5),
        "table4": draw_languages(tables.table4),
        "table1": draw_correlations(tables.table1),
    }


def rendered(figure: Figure) -> Any:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


@pytest.mark.parametrize("name", STUDIES)
def test_labels_neither_touch_nor_leave_the_picture(name: str) -> None:
    with style("test"):
        for figure in some(figures_of(STUDIES[name]()).values()):
            renderer = rendered(figure)
            page = figure.bbox
            axes = figure.axes[0]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                boxes = [
                    label.get_window_extent(renderer)
                    for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
                    if low <= place <= high
                ]
                assert boxes
                assert all(page.contains(box.x0, box.y0) for box in boxes)
                assert all(page.contains(box.x1, box.y1) for box in boxes)
                neighbours = itertools.pairwise(boxes)
                assert not any(one.overlaps(other) for one, other in neighbours)
            sizes = [float(label.get_fontsize()) for label in axes.get_yticklabels()]
            assert min(sizes) >= 9  # points, on a picture as wide as a page


def test_every_figure_has_what_its_table_has() -> None:
    results = whole_study(PAPER)
    figures = figures_of(results)
    for name in ("figure5", "table4"):
        labels = [label.get_text() for label in figures[name].axes[0].get_yticklabels()]
        assert "Atlantic-Congo" in labels
        assert "Indo-European: Italic" in labels
        assert "Basque (Isolate)" in labels
        assert "Yoruba" in labels
        assert len(labels) == len(PAPER) + 10  # a heading for each group, one for the singles
    bars = figures["figure5"].axes[0].patches
    assert len(bars) == len(PAPER)
    assert [len(figures["figure2"].axes[0].patches)] == [2]
    shown = [text.get_text() for text in figures["figure4"].axes[0].texts]
    assert shown == [f"{row.mean_percent:.1f}" for row in study_tables(results).figure4]


def test_the_papers_bars_stand_beside_ours() -> None:
    results = whole_study(BLOOM, paper_model="bloom-560m")
    axes = figures_of(results)["figure2"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "pocket-bloom",
        "BLOOM-560M in the paper",
    ]
    shown = {text.get_text() for text in axes.texts}
    assert {"43.1", "35.9"} <= shown


def test_figures_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    results = whole_study(FEW)
    tables = study_tables(results)
    for name in ("one", "two"):
        drawn = draw_figures(results, tables, tmp_path / name)
        assert set(drawn) == DRAWN
        assert all(path.suffix == ".svg" for path in drawn.values())
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        if path.suffix == ".svg":
            ElementTree.parse(path)
        else:
            assert path.read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "one").iterdir())) == 2 * len(DRAWN)


def test_no_picture_of_what_is_not_there(tmp_path: Path) -> None:
    results = study([run(FEW, s, 50, length=n) for s in (0, 1) for n in (5, 10)])
    drawn = draw_figures(results, study_tables(results), tmp_path)
    assert set(drawn) == {"figure2", "figure4", "table4", "table1"}
    assert "figure5.svg" not in {path.name for path in tmp_path.iterdir()}


def test_a_family_has_one_colour_in_every_study() -> None:
    assert len(set(FAMILY_COLOURS.values())) == len(FAMILY_COLOURS)
    assert family_colour("Dravidian", 2) == FAMILY_COLOURS["Dravidian"]
    assert family_colour("Dravidian", 1) == OTHER_COLOUR
    assert family_colour("Isolate", 2) == OTHER_COLOUR
    tables = [study_tables(whole_study(codes)) for codes in (PAPER, BLOOM)]
    with style("test"):
        found = [
            {
                label.get_text(): label.get_color()
                for label in draw_changes(own.figure5).axes[0].get_yticklabels()
                if label.get_fontweight() == "bold"
            }
            for own in tables
        ]
    assert found[0]["Atlantic-Congo"] == found[1]["Atlantic-Congo"] == "#D55E00"
    assert found[0]["Indo-European: Italic"] == found[1]["Indo-European: Italic"] == "#0072B2"
