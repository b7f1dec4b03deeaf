"""What ships: tailored prompts of each model, put into one store."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.training.recipes.ship import __main__ as command
from isogloss.training.recipes.ship.store import Chosen, ship
from tests.fakes import route_table, soft_prompt
from tests.training.commands import rows_of
from tests.training.tiny import save_tiny, write_task


def state_of(shipped: Path) -> StoreState:
    return PromptStore.open(shipped).state()


def test_a_model_that_is_not_shipped_again_keeps_what_it_has(tmp_path: Path) -> None:
    bloom = Chosen(route_table("b"), {"b": soft_prompt(1.0), "b2": soft_prompt(2.0)})
    other = Chosen(route_table("x", model="fake-xglm"), {"x": soft_prompt(3.0, model="fake-xglm")})
    shipped = tmp_path / "shipped"
    ship([bloom, other], shipped, "first")
    newer = Chosen(route_table("b"), {"b": soft_prompt(4.0)})
    ship([newer], shipped, "second")
    state = state_of(shipped)
    assert (state.generation, state.note, set(state.prompts)) == (1, "second", {"b", "x"})
    assert state.resolve("b")[2] == soft_prompt(4.0).digest
    assert len(state.routes) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shipped"]
    assert sorted(path.name for path in shipped.iterdir()) == ["generations", "objects"]


# A whole run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ship")
    save_tiny("bloom", place / "tiny-bloom")
    write_task(place / "data")
    ship_tiny(place)
    return place


def ship_tiny(place: Path) -> None:
    command.main(
        [
            *("--data", str(place / "data"), "--models", str(place / "tiny-bloom")),
            *("--languages", "every", "--work", str(place / "work")),
            *("--shipped", str(place / "shipped"), "--results", str(place / "results")),
        ]
    )


@pytest.mark.soak
def test_a_whole_run_ships_routed_and_named_prompts(made: Path) -> None:
    state = state_of(made / "shipped")
    assert state.generation == 1
    (table,) = state.routes
    assert set(table.references) <= set(state.prompts)
    assert {f"tiny-bloom-{short}" for short in ("few-plain", "few-residual", "whole-plain")} <= set(
        state.prompts
    )
    assert table.temperatures
    assert table.evidence
    tables = made / "results" / "tiny-bloom"
    assert {row["kind"] for row in rows_of(tables / "candidates.csv")} >= {"plain", "residual"}
    assert (tables / "plan.json").is_file()


@pytest.mark.soak
def test_a_finished_run_only_puts_things_together_again(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("done.json")}
    ship_tiny(made)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("done.json")} == before
    assert before
