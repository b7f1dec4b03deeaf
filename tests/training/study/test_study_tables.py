"""Tables of the study: numbers that can be checked by hand, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from isogloss.training.study.estimates import (
    Interval,
    chance,
    counted,
    difference,
    duration,
    interval_of,
    judged,
    listing,
    plain,
    share,
    signed,
    size,
    span,
)
from isogloss.training.study.kinship import by_family
from isogloss.training.study.results import StudyRun, absent_parts
from isogloss.training.study.rows import FindingRow, StudyTables
from isogloss.training.study.tables import study_tables, write_tables
from isogloss.training.typology.transfer import likenesses
from tests.training.commands import rows_of
from tests.training.study_samples import (
    BLOOM,
    FEW,
    PAPER,
    SENTENCES,
    run,
    study,
    whole_study,
    wobble,
)

T_3 = 3.182446  # Student's t, 97.5 %, 3 degrees of freedom


def flat(seed: int, place: int) -> int:
    return place - 25  # undoes the samples' slope: every language the same


def steps(*values: int) -> Callable[[int, int], int]:
    return lambda seed, place: values[seed] + flat(seed, place)


def two_settings(frozen: tuple[int, ...], full: tuple[int, ...]) -> list[StudyRun]:
    runs = [run(FEW, s, 100, noise=steps(*frozen)) for s in range(len(frozen))]
    return runs + [run(FEW, s, 100, noise=steps(*full), unfrozen=True) for s in range(len(full))]


def found(tables: StudyTables, name: str) -> FindingRow:
    return next(row for row in (*tables.findings, *tables.time_findings) if row.finding == name)


def test_an_interval_is_students() -> None:
    found = interval_of([1.0, 2.0, 3.0, 4.0])
    assert found.mean == 2.5
    assert found.low == pytest.approx(2.5 - T_3 * 1.2909944 / 2)
    assert found.high == pytest.approx(2.5 + T_3 * 1.2909944 / 2)
    assert interval_of([2.0]) == Interval(2.0, None, None, 1)
    assert interval_of([2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 2)


def test_a_difference_pairs_seeds() -> None:
    found = difference({0: 10.0, 1: 21.0, 2: 99.0}, {1: 20.0, 0: 8.0, 5: 0.0})
    assert found is not None
    assert (found.mean, found.n) == (1.5, 2)
    assert difference({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("low", "high", "direction"),
    [(0.1, 2, "above"), (-2, -0.1, "below"), (-1, 1, "unclear"), (0, 1, "unclear")],
)
def test_which_way_an_interval_points(low: float, high: float, direction: str) -> None:
    assert Interval(0.5, low, high, 4).direction == direction
    assert Interval(0.5, None, None, 1).direction == "unclear"


def test_a_verdict_needs_an_interval_on_one_side() -> None:
    assert judged(Interval(1, 0.5, 1.5, 4), "above") == "agrees"
    assert judged(Interval(1, 0.5, 1.5, 4), "below") == "does not agree"
    assert judged(Interval(1, -0.5, 2.5, 4), "above") == "cannot tell"
    assert judged(None, "above") == "cannot tell"


def test_languages_stand_by_family_and_branch() -> None:
    shown = [(place.name, place.group) for place in by_family(PAPER)]
    assert shown[0] == ("Assamese", "Indo-Iranian")
    assert ("Greek", "Other Indo-European") in shown
    assert ("Wolof", "Atlantic-Congo") in shown
    assert ("Basque", "Isolate") in shown
    groups = [group for _, group in shown]
    assert len(list(dict.fromkeys(groups))) == sum(
        one != other for one, other in zip(groups, ["", *groups], strict=False)
    ), "a group's languages stand together"
    assert by_family(["own_Code"])[0].family == "Unknown"
    assert [place.code for place in by_family(reversed(PAPER))] == [
        p.code for p in by_family(PAPER)
    ]


def test_table_4_is_the_mean_and_spread_over_seeds() -> None:
    tables = study_tables(study(two_settings((0, 4), (-2, -6))))
    row = next(r for r in tables.table4 if (r.language, r.setting) == ("yor_Latn", "frozen"))
    assert row.name == "Yoruba"
    assert row.family == "Atlantic-Congo"
    assert row.seeds == 2
    assert row.mean_percent == pytest.approx(100 * 102 / SENTENCES)
    assert row.std_points == pytest.approx(100 * 8**0.5 / SENTENCES)
    assert row.paper_percent is None
    frozen, full = tables.figure2
    assert frozen.mean_percent == pytest.approx(100 * 102 / SENTENCES)
    assert full.mean_percent == pytest.approx(100 * 96 / SENTENCES)
    assert (frozen.languages, frozen.seeds) == (len(FEW), 2)
    gain = found(tables, "freezing the model")
    assert gain.estimate == pytest.approx(100 * 6 / SENTENCES)
    assert gain.low == pytest.approx(100 * (6 - 12.7062047 * 4) / SENTENCES)  # of 2 and 10


def test_figure_5_is_relative_to_plain() -> None:
    runs = [run(FEW, s, 50, noise=steps(0, 2)) for s in (0, 1)]
    runs += [run(FEW, s, 40, noise=steps(0, 6), kind="residual") for s in (0, 1)]
    row = study_tables(study(runs)).figure5[0]
    assert row.plain_percent == pytest.approx(100 * 51 / SENTENCES)
    assert row.residual_percent == pytest.approx(100 * 43 / SENTENCES)
    assert row.change_points == pytest.approx(-100 * 8 / SENTENCES)
    assert row.change_percent == pytest.approx(-100 * 8 / 51)
    reach = 12.7062047 * 2  # of the differences -10 and -6, whose standard error is 2
    assert row.low_percent == pytest.approx(100 * (-8 - reach) / 51)
    assert row.high_points == pytest.approx(100 * (-8 + reach) / SENTENCES)


def test_figure_5_survives_a_language_that_plain_prompts_never_get_right() -> None:
    runs = [run(FEW, s, 0, noise=flat) for s in (0, 1)]
    runs += [run(FEW, s, 40, noise=flat, kind="residual") for s in (0, 1)]
    tables = study_tables(study(runs))
    assert {row.change_percent for row in tables.figure5} == {None}
    assert all(row.change_points == pytest.approx(100 * 40 / SENTENCES) for row in tables.figure5)


def test_figure_5_without_a_common_seed_has_no_interval() -> None:
    runs = [run(FEW, 0, 50, noise=flat), run(FEW, 1, 40, noise=flat, kind="residual")]
    tables = study_tables(study(runs))
    assert tables.figure5[0].change_points == pytest.approx(-100 * 10 / SENTENCES)
    assert (tables.figure5[0].low_points, tables.figure5[0].seeds) == (None, 0)
    assert "figure5" not in {row.part for row in tables.findings if row.verdict == "agrees"}


@pytest.mark.parametrize(
    ("frozen", "full", "verdict"),
    [
        ((10, 11, 12, 10), (0, 1, 1, 0), "agrees"),
        ((0, 1, 1, 0), (10, 11, 12, 10), "does not agree"),
        ((10, -9, 8, -7), (0, 1, 1, 0), "cannot tell"),
        ((10,), (0,), "cannot tell"),
    ],
)
def test_the_interval_decides_whether_freezing_helps(
    frozen: tuple[int, ...], full: tuple[int, ...], verdict: str
) -> None:
    runs = two_settings(frozen, full)
    tables = study_tables(study(runs, paper_model="bloom-560m"))
    assert found(tables, "freezing the model").verdict == verdict
    other = found(study_tables(study(runs)), "freezing the model")
    assert other.verdict is None
    assert "pocket-bloom is none of them" in other.paper


def test_languages_that_do_better_frozen() -> None:
    def shift(seed: int, place: int) -> int:
        return flat(seed, place) + (20, 20, 20, 20, 0, -20, 30 * (-1) ** seed)[place]

    runs = [run(FEW, s, 100, noise=shift) for s in range(4)]
    runs += [run(FEW, s, 100, noise=flat, unfrozen=True) for s in range(4)]
    tables = study_tables(study(runs, paper_model="bloom-560m"))
    gains = {row.language: row for row in tables.table4_freezing}
    assert gains["eng_Latn"].gain_points == pytest.approx(100 * 20 / SENTENCES)
    assert gains["eng_Latn"].low_points == pytest.approx(100 * 20 / SENTENCES)
    assert gains["eus_Latn"].low_points is not None
    assert gains["eus_Latn"].low_points < 0
    row = found(tables, "languages that do as well or better frozen")
    assert row.estimate == pytest.approx(100 * (6 + 5 + 6 + 5) / 4 / 7)
    assert row.high == pytest.approx(row.estimate + T_3 * 100 / 7 * (1 / 3) ** 0.5 / 2)
    assert "surely" not in row.sentence
    assert "for English (+9.8 points) and least for Swahili (−9.8 points)" in row.sentence
    assert "of 38 (BLOOM-560M)" in row.paper
    assert row.verdict == "agrees"


@pytest.mark.parametrize(
    ("share", "said"), [(0.25, "+24.0 points"), (0.6, "−11.0 points"), (None, "")]
)
def test_is_there_anything_but_guessing(share: float | None, said: str) -> None:
    runs = [run(FEW, s, 100, noise=flat) for s in range(3)]
    tables = study_tables(study(runs, majority_share=share))
    first = tables.findings[0]
    assert (first.finding == "above always answering the largest label") == (share is not None)
    assert said in first.sentence
    assert ("may be chance" in first.sentence) == (share == 0.6)


def test_isolates_are_no_family() -> None:
    codes = ("eus_Latn", "epo_Latn", "kor_Hang", "own_One", "own_Two", "fin_Latn", "est_Latn")
    runs = [run(codes, s, 100, noise=flat) for s in range(3)]
    runs += [run(codes, s, 60, noise=flat, kind="residual") for s in range(3)]
    assert "family x reparameterization" not in {
        r.finding for r in study_tables(study(runs)).findings
    }
    more = (*codes, "tam_Taml", "tel_Telu")
    runs = [run(more, s, 100, noise=flat) for s in range(3)]
    runs += [run(more, s, 60, noise=flat, kind="residual") for s in range(3)]
    sentence = found(study_tables(study(runs)), "family x reparameterization").sentence
    assert "From loss to gain: Dravidian (−40 %) and Uralic (−40 %)." in sentence


def test_a_single_language() -> None:
    runs = [run(FEW[:1], s, 100, noise=flat) for s in range(2)]
    runs += [run(FEW[:1], s, 60, noise=flat, kind="residual") for s in range(2)]
    tables = study_tables(study(runs))
    assert {cell.r for cell in tables.table1} == {None}


@pytest.mark.parametrize(
    ("rights", "best", "verdict"),
    [
        ({1: 90, 10: 70, 30: 60}, "Length 1 does best, at 44.1 %; every other", "agrees"),
        ({1: 60, 10: 70, 30: 90}, "Length 30 does best, at 44.1 %; every other", "does not agree"),
        (
            {1: 60, 10: 90, 30: 90},
            "Length 10 does best, at 44.1 %; length 30 may",
            "does not agree",
        ),
    ],
)
def test_which_length_does_best(rights: dict[int, int], best: str, verdict: str) -> None:
    runs = [run(FEW, s, n, length=k, noise=flat) for k, n in rights.items() for s in range(3)]
    tables = study_tables(study(runs))
    assert [row.length for row in tables.figure4] == [1, 10, 30]
    assert found(tables, "best length").sentence.startswith(best)
    assert found(tables, "trend over length").verdict == verdict


def test_do_more_examples_help() -> None:
    runs = [run(FEW, s, 50 + n, shots=n, noise=flat) for n in (32, 2, 8) for s in range(3)]
    tables = study_tables(study(runs))
    assert [row.shots for row in tables.figure3] == [2, 8, 32]
    row = found(tables, "more examples")
    assert row.estimate == pytest.approx(100 * 30 / SENTENCES)
    assert row.verdict == "agrees"
    assert "From 2 to 32 examples per label" in row.sentence


def family_shift(shifts: dict[str, int]) -> Callable[[int, int], int]:
    families = [next(p.family for p in by_family(PAPER) if p.code == code) for code in PAPER]
    return lambda seed, place: shifts.get(families[place], 0) + flat(seed, place) + seed % 2


def test_families_that_gain_and_lose() -> None:
    runs = [run(PAPER, s, 100, noise=flat) for s in range(4)]
    shift = family_shift({"Atlantic-Congo": -30, "Dravidian": 20})
    runs += [run(PAPER, s, 100, noise=shift, kind="residual") for s in range(4)]
    tables = study_tables(study(runs, paper_model="bloom-560m"))
    row = found(tables, "family x reparameterization")
    assert row.verdict == "agrees"
    assert "Between 8 families" in row.sentence
    assert "p < 0.001" in row.sentence
    assert found(tables, "reparameterization, Atlantic-Congo").verdict == "agrees"
    assert found(tables, "reparameterization, Dravidian").verdict == "agrees"
    assert found(tables, "reparameterization, Indo-Aryan").verdict == "cannot tell"
    assert (
        "15 Atlantic-Congo languages"
        in found(tables, "reparameterization, Atlantic-Congo").sentence
    )
    other = study_tables(study(runs))
    assert found(other, "reparameterization, Dravidian").verdict is None
    assert found(other, "family x reparameterization").verdict == "agrees"  # of no one model
    names = {row.finding for row in study_tables(study(runs, architecture="xglm")).findings}
    assert "reparameterization, Dravidian" in names
    assert "reparameterization, Atlantic-Congo" not in names


def test_all_families_going_one_way_do_not_differ() -> None:
    runs = [run(PAPER, s, 100, noise=flat) for s in range(4)]
    runs += [
        run(PAPER, s, 60, noise=lambda s, p: wobble(s, p) + flat(s, p), kind="residual")
        for s in range(4)
    ]
    row = found(study_tables(study(runs)), "family x reparameterization")
    assert row.verdict == "cannot tell"
    assert row.low == 0


def test_the_papers_numbers_stand_beside_those_of_its_own_models() -> None:
    tables = study_tables(whole_study(BLOOM, paper_model="bloom-560m"))
    row = next(r for r in tables.table4 if (r.language, r.setting) == ("aka_Latn", "full"))
    assert (row.paper_percent, row.paper_std_points) == (22.18, 9.67)
    frozen, full = tables.figure2
    assert frozen.paper_percent == pytest.approx(43.10, abs=0.01)
    assert full.paper_percent == pytest.approx(35.94, abs=0.01)
    assert (frozen.paper_languages, full.paper_languages) == (38, 38)
    few = study_tables(whole_study(FEW, paper_model="bloom-560m")).figure2[0]
    assert (few.languages, few.paper_languages) == (7, 6)  # the paper has no German for BLOOM
    other = study_tables(whole_study(BLOOM))
    assert {row.paper_percent for row in other.table4} == {None}
    assert {row.paper_percent for row in other.figure2} == {None}
    assert all("the paper's level" not in row.finding for row in other.findings)


def near_english(weight: int) -> Callable[[int, int], int]:
    """The nearer to English in the tree, the better, by `weight`; and a little chance."""
    near = likenesses("eng_Latn", PAPER, None)["GEN"].values
    return lambda seed, place: (
        int(weight * (near[PAPER[place]] or 0)) + flat(seed, place) + wobble(seed, place)
    )


@pytest.mark.parametrize(
    ("frozen", "full", "verdict"), [(10, 60, "agrees"), (60, 10, "does not agree")]
)
def test_does_freezing_weaken_the_pull_of_the_source(frozen: int, full: int, verdict: str) -> None:
    runs = [run(PAPER, s, 80, noise=near_english(frozen)) for s in range(4)]
    runs += [run(PAPER, s, 80, noise=near_english(full), unfrozen=True) for s in range(4)]
    tables = study_tables(study(runs, paper_model="bloom-560m"))
    row = found(tables, "pull towards the source language")
    assert row.verdict == verdict
    cells = {(cell.setting, cell.metric): cell.r for cell in tables.table1}
    assert cells["full", "DATA"] is None  # nobody counted a pocket model's data
    genetic = next(change for change in tables.table1_freezing if change.metric == "GEN")
    expected = (cells["full", "GEN"] or 0) - (cells["frozen", "GEN"] or 0)
    assert genetic.weaker_by == pytest.approx(expected)
    assert genetic.weaker_by is not None
    assert (genetic.weaker_by > 0) == (full > frozen)
    assert {row.metric for row in tables.table1_distances} >= {"GEN", "GEO", "SYN"}


def test_where_nothing_pulls_there_is_nothing_to_weaken() -> None:
    """The unfrozen runs do worse near English: that a correlation falls further says nothing."""
    runs = [run(PAPER, s, 80, noise=near_english(-60)) for s in range(4)]
    runs += [run(PAPER, s, 80, noise=near_english(-10), unfrozen=True) for s in range(4)]
    row = found(
        study_tables(study(runs, paper_model="bloom-560m")), "pull towards the source language"
    )
    assert row.estimate is not None
    assert row.estimate < 0
    assert row.verdict == "cannot tell"
    assert "there is no pull for freezing to weaken" in row.sentence


def test_table_1_has_the_papers_numbers_and_data_for_its_models() -> None:
    tables = study_tables(whole_study(BLOOM, model="bloom-560m", paper_model="bloom-560m"))
    data = {row.setting: row for row in tables.table1 if row.metric == "DATA"}
    assert (data["frozen"].paper_r, data["full"].paper_r) == (0.6080, 0.6781)
    assert data["frozen"].languages == 38
    assert data["frozen"].r is not None
    assert data["frozen"].low is not None
    assert data["frozen"].low < data["frozen"].r
    change = next(row for row in tables.table1_freezing if row.metric == "DATA")
    assert change.paper_weaker_by == pytest.approx(0.0701)


@pytest.mark.parametrize(
    ("off", "verdict"),
    [
        ((0, 1, -1, 0), "agrees"),
        ((30, 31, 29, 30), "does not agree"),
        ((30, -30, 40, -40), "cannot tell"),
    ],
)
def test_the_papers_level(off: tuple[int, ...], verdict: str) -> None:
    goal = round(sum((70.22, 73.16, 72.67)) / 3 / 100 * SENTENCES)  # Arabic, French, Spanish
    codes = ("arb_Arab", "fra_Latn", "spa_Latn")
    runs = [run(codes, s, goal, noise=steps(*off)) for s in range(4)]
    tables = study_tables(study(runs, paper_model="bloom-560m"))
    assert found(tables, "the paper's level, frozen").verdict == verdict


def test_what_a_prompt_costs() -> None:
    tables = study_tables(whole_study())
    trained, stored = tables.section4
    assert (trained.frozen, trained.full) == (2560, 8_002_560)
    assert trained.frozen_share_percent == pytest.approx(0.03199, rel=1e-3)
    assert (stored.frozen, stored.full) == (11_740, 32_011_740)
    assert {row.verdict for row in tables.findings if row.part == "section4"} == {None}
    papers = study_tables(whole_study(paper_model="bloom-560m"))
    assert found(papers, "trained parameters").verdict == "does not agree"
    assert found(papers, "storage").verdict == "agrees"
    time = found(papers, "training time, as trained here")
    assert time.verdict is None  # cached and side by side: not what the paper compares
    assert time.estimate == pytest.approx((20 / 100 + 21 / 101 + 22 / 102 + 23 / 103) / 4)
    like = found(papers, "training time, plain against plain")
    assert like.verdict == "agrees"
    assert like.estimate == pytest.approx((2 / 5 + 2 / 6 + 2 / 7 + 2 / 8) / 4)
    alone = [r for r in whole_study().runs if not r.unfrozen]
    tables = study_tables(study(alone, plain_steps={}))
    assert (tables.section4[0].full, tables.time_findings) == (8_000_000, ())


def test_tables_are_the_same_bytes_however_the_runs_came(tmp_path: Path) -> None:
    results = whole_study()
    write_tables(results, tmp_path / "one")
    slower = [replace(r, train_seconds=3 * r.train_seconds) for r in reversed(results.runs)]
    again = replace(results, runs=tuple(slower), seconds={"training": 1.0})
    write_tables(again, tmp_path / "two")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert {path.name for path in (tmp_path / "two").iterdir()} == names
    differing = {
        name
        for name in names
        if (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()
    }
    assert differing == {"timings.csv"}


def test_csv_files_are_tidy(tmp_path: Path) -> None:
    results = whole_study()
    write_tables(results, tmp_path)
    rows = rows_of(tmp_path / "accuracies.csv")
    assert len(rows) == len(results.runs) * len(FEW)
    first = rows[0]
    own = next(run for run in results.runs if run.name == first["run"])
    assert float(first["accuracy_percent"]) == pytest.approx(
        100 * own.accuracy[first["language"]], rel=1e-5
    )
    for path in tmp_path.iterdir():
        assert b"\r" not in path.read_bytes()
        assert b"nan" not in path.read_bytes()


def test_parts_without_runs_or_not_asked_for_are_left_out(tmp_path: Path) -> None:
    runs = [run(FEW, 0, 50), run(FEW, 0, 60, length=5)]
    results = study(runs, parts=("table4", "figure3", "figure4", "figure5"))
    write_tables(results, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {
        "accuracies",
        "figure4",
        "findings",
        "runs",
        "settings",
        "table4",
        "timings",
    }
    assert absent_parts(results) == {
        "figure2": "was not asked for",
        "figure3": "needs frozen runs with at least two numbers of examples",
        "figure5": "needs plain and reparameterized runs with the usual shots and length",
        "table1": "was not asked for",
        "section4": "was not asked for",
    }


def test_runs_that_cannot_stand_in_one_table() -> None:
    one = run(FEW, 0, 50)
    with pytest.raises(ValueError, match="without runs"):
        study([])
    with pytest.raises(ValueError, match="same name"):
        study([one, one])
    with pytest.raises(ValueError, match="different languages"):
        study([one, run(FEW[:3], 1, 50)])


def test_numbers_in_words() -> None:
    assert [plain(-1.25), plain(-0.04), signed(0.04), signed(2), signed(-2)] == [
        "−1.2",
        "0.0",
        "0.0",
        "+2.0",
        "−2.0",
    ]
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert [size(41_234), size(3.2e9), size(999)] == ["41.2 KB", "3.2 GB", "999 bytes"]
    assert [share(12.34), share(0.000914)] == ["12.3 %", "0.00091 %"]
    assert [duration(3.14159), duration(600), duration(6000)] == ["3.14 s", "10 min", "1 h 40 min"]
    assert span(Interval(1, -0.5, 2.5, 4)) == "(95 % interval −0.5 to +2.5, 4 seeds)"
    assert [counted(1, "family"), counted(8, "family")] == ["1 family", "8 families"]
    assert [chance(0.0004), chance(0.0312)] == ["p < 0.001", "p = 0.031"]
    assert span(Interval(1, None, None, 1)) == "(1 seed: no interval)"
