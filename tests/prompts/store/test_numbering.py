"""Which files count as generations: one answer for everybody, whatever lies in the folder."""

from __future__ import annotations

import itertools

import pytest

from isogloss.prompts.store.numbering import (
    MAX_GENERATION,
    MAX_MISSING,
    GenerationId,
    Listing,
    listing_of,
    name_of,
    number_of,
)


def names(*numbers: int) -> list[str]:
    return [name_of(number) for number in numbers]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("00000001.json", 1),
        ("99999999.json", MAX_GENERATION),
        ("00000000.json", None),
        ("100000000.json", None),
        ("27.json", None),
        ("000000027.json", None),
        ("00000027x", None),
        ("00000027.json~", None),
        ("00000027.jsonx", None),
        ("00000027.json\n", None),
        (f"{10**30}.json", None),
        ("9" * 5000 + ".json", None),
        ("٠٠٠٠٠٠٢٧.json", None),
        (".tmp-00000027.json", None),
    ],
)
def test_a_name_is_a_generations_or_not(name: str, number: int | None) -> None:
    assert number_of(name) == number


@pytest.mark.parametrize(
    ("found", "counted", "strays"),
    [
        ([], (), ()),
        (names(1, 2, 3), (1, 2, 3), ()),
        (names(7, 8, 9), (7, 8, 9), ()),  # the oldest were collected
        (names(1, 3, 4), (1, 3, 4), ()),  # one was lost
        (names(1, 2, 3, MAX_GENERATION), (1, 2, 3), ("99999999.json",)),
        (names(1, MAX_GENERATION), (1,), ("99999999.json",)),
        (names(1, 2, 99, 100, 101), (99, 100, 101), ("00000001.json", "00000002.json")),
        (names(MAX_GENERATION), (MAX_GENERATION,), ()),
        ([*names(1, 2), "00000003x", "3.json", "notes.txt"], (1, 2), ("00000003x", "3.json")),
    ],
)
def test_generations_that_count_lie_together(
    found: list[str], counted: tuple[int, ...], strays: tuple[str, ...]
) -> None:
    assert listing_of(found) == Listing(counted, strays)


def test_the_order_in_which_names_are_found_does_not_matter() -> None:
    given = [*names(1, 2, 40, 41, 42, MAX_GENERATION), "00000007x"]
    answers = {listing_of(order) for order in itertools.permutations(given)}
    assert answers == {listing_of(given)}


def test_every_small_folder_has_one_newest_that_a_publisher_can_go_on_from() -> None:
    """Each subset of these: what is published next is the newest, or nothing is taken."""
    numbers = (1, 2, 3, 4, 20, 21, 22, 39, MAX_GENERATION - 1, MAX_GENERATION)
    grew = 0
    for size in range(len(numbers) + 1):
        for subset in itertools.combinations(numbers, size):
            listing = listing_of(names(*subset))
            assert set(listing.numbers) | {number_of(own) for own in listing.strays} == set(subset)
            gaps = [b - a - 1 for a, b in itertools.pairwise(listing.numbers)]
            assert max(gaps, default=0) <= MAX_MISSING
            following = listing_of(names(*subset, listing.newest + 1)).newest
            assert listing.may_grow == (following == listing.newest + 1)
            grew += listing.may_grow
    assert grew > 500


def test_a_stray_that_would_begin_to_count_is_not_published_towards() -> None:
    ahead = 1 + MAX_MISSING + 2
    assert listing_of(names(1, ahead)).newest == 1
    assert not listing_of(names(1, ahead)).may_grow
    assert listing_of(names(1, ahead + 1)).may_grow


def test_a_generation_says_what_it_is() -> None:
    assert str(GenerationId(26, "sha256:" + "ab" * 32)) == "generation 26 (sha256:abababababab)"
    assert str(GenerationId(0, "")) == "generation 0"
