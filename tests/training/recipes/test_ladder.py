"""What pays on the ladder, on runs made up of known answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidData, NotFound
from isogloss.training.data.clades import lineages_of
from isogloss.training.recipes.ladder.comparisons import slope
from isogloss.training.recipes.ladder.page import PARTS, gains_table, refreshed, shown_alpha
from isogloss.training.recipes.ladder.pooling import Paired, by_text, intervals, levels, pooled
from isogloss.training.recipes.ladder.rungs import among, read_rung
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Group
from tests.some import some

CODES = ("eng_Latn", "hin_Deva", "tam_Taml")


def evidence(shares: dict[str, float], sentences: int = 40) -> Evidence:
    """Prompts that are right in the first so many of a language's sentences."""
    correct = np.zeros((len(shares), len(CODES), sentences))
    for n, share in enumerate(shares.values()):
        correct[n, :, : round(share * sentences)] = 1.0
    answered = np.ones(correct.shape[1:], dtype=np.bool_)
    return Evidence(tuple(shares), lineages_of(CODES), correct, answered)


def paired(ours: float, other: float) -> Paired:
    test = evidence({"a": ours, "b": other})
    return Paired.of(test, dict.fromkeys(CODES, "a"), dict.fromkeys(CODES, "b"))


EVERYBODY = [Group("overall", "all languages", CODES)]


def test_a_pooled_gain_is_the_mean_of_the_rungs_gains() -> None:
    (found,) = intervals(pooled([paired(0.5, 0.25), paired(0.5, 0.4)]), EVERYBODY)
    assert found.points == pytest.approx(17.5)
    assert found.percent - found.other_percent == pytest.approx(17.5)
    assert found.low < 17.5 < found.high


def test_rungs_that_answered_other_sentences_are_not_pooled() -> None:
    short = evidence({"a": 1.0, "b": 0.0}, sentences=20)
    other = Paired.of(short, dict.fromkeys(CODES, "a"), dict.fromkeys(CODES, "b"))
    with pytest.raises(InvalidData, match="different sentences"):
        pooled([paired(0.5, 0.25), other])


def test_the_slope_is_told_for_a_tenth_of_alpha() -> None:
    rungs = [SimpleNamespace(rung=SimpleNamespace(alpha=alpha)) for alpha in (0.0, 0.1, 0.2)]
    gains = [paired(0.5, 0.5), paired(0.6, 0.5), paired(0.7, 0.5)]
    assert slope(rungs, gains).points == pytest.approx(10)  # type: ignore[arg-type]


def test_languages_are_parted_by_their_text() -> None:
    known = {"eng_Latn": 1.0, "hin_Deva": 0.01, "tam_Taml": 0.0}
    parts = some(by_text(CODES, known))
    assert [part.codes for part in parts] == [("eng_Latn",), ("hin_Deva",), ("tam_Taml",)]
    told = {group.level for group in levels(evidence({"a": 1.0}), known)}
    assert told == {"overall", "clade", "amount", "language"}


def test_a_way_sees_its_own_candidates_only() -> None:
    every = evidence({"a": 0.5, "b": 0.75, "c": 1.0})
    chosen = among(every, {"c", "a"})
    assert chosen.prompts == ("a", "c")
    assert chosen.accuracy[1].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(InvalidData, match="'z' has no answers"):
        among(every, {"z"})


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no finished run"):
        read_rung(tmp_path)


def row(architecture: str, alpha: str, way: str, gain: str) -> dict[str, str]:
    told = {"architecture": architecture, "alpha": alpha, "which": "pooled", "way": way}
    told |= {"level": "overall", "over": "best single prompt", "gain_points": gain}
    return {**told, "low": "-1", "high": "2"}


WAYS = ("English, 8 shots", "all English", "labels in 12 languages", "labels everywhere")


def test_the_page_shows_models_with_every_way() -> None:
    rows = [row("bloom", "0.15", way, "0.5") for way in WAYS] + [row("xglm", "0", WAYS[0], "1")]
    table = gains_table(rows)
    assert "| bloom | 0.15 | +0.50 (-1.00 to +2.00) |" in table
    assert "xglm" not in table
    both = [row("bloom", a, WAYS[0], "1") for a in ("0", "0.25")] + [row("xglm", "0", WAYS[0], "1")]
    assert shown_alpha(both) == 0


def test_the_page_tells_the_committed_tables() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "measurements" / "when-tailoring-pays.md").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in page for name in some(PARTS))
    assert refreshed(page, root / "training" / "results" / "ladder") == page
