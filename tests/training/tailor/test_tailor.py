"""`isogloss tailor`, from labelled texts to a store: whole, interrupted, killed, and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.format.problem import Problem
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.store.store import PromptStore
from isogloss.training.cli.in_process import in_process
from isogloss.training.evaluation.predictions import read_predictions
from isogloss.training.evaluation.summary import summarize
from isogloss.training.tailor.job import Request, Tailored, plan_job, tailor
from isogloss.training.tailor.plan import Given
from isogloss.training.tailor.ways import BOTH, Way, Ways
from tests.some import some
from tests.training.commands import answer, app, isogloss, rows_of
from tests.training.tiny import WORDS, save_tiny, sentences, write_task, write_tsv

TINY = Ways(
    few=Way(4, (0, 1), (2, 3), BOTH),
    whole=Way(4, (0,), (3,)),
    diverse=Way(6, (0, 1), (3,), BOTH),
    tuned=Way(4, (0, 1), (3,), rate=0.03),
    taught=Way(4, (0,), (3,), rate=0.003),
    pairs=20,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tailor")
    save_tiny("bloom", folder / "tiny-bloom")
    write_task(folder / "data")
    return folder


def request(place: Path, out: Path, data: Path | None = None, **more: Any) -> Request:
    given = Given(str(place / "tiny-bloom"), str(data or place / "data"), "rooms")
    languages = more.pop("languages", "every")
    return Request(given, out, out / "store", languages=languages, ways=TINY, **more)


def run_all(asked: Request, fail: Callable[[Sequence[str]], None] = lambda words: None) -> Tailored:
    """In this process; `fail` may stop a command before it runs."""
    run = in_process(asked.work / "log.txt")

    def watched(words: Sequence[str]) -> None:
        fail(words)
        run(words)

    model = Backbone.load(asked.given.model, device="cpu")
    return tailor(model, asked, watched, lambda told, planned: None)


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    out = place / "whole"
    run_all(request(place, out))
    return out


def test_a_whole_run_publishes_what_it_chose(whole: Path) -> None:
    state = PromptStore.open(whole / "store").state()
    (table,) = state.routes
    assert (state.generation, table.task) == (1, "rooms")
    assert set(table.references) <= set(state.prompts)
    assert table.temperatures
    facts = json.loads((whole / "plan.json").read_bytes())
    assert facts["published"] == 1
    assert facts["labels"] == ["garden", "kitchen", "music", "weather"]
    assert facts["languages"]["fra_Latn"]["train"] == 24
    assert json.loads((whole / "routes.json").read_bytes())["universal"] == table.universal


def test_a_whole_run_tells_what_was_tried_and_what_it_took(whole: Path) -> None:
    candidates = {row["prompt"]: row for row in rows_of(whole / "candidates.csv")}
    kinds = {
        name.removeprefix("tiny-bloom-rooms-"): own["kind"] for name, own in candidates.items()
    }
    assert kinds["few-plain-length2-seed0"] == "plain"
    assert kinds["diverse-residual-seed1"] == "residual"
    assert kinds["diverse-together"] == kinds["italic-tuned-together"] == "ensemble"
    facts = json.loads((whole / "plan.json").read_bytes())
    assert [step["name"] for step in facts["steps"]] == [
        row["step"] for row in rows_of(whole / "steps.csv")
    ]
    assert set(facts["clades"]) == {"Italic", "Germanic"}
    predictions = rows_of(whole / "predictions.csv")
    for own in some(rows_of(whole / "languages.csv")):
        answers = [row for row in predictions if row["language"] == own["language"]]
        right = sum(row["routed"] == row["gold"] for row in answers) / len(answers)
        assert float(own["routed"]) == pytest.approx(right, abs=1e-4)
    assert (whole / "report.html").is_file()


@pytest.mark.parametrize(
    ("kind", "measures"),
    [("multi_label", {"micro_f1", "macro_f1"}), ("ordered", {"exact", "levels_off"})],
)
def test_a_whole_run_of_another_kind_of_task(
    place: Path, tmp_path: Path, kind: Problem, measures: set[str]
) -> None:
    """Every text beside the next one: both labels, or a level by its first label."""
    levels = ("garden", "kitchen", "music", "weather") if kind == "ordered" else None
    data = tmp_path / "data"
    for code in WORDS:
        for split in ("train", "dev", "test"):
            rows = sentences(code, split)
            beside = [*rows[1:], rows[0]]
            write_tsv(
                data / code / f"{split}.tsv",
                [
                    (name, label if levels else f"{label}|{other}", f"{text} {more}")
                    for (name, label, text), (_, other, more) in zip(rows, beside, strict=True)
                ],
            )
    given = Given(str(place / "tiny-bloom"), str(data), "rooms", problem=kind, levels=levels)
    if levels is None:
        given = replace(given, none_word="frost")
    out = tmp_path / "out"
    few = replace(TINY, few=replace(TINY.few, kinds=("none",)) if TINY.few else None, diverse=None)
    run_all(Request(given, out, out / "store", languages="every", ways=few))
    state = PromptStore.open(out / "store").state()
    (table,) = state.routes
    assert table.temperatures
    (dev,) = out.glob("work/dev-????????/predictions.csv")
    assert set(summarize(read_predictions(dev))[0].measures) == measures
    for own in some(rows_of(out / "languages.csv")):
        assert 0 <= float(own["routed"]) <= 1
    assert (out / "report.html").is_file()


def test_a_finished_run_does_nothing_again_and_publishes_nothing_new(
    place: Path, whole: Path
) -> None:
    def never(words: Sequence[str]) -> None:
        raise AssertionError(words)

    done = run_all(request(place, whole), never)
    assert done.generation == 1


def tensors(out: Path) -> dict[str, Any]:
    store = PromptStore.open(out / "store")
    state = store.state()
    prompts = {name: store.read(state.resolve(name)[2]) for name in state.prompts}
    return {
        f"{name} {number}": member.vectors.numpy()
        for name, prompt in prompts.items()
        for number, member in enumerate(getattr(prompt, "members", (prompt,)))
    }


def routes(out: Path) -> dict[str, Any]:
    (table,) = PromptStore.open(out / "store").state().routes
    facts: dict[str, Any] = table.model_dump(mode="json", exclude={"evidence"})
    return facts


def test_interrupted_twice_and_killed_once_it_ends_with_the_same(place: Path, whole: Path) -> None:
    out = place / "pieces"
    for number in (3, 7):
        calls = iter(range(1, 100))

        def fail(words: Sequence[str], calls: Any = calls, number: int = number) -> None:
            if next(calls) == number:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_all(request(place, out), fail)
    # What a SIGKILL leaves: a step's folder without its last file, and half a store.
    (finished,) = out.glob("work/few-*/done.json")
    finished.unlink()
    shutil.rmtree(out / "store", ignore_errors=True)
    run_all(request(place, out))
    assert routes(out) == routes(whole)
    one, other = tensors(out), tensors(whole)
    assert one.keys() == other.keys()
    for name in some(one):
        np.testing.assert_array_equal(one[name], other[name])


def test_labels_in_english_alone_with_parallel_text(place: Path, tmp_path: Path) -> None:
    data = write_task(tmp_path / "data")
    for code in ("fra_Latn", "deu_Latn"):
        (data / code / "train.tsv").unlink()
    for code in WORDS:
        write_tsv(tmp_path / "texts" / code / "train.tsv", sentences(code, "train"))
    asked = request(place, tmp_path / "out", data, parallel=(tmp_path / "texts",), dry_run=True)
    done = run_all(asked)
    ways = {row["way"] for row in rows_of(tmp_path / "out" / "candidates.csv")}
    assert {"english", "taught"} <= ways
    assert done.generation is None
    assert not (tmp_path / "out" / "store").exists()
    assert [each.what for each in done.plan.left_out] == [
        "prompts that learn from several languages"
    ]


def test_one_language_without_a_test_split(place: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split in ("train", "dev"):
        write_tsv(data / "fra_Latn" / f"{split}.tsv", sentences("fra_Latn", split))
    run_all(request(place, tmp_path / "out", data))
    out = tmp_path / "out"
    assert not (out / "languages.csv").exists()
    assert not list(out.glob("gains*"))
    facts = json.loads((out / "plan.json").read_bytes())
    assert facts["first"] == "fra_Latn"
    assert [each["why"] for each in facts["left_out"]][-1] == "no language has a test split"


# Refusals: before anything is trained


def test_without_dev_nothing_can_choose(place: Path, tmp_path: Path) -> None:
    write_tsv(tmp_path / "data" / "fra_Latn" / "train.tsv", sentences("fra_Latn", "train"))
    with pytest.raises(InvalidData, match=r"none of the languages has a dev split.*dev.tsv"):
        run_all(request(place, tmp_path / "out", tmp_path / "data"))


def test_without_train_there_is_nothing_to_learn_from(place: Path, tmp_path: Path) -> None:
    write_tsv(tmp_path / "data" / "fra_Latn" / "dev.tsv", sentences("fra_Latn", "dev"))
    with pytest.raises(InvalidData, match=r"no language has a train split.*train.tsv"):
        run_all(request(place, tmp_path / "out", tmp_path / "data"))


def test_a_label_that_train_lacks_is_refused_by_name(place: Path, tmp_path: Path) -> None:
    data = write_task(tmp_path / "data")
    rows = [("x-1", "sewing", "needle, thread")]
    write_tsv(data / "deu_Latn" / "dev.tsv", rows)
    with pytest.raises(InvalidData, match=r"deu_Latn dev: unknown labels .'sewing'."):
        run_all(request(place, tmp_path / "out", data))


def test_two_jobs_in_one_folder_are_refused(place: Path, whole: Path) -> None:
    def second(words: Sequence[str]) -> None:
        run_all(request(place, place / "twice"))

    with pytest.raises(InvalidInput, match="another `isogloss tailor` is at work there"):
        run_all(request(place, place / "twice"), second)


# The command


def test_the_plan_has_steps_commands_and_times_and_is_the_same_twice(
    place: Path, tmp_path: Path
) -> None:
    where = ("--model", place / "tiny-bloom", "--data", place / "data", "--languages", "every")
    asked = ("tailor", *where, "--task", "rooms", "--out", tmp_path / "out", "--plan")
    plan = answer(*asked)
    assert [step["name"] for step in plan["steps"]][:3] == ["few", "whole", "whole-together"]
    assert all(
        step["seconds"] > 0 and step["command"].startswith("isogloss ") for step in plan["steps"]
    )
    assert answer(*asked) == plan
    assert "# few: " in isogloss(*asked).stdout
    assert sorted(path.name for path in (tmp_path / "out" / "work").iterdir()) == [
        "dtype",
        "rates.json",
    ]


def test_ctrl_c_ends_the_command_with_130_and_says_how_to_go_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isogloss.training.tailor.job.run_steps", interrupted)
    asked = ["tailor", "--model", str(place / "tiny-bloom"), "--data", str(place / "data")]
    result = CliRunner().invoke(
        app, [*asked, "--languages", "every", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 130
    assert "finished steps are kept; run it again to go on" in result.stderr


def test_a_plan_is_made_on_data_of_codes_of_other_standards(place: Path, tmp_path: Path) -> None:
    data = write_task(tmp_path / "data")
    for code, short in (("eng_Latn", "en"), ("fra_Latn", "fr"), ("deu_Latn", "de")):
        (data / code).rename(data / short)
    model = Backbone.load(str(place / "tiny-bloom"), device="cpu")
    planned = plan_job(model, request(place, tmp_path / "out", data))
    assert planned.situation.first == "eng_Latn"
    assert planned.situation.evaluated == ("deu_Latn", "eng_Latn", "fra_Latn")
