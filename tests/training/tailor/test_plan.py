"""What is tried, whatever the data has; and what is said to be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from isogloss.training.data.clades import lineages_of
from isogloss.training.recipes.pocket.data import LANGUAGES
from isogloss.training.tailor.cost import Rates, evaluation_s, training_s
from isogloss.training.tailor.plan import Given, Plan
from isogloss.training.tailor.situation import Situation, Tongue
from isogloss.training.tailor.ways import FULL, QUICK, Way, batch_size
from isogloss.training.tailor.words import Best, BestSingle, Files, Output, Shortlist, Word
from tests.some import some

LABELS = ("a", "b", "c")
RATES = Rates(0.002, 0.0002, 0.0001)


def situation(
    train: Mapping[str, int],
    asked: tuple[str, ...],
    parallel: tuple[str, ...] = (),
    test: int = 30,
) -> Situation:
    """`train`: examples a label of each language that has some."""
    codes = sorted({*train, *asked})
    lineages = lineages_of(codes)
    tongues = {
        code: Tongue(
            code,
            lineages[code],
            None,
            False,
            dict.fromkeys(LABELS, train[code]) if code in train else {},
            30 if code in asked else 0,
            test if code in asked else 0,
            frozenset(range(50)) if code in parallel else frozenset(),
        )
        for code in codes
    }
    first = "eng_Latn" if "eng_Latn" in train else min(train)
    folders = ("texts",) if parallel else ()
    return Situation(LABELS, tongues, first, asked, folders, ("text",))


def plan(found: Situation, task: str = "topic") -> Plan:
    return Plan(Given("pocket-bloom", "data", task), found, QUICK, RATES)


def names(own: Plan) -> list[str]:
    return [step.name for step in own.steps()]


EUROPE = ("deu_Latn", "eng_Latn", "fra_Latn", "spa_Latn")


def test_texts_of_every_prompt_stand_in_the_template() -> None:
    """Whoever is taught, or goes on from a prompt, has that one's template."""
    framed = replace(
        plan(situation({"eng_Latn": 30}, EUROPE, parallel=EUROPE)),
        given=Given("pocket-bloom", "data", "topic", template="Topic of {text} :"),
    )
    trained = [str(step) for step in framed.steps() if str(step).startswith("isogloss train")]
    for command in some(trained):
        stands = "--template 'Topic of {text} :'" in command
        assert stands or "--init" in command
    assert "--template" in trained[0]
    assert "--template" not in " ".join(map(str, plan(framed.situation).steps()))


def test_labels_everywhere_try_every_way() -> None:
    everywhere = plan(situation(dict.fromkeys(LANGUAGES, 30), tuple(LANGUAGES)))
    found = names(everywhere)
    assert found[:6] == ["few", "whole", "whole-together", "diverse", "diverse-together", "dev"]
    assert found[-5:] == ["dev-clades", "routes", "test", "calibration", "gains"]
    assert {"bantoid-tuned", "indo-iranian-tuned-together", "turkic-tuned"} <= set(found)
    assert not [name for name in found if name.endswith("taught")]
    assert len(everywhere.sources) == 12
    assert everywhere.left_out == []


def test_labels_in_english_alone_and_no_parallel_text_say_what_is_missing() -> None:
    own = plan(situation({"eng_Latn": 30}, EUROPE))
    assert names(own) == [
        *("few", "whole", "whole-together", "dev", "routes", "test", "calibration", "gains"),
    ]
    said = {each.what: each for each in own.left_out}
    assert set(said) == {
        "prompts that learn from several languages",
        "prompts for Italic (French, Spanish)",
        "prompts for Germanic (German, English)",
    }
    italic = said["prompts for Italic (French, Spanish)"]
    assert italic.why == "no labels in it, and no parallel text"
    assert "French or Spanish" in italic.remedy


def test_labels_in_english_and_parallel_text_teach_the_clades() -> None:
    own = plan(situation({"eng_Latn": 30}, EUROPE, parallel=EUROPE))
    assert {"italic-taught", "germanic-taught", "everywhere-taught"} <= set(names(own))
    taught = next(step for step in own.steps() if step.name == "italic-taught")
    text = str(taught)
    assert "--source fra_Latn,spa_Latn --teacher '<best of whole on eng_Latn>'" in text or (
        "--source fra_Latn,spa_Latn --teacher <best of whole on eng_Latn>" in text
    )
    assert "--init prompt:<best of whole on eng_Latn> --teacher-language eng_Latn" in text
    assert "--data" not in text
    assert "--pairs 50" in text
    assert "--length" not in text


def test_labels_in_some_languages_tune_their_clades_and_teach_the_others() -> None:
    own = plan(
        situation({"eng_Latn": 30, "fra_Latn": 9}, (*EUROPE, "swh_Latn"), ("eng_Latn", "swh_Latn"))
    )
    found = names(own)
    assert {"indo-european-tuned", "atlantic-congo-taught"} <= set(found)
    assert "indo-european-taught" not in found
    assert own.clades["Indo-European"] == ("eng_Latn", "fra_Latn")
    assert own.clades["Atlantic-Congo"] == ("swh_Latn",)


def test_thirty_examples_in_two_languages_are_enough() -> None:
    own = plan(situation({"eng_Latn": 5, "fra_Latn": 5}, ("eng_Latn", "fra_Latn")), task="tickets")
    found = {step.name: str(step) for step in own.steps()}
    assert "--shots 4 --epochs" in found["few"]
    assert "--batch-size 4 --learning-rate 0.03" in found["diverse"]
    assert "--name bloom-tickets-diverse" in found["diverse"]
    assert "--task tickets" in found["italic-tuned"]
    assert "bloom-tickets-diverse-plain-seed{seed}.safetensors" in found["italic-tuned"]


def test_a_label_without_examples_is_told() -> None:
    found = situation({"fra_Latn": 9, "eng_Latn": 9}, EUROPE)
    english = replace(found.tongues["eng_Latn"], labels={"a": 9, "b": 9})
    own = plan(replace(found, tongues={**found.tongues, "eng_Latn": english}))
    assert not {"few", "whole"} & set(names(own))
    assert own.left_out[0].what == "prompts from English alone"
    assert own.left_out[0].why == "'c': 0 examples in train"


def test_without_a_test_split_nothing_is_said_of_gains() -> None:
    own = plan(situation({"eng_Latn": 30, "fra_Latn": 30}, EUROPE, test=0))
    assert not {"test", "gains"} & set(names(own))
    assert "--report" not in str(next(s for s in own.steps() if s.name == "calibration"))
    assert own.left_out[-1].remedy.startswith("put some of dev.tsv in test.tsv")


def test_a_step_needs_what_its_command_names_and_comes_after_it() -> None:
    known: list[str] = []
    everywhere = situation(dict.fromkeys(LANGUAGES, 30), tuple(LANGUAGES), tuple(LANGUAGES))
    english = situation({"eng_Latn": 30}, tuple(LANGUAGES), tuple(LANGUAGES))
    for found in some((everywhere, english)):
        known.clear()
        for step in some(plan(found).steps()):
            used = {name for word in step.command for name in used_by(word)} - {step.name}
            assert used <= set(step.needs) <= set(known), step.name
            known.append(step.name)


def used_by(word: Word) -> set[str]:
    match word:
        case Output() | Files():
            return {word.step}
        case Best():
            return {word.step, word.evaluation}
        case BestSingle():
            return {*word.evaluations, *word.prompts}
        case Shortlist():
            return {word.routes, *word.whole} | used_by(word.single)
    return set()


def test_the_test_split_is_read_after_the_routes_are_chosen() -> None:
    steps = plan(situation(dict.fromkeys(LANGUAGES, 30), tuple(LANGUAGES))).steps()
    reading = {step.name: step for step in steps if "--split test" in str(step)}
    assert list(reading) == ["test"]
    assert "routes" in reading["test"].needs


@pytest.mark.parametrize(("examples", "size"), [(9, 4), (99, 4), (100, 8), (400, 16), (9000, 16)])
def test_few_examples_make_small_batches(examples: int, size: int) -> None:
    assert batch_size(examples) == size


def test_many_examples_are_passed_over_less_often_within_bounds() -> None:
    way = Way(900, (0,), (8,), least_epochs=2)
    assert [way.epochs(count) for count in (9, 60, 631, 7572, 50_000)] == [60, 60, 23, 2, 2]


def test_full_tries_more_than_quick() -> None:
    found = situation(dict.fromkeys(LANGUAGES, 30), tuple(LANGUAGES))
    given = Given("pocket-bloom", "data", "topic")
    quick, full = (
        sum(step.seconds for step in Plan(given, found, ways, RATES).steps())
        for ways in (QUICK, FULL)
    )
    assert 2 * quick < full


def test_predicted_seconds_are_texts_and_visits() -> None:
    way = Way(100, (0, 1), (4, 8), ("none", "residual"))
    rates = Rates(encode_s=1.0, visit_s=0.1, score_s=0.0)
    assert training_s(rates, way, 90, 3) == pytest.approx(0.5 + 100 + 3 * 8 * 6 * 90 * 0.1)
    assert evaluation_s(Rates(1.0, 0, 0.5), 10, 4) == pytest.approx(0.5 + 10 * 3)
