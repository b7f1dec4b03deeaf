"""Gains count routes as they are served: with their label priors taken off."""

from __future__ import annotations

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.card import ModelRef
from isogloss.prompts.routing.routes import RouteTable
from isogloss.training.evaluation.predictions import Prediction
from isogloss.training.selection.evidence import evidence_of
from isogloss.training.selection.gains import routed_gains
from isogloss.training.selection.served import as_served, routes_of, with_served

TABLE = RouteTable(
    model=ModelRef(id="m", fingerprint="f"),
    task="topic",
    universal="world",
    clades={"Romance": "romance"},
    priors={"fra_Latn": {"a": 0.0, "b": -2.0}},
)


def row(prompt: str, code: str, name: str, gold: str, a: float, b: float) -> Prediction:
    said = {"a": a, "b": b}
    predicted = max(said, key=said.__getitem__)
    return Prediction("m", "f", prompt, prompt, "topic", code, "test", name, gold, predicted, said)


ROWS = [
    row(prompt, code, name, gold, -0.5, -1.5)
    for prompt in ("world", "romance")
    for code in ("fra_Latn", "spa_Latn", "deu_Latn")
    for name, gold in (("1", "b"), ("7", "a"))
]


def test_a_prior_changes_the_answers_of_its_own_route_alone() -> None:
    rows, served = with_served(ROWS, TABLE)
    assert served == {"fra_Latn": "romance.prior", "spa_Latn": "romance", "deu_Latn": "world"}
    changed = {r.language: r.predicted for r in rows if r.prompt == "romance.prior"}
    assert changed == {"fra_Latn": "b", "spa_Latn": "a", "deu_Latn": "a"}
    assert [r for r in rows if r.prompt != "romance.prior"] == ROWS


def test_gains_are_those_of_what_is_served() -> None:
    rows, served = with_served(ROWS, TABLE)
    evidence, evaluated = evidence_of(rows)
    found = {
        (each.level, each.code): each
        for each in routed_gains(evidence, TABLE, evaluated, evaluated, (), served)
    }
    french = found["language", "fra_Latn"]
    assert (french.universal_percent, french.routed_percent) == (50.0, 50.0)
    assert french.prompts == "romance.prior"
    assert found["language", "spa_Latn"].gain_points == 0.0


def test_predictions_without_scores_cannot_be_served() -> None:
    route = routes_of(TABLE, ["fra_Latn"])["fra_Latn"]
    bare = Prediction("m", "f", "romance", "d", "topic", "fra_Latn", "test", "1", "a", "a", {})
    with pytest.raises(InvalidData, match="--scores"):
        as_served(bare, route)
