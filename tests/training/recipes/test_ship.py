"""The shipping pipeline: its plan, its memory, and a whole run on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.training.evaluation.summary import PromptSummary
from isogloss.training.files import write_atomically
from isogloss.training.recipes.pocket.data import LANGUAGES
from isogloss.training.recipes.ship import __main__ as command
from isogloss.training.recipes.ship.plan import Best, Output, Plan, Step
from isogloss.training.recipes.ship.settings import SHIPPED, Settings
from isogloss.training.recipes.ship.steps import best_first, run_steps
from isogloss.training.recipes.ship.store import Chosen, ship
from tests.fakes import route_table, soft_prompt
from tests.some import some
from tests.training.commands import rows_of
from tests.training.tiny import save_tiny, write_task

SOME = "--shots 2 --epochs 2 --length 3"
TINY = Settings(
    english_8="--shots 4 --epochs 2 --length 3 --reparameterization none residual --seed 0 1",
    english_8_more="",
    english_all="--shots all --epochs 4 --length 3",
    diverse=f"{SOME} --seed 0 1",
    diverse_sources=("eng_Latn", "fra_Latn"),
    together={"diverse-together": ("diverse", "*")},
    start="diverse",
    clade_tuned="--shots all --epochs 1 --seed 0 1",
    continued=(1,),
    examples_a_language=8,
    clades={"romance": ("fra_Latn",)},
    clade_taught="--pairs 20 --epochs 1",
    everywhere_taught="",
    languages="deu_Latn,eng_Latn,fra_Latn",
    route="--min-sentences 4 --min-probability 0.5",
)


def names(steps: Sequence[Step]) -> list[str]:
    return [step.name for step in steps]


def plan(settings: Settings = SHIPPED) -> Plan:
    return Plan("pocket-bloom", Path("sib200"), (Path("ntrex"),), settings)


def test_every_step_comes_after_those_it_needs() -> None:
    known: list[str] = []
    for step in some(plan().steps()):
        assert set(step.needs) <= set(known), step.name
        used = {word.step for word in step.command if isinstance(word, Output)} - {step.name}
        used |= {word.evaluation for word in step.command if isinstance(word, Best)}
        assert used <= set(step.needs), step.name
        known.append(step.name)


def test_every_way_and_every_clade() -> None:
    found = names(plan().steps())
    assert found[:4] == ["english-8", "english-8-more", "english-all", "diverse"]
    assert found[8] == "dev-sources"
    for clade in SHIPPED.clades:
        assert {f"{clade}-tuned", f"{clade}-tuned-together"} <= set(found)
    assert {f"continued-{size}" for size in (1, 2, 5, 9)} <= set(found)
    members = sorted(code for codes in SHIPPED.clades.values() for code in codes)
    assert members == sorted(set(LANGUAGES) - {"eus_Latn"})
    assert found[-7:] == [
        *("everywhere-taught", "dev-clades", "routes", "test", "calibration", "gains"),
        "tailoring",
    ]


def test_the_test_split_is_read_after_the_routes_are_chosen() -> None:
    steps = {step.name: step for step in plan().steps()}
    assert [own for own in steps if "--split test" in str(steps[own])] == ["test"]
    assert "routes" in steps["test"].needs


def test_a_way_that_lacks_its_start_is_left_out() -> None:
    own = Settings(diverse="", english_all="")
    found = names(plan(own).steps())
    assert not {"romance-tuned", "romance-taught", "everywhere-taught"} & set(found)


def test_the_plan_is_printed_without_loading_anything(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--data", "nowhere", "--models", "no-model", "--plan"], TINY)
    said = capsys.readouterr().out
    assert "# romance-tuned\nisogloss train --model no-model --source fra_Latn" in said
    assert "--init prompt:<diverse>/no-model-diverse-seed{seed}.safetensors" in said


def test_the_best_on_dev_is_by_all_languages_or_by_one() -> None:
    found = [
        PromptSummary("a", "", 0.5, {"eng_Latn": 0.2, "fra_Latn": 0.8}, {}),
        PromptSummary("b", "", 0.4, {"eng_Latn": 0.6, "fra_Latn": 0.2}, {}),
        PromptSummary("c", "", 0.5, {"eng_Latn": 0.5, "fra_Latn": 0.5}, {}),
    ]
    assert best_first(found) == ["a", "c", "b"]
    assert best_first(found, "eng_Latn") == ["b", "c", "a"]
    with pytest.raises(InvalidData, match="deu_Latn was not evaluated"):
        best_first(found, "deu_Latn")


# Resuming


class Runner:
    """Runs nothing, writes a file as a step would, and may fail."""

    def __init__(self, fails: str = "") -> None:
        self.ran: list[str] = []
        self._fails = fails

    def __call__(self, words: Sequence[str]) -> None:
        if words[0] == self._fails:
            raise KeyboardInterrupt
        self.ran.append(words[0])
        write_atomically(Path(words[1]) / "made", b"")


def chain(options: str = "") -> tuple[Step, ...]:
    return (
        Step("one", ("first", Output("one"), options)),
        Step("two", ("second", Output("two"), Output("one", "made")), ("one",)),
        Step("other", ("third", Output("other"))),
    )


def run(
    work: Path, run: Callable[[Sequence[str]], None], options: str = "", about: str = ""
) -> None:
    run_steps(chain(options), work, about, run, lambda line: None)


def test_finished_steps_are_skipped_and_an_interrupted_one_runs_again(tmp_path: Path) -> None:
    broken, again, once_more = Runner("second"), Runner(), Runner()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, broken)
    run(tmp_path, again)
    run(tmp_path, once_more)
    assert (broken.ran, again.ran, once_more.ran) == (["first"], ["second", "third"], [])


def test_a_changed_setting_runs_what_builds_on_it_again_and_nothing_else(tmp_path: Path) -> None:
    first, changed, back, retrained = Runner(), Runner(), Runner(), Runner()
    run(tmp_path, first)
    run(tmp_path, changed, "--epochs 3")
    run(tmp_path, back)
    run(tmp_path, retrained, about="other weights")
    assert first.ran == ["first", "second", "third"]
    assert changed.ran == ["first", "second"]
    assert back.ran == []
    assert retrained.ran == ["first", "second", "third"]


# Shipping


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
            *("--work", str(place / "work"), "--shipped", str(place / "shipped")),
            *("--results", str(place / "results")),
        ],
        TINY,
    )


def test_a_whole_run_ships_routed_and_named_prompts(made: Path) -> None:
    state = state_of(made / "shipped")
    assert state.generation == 1
    (table,) = state.routes
    assert set(table.references) <= set(state.prompts)
    for short in ("english-8-plain", "english-8-residual", "english-all-plain", "diverse-plain"):
        assert f"tiny-bloom-{short}" in state.prompts
    assert table.temperatures
    assert table.evidence


def test_a_whole_run_tells_what_was_tried(made: Path) -> None:
    tables = made / "results" / "tiny-bloom"
    candidates = rows_of(tables / "candidates.csv")
    ways = {own["prompt"].removeprefix("tiny-bloom-"): own["way"] for own in candidates}
    assert ways["english-8-plain-seed0"] == "english"
    assert ways["romance-tuned-seed0"] == "clade"
    assert "continued-1-seed1" in ways
    kinds = {own["prompt"].removeprefix("tiny-bloom-"): own["kind"] for own in candidates}
    assert kinds["romance-tuned-together"] == kinds["diverse-together"] == "ensemble"
    assert ways["romance-taught-seed0"] == "taught"
    assert len(candidates) == 4 + 1 + 3 + 3 + 3 + 1
    effects = {row["effect"] for row in rows_of(tables / "tailoring.csv")}
    assert "own - universal" in effects
    over = {row["over"] for row in rows_of(tables / "gains_overall.csv")}
    assert {"universal", "tiny-bloom-continued-1-together"} <= over
    assert len(over) == 3  # and the best single prompt
    tested = [own for own in candidates if own["test_mean"]]
    assert {"universal"} <= {word for own in tested for word in own["routes"].split()}
    predictions = rows_of(tables / "predictions.csv")
    shown = {own["language"]: own for own in rows_of(tables / "languages.csv")}
    assert set(shown) == {"deu_Latn", "eng_Latn", "fra_Latn"}
    for code, own in shown.items():
        answers = [row for row in predictions if row["language"] == code]
        right = sum(row["routed"] == row["gold"] for row in answers) / len(answers)
        assert float(own["routed"]) == pytest.approx(right, abs=1e-4)
    assert {row["step"] for row in rows_of(tables / "steps.csv")} == set(names(tiny_steps()))


def tiny_steps() -> tuple[Step, ...]:
    return Plan("tiny-bloom", Path(), (), TINY).steps()


def test_a_finished_run_only_puts_things_together_again(made: Path) -> None:
    done = {path: json.loads(path.read_bytes()) for path in made.rglob("done.json")}
    before = {path: path.stat().st_mtime_ns for path in done}
    ship_tiny(made)
    assert {path: path.stat().st_mtime_ns for path in done} == before
    assert len(done) == len(tiny_steps())
