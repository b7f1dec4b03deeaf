"""Worlds that are as they are said to be, and the command that judges the rule in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isogloss.training.selection.simulation import __main__ as command
from isogloss.training.selection.simulation.judging import Claim, calibration
from isogloss.training.selection.simulation.report import calibration_table, rules_table
from isogloss.training.selection.simulation.rules import simpler_routes
from isogloss.training.selection.simulation.worlds import KINDS, Kind, world
from tests.training.commands import rows_of


def test_answers_are_as_often_right_as_the_truth_says() -> None:
    own = world(0, Kind("random", everywhere=0.03, family=0.05, confidence=0.5), sentences=4000)
    assert own.evidence.accuracy == pytest.approx(own.truth, abs=0.05)
    assert abs((own.evidence.accuracy - own.truth).mean()) < 0.01


def test_families_that_differ_in_confidence_alone_are_equally_often_right() -> None:
    kinds = (Kind("same"), Kind("loud", confidence=0.5))
    same, loud = (world(3, kind).evidence for kind in kinds)
    assert (same.correct == loud.correct).all()
    assert same.leads is not None
    assert loud.leads is not None
    sizes = np.log(np.abs(loud.leads) / np.abs(same.leads)).mean(axis=2)
    assert sizes.std() > 0.3
    assert sizes[0, :6] == pytest.approx(sizes[0, 0])  # one family


def test_neighbours_of_an_article_are_right_together() -> None:
    own = world(1, Kind("same"), sentences=2000).evidence
    assert own.articles is not None
    right = own.correct.astype(float) - own.correct.mean(axis=2, keepdims=True)
    together = own.articles[1:] == own.articles[:-1]
    products = (right[..., 1:] * right[..., :-1]).mean(axis=(0, 1))
    assert products[together].mean() > 0.03
    assert abs(products[~together].mean()) < 0.015


def test_choosing_the_best_on_dev_makes_routes_for_nothing() -> None:
    own = world(0, Kind("same"))
    routes = simpler_routes(own.evidence, own.evidence.prompts[0])
    assert len(routes["best on dev"]) >= 8
    assert len(routes["largest t, bootstrap over candidates, 90 %"]) <= 3
    sure = world(0, Kind("trained", kin=0.3))
    for rule, found in simpler_routes(sure.evidence, sure.evidence.prompts[-1]).items():
        assert sure.gain(found, sure.evidence.prompts[-1]) > 0.15, rule


def test_bins_hold_what_was_stated() -> None:
    claims = [Claim("a", 0.8, 0.02, 0.01), Claim("a", 0.8, 0.02, 0.0), Claim("b", 1.0, 0.1, 0.1)]
    rows = {(row.world, row.low, row.high): row for row in calibration(claims)}
    assert (rows["a", 0.75, 0.85].stated, rows["a", 0.75, 0.85].true) == (0.8, 0.5)
    assert (rows["b", 0.95, 1.0].routes, rows["all", 0.75, 1.0].routes) == (1, 3)
    assert ("b", 0.75, 0.85) not in rows


def test_the_command_leaves_both_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "KINDS", [kind for kind in KINDS if kind.name == "trained"])
    command.main(["--out", str(tmp_path), "--worlds", "1", "--first-seed", "5"])
    assert {row["world"] for row in rows_of(tmp_path / "calibration.csv")} == {"trained", "all"}
    rules = rows_of(tmp_path / "rules.csv")
    assert rules[0]["rule"] == "this rule"
    assert len(rules) == 6
    assert all(row["worlds"] == "1" for row in rules)


def test_the_page_on_the_rule_tells_the_committed_tables() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "how-to" / "the-rule.md").read_text(encoding="utf-8")
    results = root / "training" / "results" / "rule"
    assert calibration_table(rows_of(results / "calibration.csv")) in page
    assert rules_table(rows_of(results / "rules.csv")) in page
