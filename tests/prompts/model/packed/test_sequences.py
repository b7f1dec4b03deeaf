"""Where sequences lie in a packed batch: literal tables."""

import pytest

from isogloss.prompts.model.packed.forward import rounded_up
from isogloss.prompts.model.packed.sequences import Group, Layout, Run


def test_one_prompt_belongs_to_its_text() -> None:
    layout = Layout.of([3, 5, 3], [[2], [1], [2]])
    # Texts 0 and 2 have one shape and share a call; longer shapes come first.
    assert layout.groups == (Group(0, 1, 6, ()), Group(6, 2, 5, ()))
    assert layout.order == ((1, (0,)), (0, (0,)), (2, (0,)))
    assert layout.ends() == [5, 10, 15]
    assert layout.reads == (1, 0, 2)  # states of texts 0, 1, 2, among those read
    assert layout.position_ids().tolist() == [0, 1, 2, 3, 4, 5, *[0, 1, 2, 3, 4] * 2]


def test_several_prompts_share_their_text() -> None:
    layout = Layout.of([4], [[2, 1, 2]])
    assert layout.groups == (Group(0, 1, 4, (Run(4, 1, 1), Run(5, 2, 2))),)
    assert layout.order == ((0, (1, 0, 2)),)  # by length, stable within equal ones
    assert layout.position_ids().tolist() == [0, 1, 2, 3, 4, 4, 5, 4, 5]
    assert layout.ends() == [4, 6, 8]
    assert layout.reads == (1, 0, 2)
    assert layout.longest == 6


def test_texts_without_prompts_are_left_out() -> None:
    layout = Layout.of([7, 2, 9], [[], [1], []])
    assert layout.groups == (Group(0, 1, 3, ()),)
    assert layout.order == ((1, (0,)),)


def test_the_same_shape_shares_a_group_whatever_the_order_of_its_prompts() -> None:
    layout = Layout.of([2, 2], [[3, 1], [1, 3]])
    assert layout.groups == (Group(0, 2, 2, (Run(2, 1, 1), Run(3, 1, 3))),)
    assert layout.groups[0].length == 6
    assert layout.ends() == [2, 5, 8, 11]
    assert layout.reads == (1, 0, 2, 3)


@pytest.mark.parametrize(
    ("rows", "run"), [(1, 8), (8, 8), (9, 16), (64, 64), (65, 72), (1000, 1024), (1025, 1088)]
)
def test_rows_are_rounded_up_to_few_different_numbers(rows: int, run: int) -> None:
    assert rounded_up(rows) == run
