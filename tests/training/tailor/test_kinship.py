"""Clades out of the tree, and sources that stand for all languages."""

from __future__ import annotations

from isogloss.training.data.clades import lineages_of
from isogloss.training.recipes.pocket.data import LANGUAGES
from isogloss.training.tailor.kinship import diverse, groups, kinship
from tests.some import some

TREE = {
    "fra_Latn": ("IE", "Italic", "Romance"),
    "spa_Latn": ("IE", "Italic", "Romance"),
    "deu_Latn": ("IE", "Germanic"),
    "swh_Latn": ("AC", "Bantu"),
    "eus_Latn": (),
}


def test_a_clade_is_as_large_as_allowed_and_named_by_its_highest_node() -> None:
    assert groups(TREE, 3) == {"AC": ("swh_Latn",), "IE": ("deu_Latn", "fra_Latn", "spa_Latn")}
    assert groups(TREE, 2) == {
        "AC": ("swh_Latn",),
        "Germanic": ("deu_Latn",),
        "Italic": ("fra_Latn", "spa_Latn"),
    }


def test_a_family_that_is_all_there_is_is_cut_into_its_branches() -> None:
    family = {code: TREE[code] for code in ("fra_Latn", "spa_Latn", "deu_Latn")}
    assert groups(family, 10) == {"Germanic": ("deu_Latn",), "Italic": ("fra_Latn", "spa_Latn")}


def test_the_papers_languages_are_each_in_one_clade_of_at_most_ten() -> None:
    found = groups(lineages_of(LANGUAGES), 10)
    members = [code for codes in found.values() for code in codes]
    assert sorted(members) == sorted(set(LANGUAGES) - {"eus_Latn"})
    assert max(map(len, found.values())) <= 10
    lineages = lineages_of(LANGUAGES)
    for clade, codes in some(found.items()):
        assert all(clade in lineages[code] for code in codes)


def test_kinship_grows_with_common_ancestors() -> None:
    order = ["fra_Latn", "spa_Latn", "deu_Latn", "swh_Latn"]
    near = [kinship(TREE, "fra_Latn", code) for code in order]
    assert near == sorted(near, reverse=True)
    assert near[0] == 1.0


def test_diverse_sources_bring_every_family_nearer_before_a_second_of_one() -> None:
    unknown = dict.fromkeys(TREE)
    found = diverse(TREE, TREE, "fra_Latn", 4, unknown)
    assert found[0] == "fra_Latn"
    assert set(found) == {"fra_Latn", "swh_Latn", "eus_Latn", "deu_Latn"}
    assert diverse(TREE, TREE, "fra_Latn", 9, unknown)[-1] == "spa_Latn"


def test_of_near_equals_the_better_known_is_the_source() -> None:
    two = {"a_Latn": ("X",), "b_Latn": ("X",), "eng_Latn": ("Y",)}
    assert diverse(two, two, "eng_Latn", 2, {"a_Latn": 0.1, "b_Latn": 0.4})[1] == "b_Latn"
    assert diverse(two, two, "eng_Latn", 2, {"a_Latn": 0.4, "b_Latn": 0.1})[1] == "a_Latn"
