"""What routes gain on test: literal answers, simulated ones, and the command end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.predictions import Prediction, to_bytes
from isogloss.training.selection import left_out
from isogloss.training.selection.choice import Rule
from isogloss.training.selection.evidence import Evidence, Origin
from isogloss.training.selection.gains import GainRow, compare, worse_clades
from isogloss.training.selection.gains_figure import draw_gains
from isogloss.training.selection.left_out import check_same, leave_out, left_out_rows
from isogloss.training.selection.routing import find_origins
from isogloss.training.selection.seeds import seed_gains
from isogloss.training.selection.simulation.worlds import Kind, world
from tests.prompts import samples
from tests.some import some
from tests.training.commands import answer, isogloss, rows_of
from tests.training.selection.test_selection import LINEAGES
from tests.training.tiny import prompt, tiny

OF = ("a model", "topic")


def literal(ours: Mapping[str, int], other: Mapping[str, int], sentences: int = 50) -> Evidence:
    """Two prompts, the first so many sentences right in each language."""
    right = [[np.arange(sentences) < row[code] for code in ours] for row in (ours, other)]
    answered = np.ones((len(ours), sentences), dtype=np.bool_)
    lineages = {code: LINEAGES[code] for code in ours}
    return Evidence(("ours", "other"), lineages, np.array(right), answered)


def everywhere(evidence: Evidence, place: int) -> dict[str, str]:
    """One prompt in every language."""
    return dict.fromkeys(evidence.languages, evidence.prompts[place])


def by_name(rows: Sequence[GainRow]) -> dict[str, GainRow]:
    return {row.code or row.name: row for row in rows}


def test_gains_are_means_of_languages_and_paired() -> None:
    evidence = literal(
        {"deu": 30, "eng": 40, "fin": 20, "est": 20}, {"deu": 25, "eng": 45, "fin": 20, "est": 10}
    )
    routed = {"deu": "ours", "eng": "ours", "fin": "other", "est": "ours"}
    rows = by_name(compare(evidence, routed, dict.fromkeys(routed, "other"), OF))
    overall, germanic = rows["all languages"], rows["Indo-European"]  # of two Germanic ones
    assert (overall.gain_points, overall.moved, overall.sentences) == (5.0, 3, 200)
    assert (overall.universal_percent, overall.routed_percent) == (50.0, 55.0)
    # One gains on the sentences where the other loses; both ways the mean stays zero.
    assert (germanic.gain_points, germanic.prompts) == (0.0, "ours")
    assert germanic.low < 0 < germanic.high
    assert rows["est"].gain_points == 20.0
    assert 0 < rows["est"].low < 20 < rows["est"].high
    assert (rows["fin"].gain_points, rows["fin"].low, rows["fin"].high) == (0.0, 0.0, 0.0)
    assert (rows["fin"].moved, rows["fin"].prompts) == (0, "")
    assert [row.level for row in rows.values()].count("language") == 4


def test_the_same_sentence_in_many_languages_is_one_draw() -> None:
    """Copies of one language say no more than it does; other sentences would."""
    one = world(5, Kind("alike", everywhere=0.05)).evidence
    code, other = one.languages[0], one.languages[1]
    same = np.stack([one.correct[:, 0], one.correct[:, 0]], axis=1)
    lineages = {c: one.lineages[c] for c in (code, other)}
    twins = Evidence(one.prompts, lineages, same, one.answered[:2])
    rows = compare(
        twins, dict.fromkeys(lineages, one.prompts[0]), dict.fromkeys(lineages, one.prompts[4]), OF
    )
    overall, single = by_name(rows)["all languages"], by_name(rows)[code]
    assert (overall.low, overall.high) == (single.low, single.high)


def test_intervals_hold_as_often_as_they_say() -> None:
    held = []
    for seed in range(120):
        own = world(seed, Kind("both", everywhere=0.03, family=0.02), sentences=100)
        overall = compare(
            own.evidence, everywhere(own.evidence, 0), everywhere(own.evidence, 4), OF
        )[0]
        true = 100 * (own.truth[0] - own.truth[4]).mean()
        held.append(overall.low <= true <= overall.high)
    assert 0.89 <= np.mean(held) <= 0.99


def test_an_article_is_one_draw() -> None:
    """Sentences twice over widen no interval's evidence where both copies are of one article."""
    one = replace(literal({"deu": 30, "fin": 20}, {"deu": 25, "fin": 20}), articles=None)
    twice = replace(
        one,
        correct=np.repeat(one.correct, 2, axis=2),
        answered=np.repeat(one.answered, 2, axis=1),
        articles=np.repeat(np.arange(50), 2),
    )
    rows = [compare(each, everywhere(each, 0), everywhere(each, 1), OF)[0] for each in (one, twice)]
    assert (rows[0].low, rows[0].high) == (rows[1].low, rows[1].high)


def test_seeds_are_drawn_too_where_each_setting_has_several() -> None:
    """Two seeds of ours gain 20 and 0 points in German; which one is published is luck."""
    shares = {"ours-seed0": 35, "ours-seed1": 25, "other-seed0": 25, "other-seed1": 25}
    right = np.array([[np.arange(50) < share] for share in shares.values()])
    own = Evidence(tuple(shares), {"deu": LINEAGES["deu"]}, right, np.ones((1, 50), dtype=np.bool_))
    (overall, *_) = seed_gains(own, {"deu": "ours-seed0"}, {"deu": "other-seed1"}, OF)
    assert (overall.gain_points, overall.seeds, overall.moved) == (10.0, 2, 1)
    (fixed, *_) = compare(own, {"deu": "ours-seed0"}, {"deu": "other-seed1"}, OF)
    assert fixed.low > 0 >= overall.low
    assert overall.high - overall.low > fixed.high - fixed.low
    assert seed_gains(own, {"deu": "ours-seed0"}, {"deu": "ours-seed1"}, OF)[0].high == 0
    alone = replace(own, prompts=("lone", "ours-seed1", "other-seed0", "other-seed1"))
    assert seed_gains(alone, {"deu": "lone"}, {"deu": "other-seed1"}, OF) == []


def test_a_clade_is_called_worse_only_where_all_clades_together_allow_it() -> None:
    sure = literal(
        {"deu": 5, "eng": 5, "fin": 30, "est": 30}, dict.fromkeys(("deu", "eng", "fin", "est"), 30)
    )
    ours, other = (dict.fromkeys(sure.languages, name) for name in sure.prompts)
    assert worse_clades(compare(sure, ours, other, OF))[:1] == ["Indo-European"]
    evidence = world(0, Kind("same")).evidence
    rows = compare(evidence, everywhere(evidence, 0), everywhere(evidence, 4), OF)
    assert worse_clades(rows) == []
    assert all(row.low_together <= row.low for row in rows if row.level == "clade")


def test_a_prompt_that_was_not_evaluated_is_named() -> None:
    evidence = literal({"deu": 1}, {"deu": 2})
    with pytest.raises(InvalidData, match="'third' of the route table or --baseline is not in"):
        compare(evidence, {"deu": "third"}, {"deu": "other"}, OF)


def near(code: str, others: Sequence[str]) -> dict[str, float]:
    """Languages of one family are near each other."""
    return {other: float(other[0] != code[0]) for other in others}


def test_a_left_out_language_is_not_heard_and_its_prompts_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(left_out, "NEIGHBOURS", 2)
    own = world(2, Kind("trained", kin=0.25, everywhere=0.01)).evidence
    kept = ("ax0", "ax1", "ay0", "bx0", "bx1", "by0")
    small = own.only(kept)
    chosen = leave_out(small, Rule(), near)
    for code, arms in some(chosen.items()):
        for name in (arms.universal, arms.clade, arms.neighbours):
            assert not name.startswith(code[0])
    # Had one language of a family been no source, the family's prompt would have served it.
    origins = {n: Origin(o.sources - {"ax0"}) for n, o in own.origins.items()}
    freed = leave_out(replace(small, origins=origins), Rule(), near)
    assert freed["ax0"].clade.startswith("a")
    assert freed["ax0"].neighbours.startswith("a")
    assert freed["ax0"].routed_clade == "Family-a"
    rows = left_out_rows(small, freed, OF)
    assert [(r.way, r.over) for r in rows if r.level == "overall"] == [
        ("clade", "universal"),
        ("neighbours", "universal"),
        ("neighbours", "clade"),
    ]
    (moved,) = [r for r in rows if r.code == "ax0" and (r.way, r.over) == ("clade", "universal")]
    assert (moved.moved, moved.clade) == (1, "Family-a")


MODEL = tiny("bloom")
CODES = ("deu_Latn", "eng_Latn", "fra_Latn", "spa_Latn", "fin_Latn")


def predictions(names: Mapping[str, SoftPrompt], split: str) -> list[Prediction]:
    """`romance` is right in French and Spanish nearly always, and else rarely."""
    luck = np.random.default_rng(len(split))
    found = []
    for name, own in names.items():
        for code in CODES:
            shares = (0.85, 0.05) if name == "romance" else (0.3, 0.7)
            share = shares[code[:3] not in ("fra", "spa")]
            for n in range(60):
                lead = 1.0 if luck.random() < share else -1.0
                found.append(
                    Prediction(
                        MODEL.model_id,
                        MODEL.fingerprint,
                        name,
                        own.digest,
                        "home",
                        code,
                        split,
                        str(n),
                        "music",
                        "music" if lead > 0 else "garden",
                        {"music": lead, "garden": 0.0},
                    )
                )
    return found


def test_the_commands_route_explain_and_measure(tmp_path: Path) -> None:
    own = {name: prompt(MODEL, n) for n, name in enumerate(("anywhere", "romance"))}
    for name, made in own.items():
        made.save(tmp_path / f"{name}.safetensors")
    for split in ("dev", "test"):
        path = tmp_path / f"{split}.csv"
        path.write_bytes(to_bytes(predictions(own, split), ".csv"))
    store, out = tmp_path / "store", tmp_path / "gains"
    files = [tmp_path / f"{name}.safetensors" for name in own]
    isogloss("route", "--evaluations", tmp_path / "dev.csv", "--prompts", *files, "--store", store)
    table = PromptStore.open(store).state().routes[0]
    assert (table.universal, table.clades) == ("anywhere", {"Italic": "romance"})

    said = isogloss("route", "--explain", "it", "--store", store).stdout
    assert "Italian (ita_Latn) gets romance" in said
    assert "Indo-European: stays with anywhere (universal)" in said
    assert "Italic: takes romance [plain]: of 2 prompts on 120 dev sentences of 2 languages" in said
    assert "no sentence of Italian was evaluated: it gets what its relatives get" in said
    said = isogloss("route", "--explain", "deu_Latn", "--store", store).stdout
    assert "no clade leaves the universal prompt: anywhere; German was among" in said
    said = isogloss("route", "--explain", "eus_Latn", "--store", store).stdout
    assert "a language without relatives" in said
    (facts,) = answer("route", "--explain", "fr", "--store", store)["explanations"]
    assert facts["language"] == "fra_Latn"
    assert (facts["prompt"], facts["clade"], facts["measured"]) == ("romance", "Italic", True)
    (italic,) = [step for step in facts["steps"] if step["clade"] == "Italic"]
    assert italic["evidence"]["interval"][0] > 0
    assert italic["evidence"]["candidates"] == 2

    told = answer(
        *("gains", "--evaluations", tmp_path / "test.csv", "--store", store, "--out", out),
        *("--left-out", tmp_path / "dev.csv", "--baseline", "romance"),
    )
    overall, over_romance = told["overall"]
    assert (overall["over"], over_romance["over"]) == ("universal", "romance")
    assert over_romance["moved"] == 3
    assert over_romance["low"] > overall["high"]
    assert told["seeds"] == []
    assert overall["moved"] == 2
    assert overall["low"] > 0
    assert told["worse_clades"] == []
    assert [row["way"] for row in told["left_out"]] == ["clade", "neighbours", "neighbours"]
    all_clades = rows_of(out / "gains_clades.csv")
    clades = {row["name"]: row for row in all_clades if row["over"] == "universal"}
    assert (clades["Italic"]["moved"], clades["Germanic"]["moved"]) == ("2", "0")
    assert float(clades["Germanic"]["gain_points"]) == 0
    assert {path.name for path in out.iterdir()} == {
        *("gains_overall.csv", "gains_clades.csv", "gains_languages.csv", "gains.svg", "gains.png"),
        *("left_out.csv", "left_out_languages.csv"),
    }


def test_predictions_of_another_prompt_under_the_same_name_measure_nothing(
    tmp_path: Path,
) -> None:
    own = {name: prompt(MODEL, n) for n, name in enumerate(("anywhere", "romance"))}
    newer = own | {"romance": prompt(MODEL, 9)}
    store = PromptStore.open(tmp_path / "store", create=True)
    card = own["anywhere"].card
    table = RouteTable(
        model=card.model, task="home", universal="anywhere", clades={"Italic": "romance"}
    )
    store.publish(newer, [table])

    def gains(evaluated: Mapping[str, SoftPrompt], *more: object, exit_code: int = 0) -> str:
        for split, names in (("dev", newer), ("test", evaluated)):
            path = tmp_path / f"{split}.csv"
            path.write_bytes(to_bytes(predictions(names, split), ".csv"))
        given = ["gains", "--evaluations", tmp_path / "test.csv", "--store", tmp_path / "store"]
        return isogloss(*given, "--out", tmp_path / "gains", *more, exit_code=exit_code).stderr

    refused = gains(own, exit_code=2)
    assert f"'romance' of the route table is {newer['romance'].digest}" in refused
    assert f"evaluated as 'romance' is {own['romance'].digest}" in refused
    gains(newer)
    gains(newer, "--left-out", tmp_path / "dev.csv")
    with pytest.raises(InvalidData, match="'romance' is sha256:new on dev and sha256:old on test"):
        check_same(
            {"romance": "sha256:new", "only dev": "sha256:a"},
            {"romance": "sha256:old", "only test": "sha256:b"},
        )


def test_the_figure_shows_each_model_and_its_routed_clades() -> None:
    evidence = literal({"deu": 30, "fra": 40, "fin": 20}, {"deu": 25, "fra": 45, "fin": 20})
    arms = {"deu": "ours", "fra": "ours", "fin": "other"}
    rows = compare(evidence, arms, dict.fromkeys(arms, "other"), OF)
    figure = draw_gains(rows, {"a model": {"Indo-European", "Uralic"}})
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["all languages (2 of 3)", "Indo-European (2 of 2)"]
    assert axes.get_title(loc="left") == "a model"


def test_a_store_without_routes_for_the_model_says_what_to_do(tmp_path: Path) -> None:
    own = {"anywhere": prompt(MODEL, 0)}
    (tmp_path / "test.csv").write_bytes(to_bytes(predictions(own, "test"), ".csv"))
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish(own)
    given = ["gains", "--evaluations", tmp_path / "test.csv", "--store", tmp_path / "store"]
    refused = isogloss(*given, "--out", tmp_path / "out", exit_code=2).stderr
    assert "no routes for task 'home'" in refused


def test_a_prompt_has_seen_what_its_start_and_its_teacher_saw() -> None:
    def made(seed: int, training: dict[str, object]) -> SoftPrompt:
        own = samples.card().model_copy(update={"training": training})
        return samples.prompt(seed, of_card=own)

    english = made(0, {"sources": ["eng_Latn"], "start": None})
    diverse = made(1, {"sources": ["hin_Deva", "fra_Latn"], "start": None})
    tuned = made(2, {"sources": ["ben_Beng"], "start": {"name": "d", "digest": diverse.digest}})
    taught = made(
        3,
        {
            "sources": ["wol_Latn"],
            "start": {"name": "t", "digest": tuned.digest},
            "teacher": {"name": "e", "digest": english.digest, "language": "eng_Latn"},
        },
    )
    files = [
        Candidate(name, own)
        for name, own in (("english", english), ("tuned", tuned), ("taught", taught))
    ]
    rows = [
        Prediction(
            "m", "f", own.name, own.prompt.digest, "topic", "ben_Beng", "dev", "1", "a", "a", {}
        )
        for own in files
    ]
    origins = find_origins(rows, None, [*files, Candidate("diverse", diverse)])
    assert origins["english"].seen == {"eng_Latn"}
    assert origins["tuned"].seen == {"ben_Beng", "hin_Deva", "fra_Latn"}
    assert origins["taught"].seen == {"wol_Latn", "ben_Beng", "hin_Deva", "fra_Latn", "eng_Latn"}
    assert origins["taught"].sources == {"wol_Latn"}
    assert origins["taught"].way == "plain, no labels, taught by e in wol_Latn"


def test_a_language_that_every_prompt_has_seen_is_passed_over() -> None:
    own = world(2, Kind("trained", kin=0.25, everywhere=0.01)).evidence.only(("ax0", "ay0", "bx0"))
    seen = {name: Origin(frozenset({"ax0"})) for name in own.prompts}
    chosen = leave_out(replace(own, origins=seen), Rule(), near)
    assert set(chosen) == {"ay0", "bx0"}
    rows = left_out_rows(own, chosen, OF)
    assert {row.code for row in rows if row.level == "language"} == {"ay0", "bx0"}
    everything = {name: Origin(frozenset(own.languages)) for name in own.prompts}
    with pytest.raises(InvalidData, match="seen"):
        leave_out(replace(own, origins=everything), Rule(), near)
