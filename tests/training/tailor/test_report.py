"""The page: what it says is what the tables say, and nothing that it shows can do harm."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.tables import table_bytes
from isogloss.training.tailor.advice import advise
from isogloss.training.tailor.report import write_report
from isogloss.training.tailor.report.reading import read_run
from isogloss.training.tailor.report.tree import tree_of
from tests.training.commands import rows_of

LANGUAGES = {
    "eng_Latn": ["Indo-European", "Germanic"],
    "fra_Latn": ["Indo-European", "Italic"],
    "spa_Latn": ["Indo-European", "Italic"],
    "swh_Latn": ["Atlantic-Congo"],
}
GAINS = ("level", "name", "code", "languages", "moved", "sentences", "over", "gain_points")


def decision(clade: str | None, languages: list[str], **more: Any) -> dict[str, Any]:
    return {
        "clade": clade,
        "prompt": "one",
        "best": "one",
        "baseline_prompt": "one",
        "dev_accuracy": 0.5,
        "gain": 0.0,
        "interval": [0.0, 0.0],
        "probability": 0.0,
        "min_probability": 0.75,
        "sentences": 100,
        "routed": clade is None,
        "languages": languages,
    } | more


EVIDENCE = [
    decision(None, list(LANGUAGES)),
    decision("Indo-European", ["eng_Latn", "fra_Latn", "spa_Latn"]),
    decision(
        "Italic",
        ["fra_Latn", "spa_Latn"],
        prompt="two",
        best="two",
        gain=0.02,
        interval=[-0.0096, 0.0496],
        probability=0.9,
        routed=True,
    ),
    decision(
        "Atlantic-Congo",
        ["swh_Latn"],
        best="three",
        gain=0.01,
        interval=[-0.0292, 0.0492],
        probability=0.69,
    ),
]
FACTS: dict[str, Any] = {
    "model": "models/<script>alert(1)</script>",
    "task": "topic",
    "labels": ["a", "b"],
    "effort": "quick",
    "data": "data & more",
    "hardware": "2 threads",
    "versions": {"torch": "2.13.0"},
    "began": "2026-01-01T00:00:00+00:00",
    "published": 3,
    "languages": {
        code: {
            "name": code,
            "lineage": lineage,
            "known": 1.0,
            "hardly_known": code == "swh_Latn",
            "train": 0 if code == "swh_Latn" else 90,
            "dev": 50,
            "test": 50,
            "parallel": 0,
        }
        for code, lineage in LANGUAGES.items()
    },
    "clades": {"Italic": ["fra_Latn", "spa_Latn"], "Germanic": ["eng_Latn"]},
    "left_out": [{"what": "prompts for X", "why": "no labels", "remedy": "label <b>some</b>"}],
    "steps": [
        {"name": "few", "predicted_seconds": 40.0, "seconds": 100.0, "command": "isogloss train"}
    ],
}


def save(out: Path, facts: dict[str, Any] | None = None, *, test: bool = True) -> Path:
    out.mkdir(exist_ok=True)
    table = {"universal": "one", "clades": {"Italic": "two"}, "evidence": EVIDENCE}
    (out / "plan.json").write_text(json.dumps(facts or FACTS))
    (out / "routes.json").write_text(json.dumps(table))
    calibration = ("clade", "split", "calibration_error_before", "calibration_error_after")
    columns = (*calibration, "confidence_after", "accuracy_after")
    split = "test" if test else "dev"
    rows = [("(all)", split, 0.123, 0.045, 0.5, 0.51)]
    (out / "calibration.csv").write_bytes(table_bytes(columns, rows))
    candidates = ("prompt", "kind", "length", "dev_mean", "test_mean", "routes")
    (out / "candidates.csv").write_bytes(
        table_bytes(candidates, [("one", "plain", 8, 0.5, 0.55, "universal")])
    )
    if test:
        (out / "gains_overall.csv").write_bytes(
            gains([("overall", "all", "", 4, 2, 200, "universal", 1.5, 0.5, 2.5)])
        )
        (out / "gains_clades.csv").write_bytes(
            gains(
                [
                    ("clade", "Italic", "", 2, 2, 100, "universal", 3.0, 1.0, 5.0),
                    ("clade", "Italic", "", 2, 2, 100, "other", 9.0, 1.0, 5.0),
                    ("clade", "Germanic", "", 1, 0, 50, "universal", 0.0, 0.0, 0.0),
                ]
            )
        )
        languages = ("language", "clade", "prompt", "sentences", "universal", "routed")
        (out / "languages.csv").write_bytes(
            table_bytes(
                languages,
                [
                    ("fra_Latn", "Italic", "two", 50, 0.5, 0.56),
                    ("eng_Latn", "", "one", 50, 0.6, 0.6),
                ],
            )
        )
    return out


def gains(rows: list[tuple[Any, ...]]) -> bytes:
    return table_bytes((*GAINS, "low", "high"), rows)


class Page(HTMLParser):
    """Its words, and the names of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(out: Path) -> Page:
    return Page(write_report(out).read_text(encoding="utf-8"))


def test_the_headline_says_who_is_routed_and_what_it_gains(tmp_path: Path) -> None:
    text = page_of(save(tmp_path / "out")).text
    assert "Italic get prompts of their own; all else is answered by one." in text
    assert "On test, routes gain +1.5 points (95 %: 0.5 to 2.5) over the universal prompt." in text


def test_numbers_of_the_page_are_those_of_the_tables(tmp_path: Path) -> None:
    text = page_of(save(tmp_path / "out")).text
    assert "Italic, 2 languages: +3.0 (1.0 to 5.0)" in text
    assert "+9.0" not in text
    assert "50.0 -> 56.0 %" in text
    assert "error on test: 12.3 % before, 4.5 % after" in text
    assert "1 steps in 2 min (40 s predicted)" in text
    assert "swh_Latn : what is right there rests on other languages" in text.replace(
        "of swh_Latn:", "of swh_Latn :"
    )


def test_what_a_page_shows_of_others_is_text(tmp_path: Path) -> None:
    page = page_of(save(tmp_path / "out"))
    assert "script" not in page.elements
    assert page.elements.count("b") == 0
    assert "label <b>some</b>" in page.text
    assert "data & more" in page.text


def test_the_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    text = write_report(save(tmp_path / "out")).read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=|url\(|@import", text)


def test_without_a_test_split_dev_is_shown_and_said_to_flatter(tmp_path: Path) -> None:
    text = page_of(save(tmp_path / "out", test=False)).text
    assert "Without a test split nothing can be said of what that gains." in text
    assert "On dev, which chose and therefore flatters, the universal prompt has 50.0 %" in text
    assert "error on dev: 12.3 %" in text


def test_the_tree_goes_down_as_far_as_prompts_differ(tmp_path: Path) -> None:
    run = read_run(save(tmp_path / "out"))
    family, other = tree_of(run)
    assert (family.clade, family.routed, other.clade) == ("Indo-European", False, "Atlantic-Congo")
    italic, germanic = family.below
    assert (italic.clade, italic.routed, italic.prompt) == ("Italic", True, "two")
    assert italic.languages == ("French", "Spanish")
    assert (germanic.clade, germanic.languages, germanic.below) == ("Germanic", ("English",), ())


def test_a_damaged_table_is_refused_by_name(tmp_path: Path) -> None:
    out = save(tmp_path / "out")
    (out / "plan.json").write_text("{")
    with pytest.raises(InvalidData, match=r"plan\.json: cannot be read .*tailor. again"):
        write_report(out)


# Advice


def test_so_many_more_dev_sentences_would_decide(tmp_path: Path) -> None:
    """A spread of 2 points on 100 sentences, a gain of 1: 0.674 of a spread is asked for."""
    (advice,) = [each for each in advise(FACTS, EVIDENCE) if each.split == "dev"]
    assert (advice.clade, advice.now, advice.gain, advice.spread) == (
        "Atlantic-Congo",
        100,
        1.0,
        2.0,
    )
    assert advice.more == 82  # 100 * (0.6745 * 2 / 1) ** 2 - 100
    write_report(save(tmp_path / "out"))
    rows = rows_of(tmp_path / "out" / "advice.csv")
    assert {(row["clade"], row["split"], row["more"]) for row in rows} >= {
        ("Atlantic-Congo", "dev", "82")
    }


def test_of_a_clade_of_many_languages_no_number_of_sentences_is_promised() -> None:
    undecided = EVIDENCE[-1] | {"languages": [f"l{n}" for n in range(5)]}
    (advice,) = [each for each in advise(FACTS, [undecided]) if each.split == "dev"]
    assert (advice.more, advice.gain) == (None, 1.0)


def test_of_a_clade_without_labels_too_little_is_known_where_few_have_some() -> None:
    (advice,) = [each for each in advise(FACTS, EVIDENCE) if each.split == "train"]
    assert (advice.clade, advice.now, advice.gain) == ("Atlantic-Congo", 0, None)
    assert "too few clades" in advice.why


def test_a_clade_without_labels_is_told_what_others_gained() -> None:
    clades = {f"C{n}": [f"l{n}"] for n in range(4)}
    languages = {
        f"l{n}": {"name": f"l{n}", "lineage": [f"C{n}"], "train": 70 * (n < 3)} for n in range(4)
    }
    facts = FACTS | {
        "languages": languages,
        "clades": {c: v for c, v in clades.items() if c != "C3"},
    }
    evidence = [decision(f"C{n}", [f"l{n}"], gain=0.01 * (n + 1)) for n in range(3)]
    (advice,) = advise(facts, [*evidence, decision("C3", ["l3"])])
    assert (advice.clade, advice.split, advice.more) == ("C3", "train", 70)
    assert (advice.gain, advice.spread) == (2.0, 1.0)


def test_a_route_that_is_sure_needs_no_advice() -> None:
    assert not [each for each in advise(FACTS, EVIDENCE) if each.clade == "Italic"]
