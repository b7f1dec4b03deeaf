"""Choosing: literal tables, and simulated worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from isogloss.training.selection.choice import Decision, Rule, choose
from isogloss.training.selection.evidence import Evidence, Origin
from isogloss.training.selection.noise import sampling_noise
from isogloss.training.selection.scores import scores
from isogloss.training.selection.shrinkage import clade_likeness, infer, kinship
from isogloss.training.selection.simulation.judging import calibration, judge
from isogloss.training.selection.simulation.worlds import KINDS, Kind, world
from isogloss.training.selection.tables import choice_table

LINEAGES = {
    "fra": ("Indo-European", "Italic", "Romance", "West"),
    "spa": ("Indo-European", "Italic", "Romance", "West"),
    "ron": ("Indo-European", "Italic", "Romance", "East"),
    "deu": ("Indo-European", "Germanic"),
    "eng": ("Indo-European", "Germanic"),
    "fin": ("Uralic", "Finnic"),
    "est": ("Uralic", "Finnic"),
    "eus": (),
}
SENTENCES = 100
ANY = Rule(min_languages=2, min_sentences=1)


def table(languages: str, **percent: list[int]) -> Evidence:
    """Evidence of a hundred sentences a language: how many of them each prompt got right.

    Which sentences those are differs between prompts and languages, in a fixed way.
    """
    codes = languages.split()
    order = np.random.default_rng(0)
    correct = np.array(
        [[order.permutation(SENTENCES) < own for own in row] for row in percent.values()]
    )
    answered = np.ones((len(codes), SENTENCES), dtype=np.bool_)
    return Evidence(tuple(percent), {code: LINEAGES[code] for code in codes}, correct, answered)


def decisions(evidence: Evidence, rule: Rule = ANY) -> dict[str | None, Decision]:
    return {d.clade: d for d in choose(evidence, rule).decisions}


def test_clear_gains_make_routes_and_nested_clades_inherit() -> None:
    evidence = table(
        "fra spa ron deu eng fin est eus",
        all_round=[50, 50, 50, 50, 50, 50, 50, 50],
        romance=[70, 70, 70, 20, 20, 10, 10, 10],
        western=[95, 95, 20, 10, 10, 10, 10, 10],
    )
    choice = choose(evidence, ANY)
    assert choice.universal.prompt == "all_round"
    assert choice.routes == {"Italic": "romance", "West": "western"}
    by_clade = {d.clade: d for d in choice.decisions}
    assert list(by_clade) == ["Indo-European", "Uralic", "Germanic", "Italic", "West"]
    west = by_clade["West"]
    assert (west.baseline, west.baseline_clade) == ("romance", "Italic")
    assert [west.baseline_accuracy, west.accuracy] == pytest.approx([0.7, 0.95])
    assert west.universal_accuracy == pytest.approx(0.5)
    assert west.observed_gain == pytest.approx(0.25)
    assert (west.languages, west.sentences, west.candidates) == (("fra", "spa"), 200, 3)
    assert not by_clade["Germanic"].routed


def test_a_clade_below_a_routed_one_may_return_to_the_universal_prompt() -> None:
    evidence = table(
        "fra spa ron deu eng",
        all_round=[60, 60, 20, 90, 90],
        eastern=[50, 50, 95, 10, 10],
    )
    choice = choose(evidence, ANY)
    assert choice.universal.prompt == "all_round"
    assert choice.routes == {"Italic": "eastern", "West": "all_round"}


def test_the_universal_prompt_counts_languages_not_sentences() -> None:
    """`many` is right 90 + 0 of 110 times, `few` 50 + 9; the two languages weigh the same."""
    answered = np.zeros((2, 100), dtype=np.bool_)
    answered[0], answered[1, :10] = True, True
    correct = np.zeros((2, 2, 100))
    correct[0, 0, :90] = correct[1, 0, :50] = correct[1, 1, :9] = 1.0
    lineages = {code: LINEAGES[code] for code in ("fin", "est")}
    evidence = Evidence(("many", "few"), lineages, correct, answered)
    assert choose(evidence, ANY).universal.prompt == "few"
    assert evidence.sentences(("fin", "est")) == 110


def test_a_gain_that_may_be_chance_backs_off_to_the_parent() -> None:
    """Four points better in two languages, among four candidates: chance does that often."""
    evidence = table(
        "fra spa ron deu eng fin est",
        all_round=[52, 52, 52, 50, 50, 50, 50],
        other=[49, 51, 50, 54, 54, 48, 47],
        third=[50, 48, 51, 47, 46, 51, 49],
        fourth=[48, 52, 49, 50, 47, 46, 52],
    )
    germanic = decisions(evidence)["Germanic"]
    assert not germanic.routed
    assert (germanic.baseline, germanic.baseline_clade) == ("all_round", None)
    assert abs(germanic.gain.mean) < 0.02


def test_a_tie_keeps_what_is_there_and_then_goes_by_name() -> None:
    one = table("fra spa deu eng", b=[50, 50, 50, 50])
    twins = replace(one, prompts=("b", "a"), correct=np.repeat(one.correct, 2, axis=0))
    choice = choose(twins, ANY)
    assert choice.universal.prompt == "a"
    assert choice.routes == {}
    assert all(d.prompt == "a" and not d.routed for d in choice.decisions)


def test_a_single_candidate_answers_everywhere() -> None:
    choice = choose(table("fra spa deu eng", only=[50, 40, 30, 20]), ANY)
    assert (choice.universal.prompt, choice.routes) == ("only", {})


def test_rules_ask_for_languages_sentences_gain_and_probability() -> None:
    evidence = table("fra spa deu eus eng", a=[30, 30, 90, 90, 90], b=[60, 60, 10, 10, 10])
    assert "Italic" in choose(evidence, Rule(2, 200)).routes
    assert choose(evidence, Rule(2, 201)).routes == {}
    assert "Italic" not in choose(evidence, Rule(2, 1, min_gain=0.35)).routes
    assert choose(evidence, Rule(5, 1)).decisions == ()
    gain = decisions(evidence)["Italic"].gain
    assert 0 < gain.low < gain.mean < gain.high < 0.35
    assert "Italic" not in choose(evidence, replace(ANY, min_probability=1.0)).routes
    assert gain.positive < 1.0


def test_only_the_clades_asked_for() -> None:
    evidence = table(
        "fra spa ron deu eng fin", a=[10, 10, 10, 90, 90, 95], b=[90, 90, 90, 10, 10, 10]
    )
    assert choose(evidence, ANY, ["West", "Romance"]).routes == {"Romance": "b"}
    assert choose(evidence, ANY, ["Germanic"]).routes == {}


def test_likeness_halves_with_each_clade_that_tells_languages_apart() -> None:
    """Italic > Romance holds the same languages here, so the two count once."""
    codes = ("fra", "spa", "ron", "deu", "fin", "eus")
    likeness = clade_likeness({code: LINEAGES[code] for code in codes})
    assert likeness[0].tolist() == [0.875, 0.875, 0.75, 0.5, 0.0, 0.0]
    assert likeness[5].tolist() == [0.0] * 6
    assert np.linalg.eigvalsh(likeness).min() > -1e-12


def test_kinship_tells_own_languages_and_the_share_of_relatives() -> None:
    evidence = replace(
        table("fra spa deu fin est", known=[5] * 5, unknown=[5] * 5),
        origins={"known": Origin(frozenset({"fra", "fin", "xxx", "yyy"}))},
    )
    known, unknown = kinship(evidence)
    assert known[:, 0].tolist() == [1, 0, 0, 1, 0]
    # West: 0.75 of French with itself and Spanish; German 0.5; Finnish and Estonian 0.5.
    assert known[:, 1].tolist() == [0.75 / 4, 0.75 / 4, 0.5 / 4, 0.5 / 4, 0.5 / 4]
    assert not unknown.any()


def test_scores_keep_accuracies_and_follow_leads() -> None:
    evidence = world(3, Kind("both", everywhere=0.02, family=0.02)).evidence
    found = scores(evidence)
    overall = found.mean(axis=(1, 2))
    assert overall == pytest.approx(evidence.correct.mean(axis=(1, 2)))
    assert evidence.leads is not None
    own, leads = found[0] - found[1], evidence.leads[0] - evidence.leads[1]
    assert np.corrcoef(own.ravel(), leads.ravel())[0, 1] > 0.8
    plain = replace(evidence, leads=None)
    assert (scores(plain) == plain.correct).all()


def test_noise_is_that_of_drawn_sentences() -> None:
    """Accuracies of many evaluations spread as the noise estimated from one of them says."""
    worlds = [world(seed, Kind("same"), sentences=60).evidence for seed in range(150)]
    centred = [own.correct.mean(axis=2) - own.correct.mean(axis=(0, 2)) for own in worlds]
    truth = np.var([table_ - np.mean(centred, axis=0) for table_ in centred], axis=0).mean()
    noises = [
        sampling_noise(own.correct.astype(float), own.answered, own.membership)
        for own in worlds[:20]
    ]
    candidates = len(worlds[0].prompts)
    centring = np.eye(candidates) - 1 / candidates
    claimed = fmean(
        float(
            (centring @ n.candidates @ centring).diagonal().mean() * n.languages.diagonal().mean()
        )
        for n in noises
    )
    assert claimed == pytest.approx(truth, rel=0.25)


def test_where_candidates_do_not_differ_nothing_leaves_the_universal_prompt() -> None:
    for seed in range(6):
        assert choose(world(seed, Kind("same")).evidence, Rule()).routes == {}


def test_where_candidates_differ_everywhere_alike_nothing_is_lost() -> None:
    for seed in range(6):
        own = world(seed, Kind("alike", everywhere=0.03))
        choice = choose(own.evidence, Rule())
        assert own.gain(choice.routes, choice.universal.prompt) >= -0.001


@pytest.mark.parametrize(("kin", "family"), [(0.05, 0.0), (0.0, 0.05)])
def test_where_clades_differ_most_of_the_gain_is_found(kin: float, family: float) -> None:
    found, possible = [], []
    for seed in range(6):
        own = world(seed, Kind("clades", everywhere=0.01, kin=kin, family=family))
        choice = choose(own.evidence, Rule())
        found.append(own.gain(choice.routes, choice.universal.prompt))
        possible.append(own.attainable(choice.universal.prompt))
    assert fmean(found) > 0.6 * fmean(possible)
    assert min(found) > 0


def test_expected_gains_are_right_on_average_and_intervals_hold() -> None:
    """Of the best candidate of each family, which a plain mean would flatter."""
    errors, held, observed_errors = [], [], []
    for seed in range(10):
        own = world(seed, Kind("all", everywhere=0.02, kin=0.01, family=0.02))
        names, codes = own.evidence.prompts, own.evidence.languages
        for decision in choose(own.evidence, Rule()).decisions:
            if decision.prompt == decision.baseline:
                continue
            ours, other = names.index(decision.prompt), names.index(decision.baseline)
            places = [codes.index(code) for code in decision.languages]
            true = (own.truth[ours, places] - own.truth[other, places]).mean()
            errors.append(decision.gain.mean - true)
            observed_errors.append(decision.observed_gain - true)
            held.append(decision.gain.low <= true <= decision.gain.high)
    assert len(errors) > 50
    assert abs(fmean(errors)) < 0.01
    assert np.std(errors) < np.std(observed_errors)
    assert fmean(held) > 0.85


def test_the_same_evidence_gives_the_same_posterior() -> None:
    own = world(1, Kind("random", family=0.03)).evidence
    assert (infer(own).accuracies == infer(own).accuracies).all()


def test_being_surer_of_oneself_in_a_family_is_no_gain() -> None:
    """Equal accuracy, leads three times as large: more than chance makes of equal leads."""
    own = world(0, Kind("same")).evidence
    assert own.leads is not None
    louder = np.ones((len(own.prompts), len(own.languages), 1))
    louder[0, :6], louder[4, 6:12] = 3.0, 0.3
    loud = replace(own, leads=own.leads * louder)
    gains = [
        infer(each).gain(own.prompts[0], own.prompts[4], own.languages[:6]) for each in (own, loud)
    ]
    assert gains[1].mean == pytest.approx(gains[0].mean, abs=0.005)
    assert choose(loud, Rule()).routes == choose(own, Rule()).routes == {}


def test_sentences_of_one_article_are_one_unit() -> None:
    """Copies of every sentence say nothing new where they are of its article, and would else."""
    own = world(5, Kind("random", family=0.03), sentences=40).evidence
    twice = replace(
        own,
        correct=np.repeat(own.correct, 2, axis=2),
        answered=np.repeat(own.answered, 2, axis=1),
        leads=None,
        articles=np.repeat(np.arange(40), 2),
    )
    once = replace(own, leads=None, articles=None)
    noises = [
        sampling_noise(each.correct.astype(float), each.answered, each.membership)
        for each in (once, twice, replace(twice, articles=None))
    ]
    sizes = [n.candidates.trace() * n.languages.trace() for n in noises]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    assert sizes[2] < 0.6 * sizes[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_the_rule_states_comes_true(kind: Kind) -> None:
    """A few small worlds of each kind; the committed table has larger ones, and more of them."""
    claims = [claim for seed in range(4) for claim in judge(world(seed, kind), kind.name)[0]]
    if len(claims) < 5:
        assert sum(not claim.true for claim in claims) <= 2
        return
    overall = calibration(claims)[-1]
    chance = 2.5 * (overall.stated * (1 - overall.stated) / len(claims)) ** 0.5
    assert overall.true > overall.stated - 0.05 - chance


def test_the_table_says_how_many_routes_to_expect_to_be_wrong() -> None:
    own = world(2, Kind("random", family=0.04)).evidence
    choice = choose(own, Rule())
    routed = [d.gain.positive for d in choice.decisions if d.routed]
    assert routed
    assert choice.expected_harmful == pytest.approx(len(routed) - sum(routed))
    shown = choice_table(choice, "title").title
    assert shown is not None
    assert f"expect {choice.expected_harmful:.1f} of {len(routed)} routes to gain nothing" in shown


def test_a_prompt_made_for_a_clade_is_routed_in_it_alone_and_may_be_universal() -> None:
    """`west` is best in German too, where it may not be routed; `finnic` is best everywhere."""
    own = table(
        "fra spa ron deu eng fin est",
        world=[50] * 7,
        finnic=[70] * 7,
        west=[90] * 3 + [90] * 2 + [10] * 2,
    )
    origins = {
        "finnic": Origin(frozenset({"fin", "est"}), tailored="Finnic"),
        "west": Origin(frozenset({"fra"}), tailored="Italic"),
    }
    choice = choose(replace(own, origins=origins), ANY)
    assert choice.universal.prompt == "finnic"
    assert choice.routes == {"Italic": "west"}


@pytest.mark.parametrize(
    ("origin", "codes", "suits"),
    [
        (Origin(), [], True),
        (Origin(frozenset({"fin"}), tailored="Uralic"), [], False),
        (Origin(frozenset({"fin"}), tailored="Uralic"), ["fin", "est"], True),
        (Origin(frozenset({"fra", "spa"}), tailored="West"), ["fra", "ron"], False),
        (Origin(frozenset({"fra", "ron"}), tailored="Somewhere"), ["fra", "ron"], True),
        (Origin(frozenset({"fra"}), tailored="Romance"), ["fra", "deu"], False),
    ],
)
def test_whom_a_prompt_may_answer_for(origin: Origin, codes: list[str], suits: bool) -> None:
    assert origin.suits(LINEAGES, codes) is suits
