"""The recipe that tries rates, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.prompts.model.backbone import Backbone
from isogloss.training.recipes import rates
from isogloss.training.tuning.scale import embedding_spread
from tests.training.commands import rows_of
from tests.training.tiny import save_tiny, write_task


def test_rates_are_so_many_spreads_and_each_has_all_its_seeds(tmp_path: Path) -> None:
    model = save_tiny("xglm", tmp_path / "tiny-xglm")
    spread = embedding_spread(Backbone.load(str(model)))
    asked = ["--models", str(model), "--data", str(write_task(tmp_path / "data"))]
    where = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "rates.csv")]
    few = [
        "--languages",
        "eng_Latn,fra_Latn",
        "--steps",
        "0.1",
        "3",
        "--seeds",
        "0",
        "1",
        "--shots",
        "2",
    ]
    rates.main([*asked, *where, *few])
    rows = rows_of(tmp_path / "rates.csv")
    kinds = ("plain", "residual", *(("residual-gain-1",) if not 0.5 < spread < 2 else ()))
    assert [row["kind"] for row in rows] == [kind for kind in kinds for _ in range(2)]
    for row in rows:
        assert (row["architecture"], row["seeds"]) == ("xglm", "2")
        assert float(row["learning_rate"]) == pytest.approx(float(row["step"]) * spread, rel=0.05)
        assert 0 <= float(row["english"]) <= 100
    made = list((tmp_path / "work").rglob("*.safetensors"))
    times = [path.stat().st_mtime_ns for path in made]
    rates.main([*asked, *where, *few])
    assert [path.stat().st_mtime_ns for path in made] == times
