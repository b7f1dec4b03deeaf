"""The report: one page that needs nothing else and says what the numbers say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.training.study.figures import draw_figures
from isogloss.training.study.report import setting_text, write_report
from isogloss.training.study.results import StudyResults
from isogloss.training.study.tables import study_tables, write_tables
from tests.training.study_samples import BLOOM, FEW, run, study, whole_study

VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """A page's text, its headings, what it loads, and whether its elements close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.sections: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if tag == "h2":
            self.sections.append(facts["id"] or "")
        self.links += [facts["href"] or ""] if tag == "a" else []
        self.loads += [facts[key] or "" for key in ("src", "data", "srcset") if key in facts]
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            assert facts["alt"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if "style" in self.open else data


def report_of(results: StudyResults, folder: Path, draw: bool = False) -> Page:
    tables = study_tables(results)
    figures = draw_figures(results, tables, folder / "figures") if draw else {}
    write_report(results, tables, figures, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_carries_all_it_needs(tmp_path: Path) -> None:
    page = report_of(whole_study(BLOOM, paper_model="bloom-560m"), tmp_path, draw=True)
    assert len(page.loads) == 6
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.loads)
    assert page.links == ["https://arxiv.org/abs/2402.03782"]
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import", source)
    assert page.sections == [
        "summary",
        "figure2",
        "table4",
        "figure3",
        "figure4",
        "figure5",
        "table1",
        "section4",
        "how",
    ]
    assert not re.search(r"\b(None|nan|Undefined)\b", page.text)


def test_the_page_says_what_the_tables_say(tmp_path: Path) -> None:
    results = whole_study(BLOOM, paper_model="bloom-560m")
    page = report_of(results, tmp_path)
    tables = study_tables(results)
    for finding in (*tables.findings, *tables.time_findings):
        assert finding.sentence.replace(" %", "\u00a0%") in page.text
    agreeing = sum(f.verdict == "agrees" for f in (*tables.findings, *tables.time_findings))
    assert f"{agreeing} agree" in page.text
    for row in tables.table4:
        assert f"{row.mean_percent:.1f}" in page.text
        assert row.name in page.text
    assert "22.2 ± 9.7" in page.text  # Akan, unfrozen, in the paper
    assert "learning rate" in page.text.casefold()
    assert "2 cores" in page.text
    assert "2024-02-29T12:00:00+00:00" in page.text


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    results = study([run(FEW, 0, 50), run(FEW, 0, 60, length=5)], parts=("figure4", "figure5"))
    page = report_of(results, tmp_path)
    assert page.sections == ["summary", "figure4", "how"]
    assert "Figure 5: reparameterization per language: needs plain and" in page.text
    assert "Table 1: transfer and the distance between languages: was not asked for" in page.text
    assert "No run trained all weights" in page.text
    assert "nobody" not in page.text


def test_a_study_with_nothing_to_show_says_so(tmp_path: Path) -> None:
    page = report_of(study([run(FEW, 0, 50)], parts=("figure3",)), tmp_path)
    assert page.sections == ["summary", "how"]
    assert "there is nothing to show yet" in page.text
    assert page.loads == []


def test_one_seed_makes_no_claims(tmp_path: Path) -> None:
    results = whole_study(FEW, seeds=1)
    page = report_of(results, tmp_path)
    tables = study_tables(results)
    over_seeds = [row for row in tables.findings if row.part in ("figure2", "figure3", "figure5")]
    assert {row.verdict for row in over_seeds} == {"cannot tell", None}
    assert "(1 seed: no interval)" in page.text


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>&amp;"
    page = report_of(whole_study(FEW, model=name, settings={name: [name]}), tmp_path)
    assert name in page.text


def test_settings_as_a_person_writes_them() -> None:
    assert setting_text([1, 0.00010, True, None, {"a": "b"}]) == "1, 0.0001, yes, none, a: b"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    results = whole_study(FEW)
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_tables(results, tmp_path / "file" / "tables")
    tables = write_tables(results, tmp_path / "tables")
    with pytest.raises(InvalidInput, match="cannot be written"):
        draw_figures(results, tables, tmp_path / "file" / "figures")
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_report(results, tables, {}, tmp_path / "file" / "report.html")
