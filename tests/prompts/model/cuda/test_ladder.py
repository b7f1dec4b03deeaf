"""Which captured size a batch runs at, in literal tables."""

import pytest

from isogloss.prompts.model.cuda.ladder import Rung, choose, cut, ladder

LADDER = ladder(4096)


def test_rungs_double_and_then_take_quarter_steps() -> None:
    assert [rung.rows for rung in LADDER] == [
        *(64, 128, 256, 512, 1024, 1280, 1536, 1792),
        *(2048, 2560, 3072, 3584, 4096),
    ]
    assert [rung.pairs for rung in LADDER[:5]] == [8, 16, 32, 64, 128]


@pytest.mark.parametrize(
    ("max_rows", "top"), [(1, 64), (64, 64), (65, 128), (1025, 1280), (16_384, 16_384)]
)
def test_the_last_rung_holds_what_was_asked_for(max_rows: int, top: int) -> None:
    assert ladder(max_rows)[-1].rows == top


@pytest.mark.parametrize(
    ("rows", "pairs", "rung"),
    [
        (1, 1, 64),
        (64, 8, 64),
        (64, 9, 128),  # as many pairs as a small rung has no room for
        (65, 1, 128),
        (1025, 16, 1280),
        (2100, 300, 2560),
        (300, 129, 1280),
        (4096, 512, 4096),
        (4097, 1, None),
        (600, 513, None),
    ],
)
def test_a_batch_takes_the_smallest_rung_that_holds_it(
    rows: int, pairs: int, rung: int | None
) -> None:
    chosen = choose(LADDER, rows, pairs)
    assert (None if chosen is None else chosen.rows) == rung


@pytest.mark.parametrize("rows", range(1025, 4097, 97))
def test_padding_is_under_a_fifth_of_a_large_batch(rows: int) -> None:
    chosen = choose(LADDER, rows, 1)
    assert chosen is not None
    assert (chosen.rows - rows) / chosen.rows < 0.2


@pytest.mark.parametrize(
    ("rows", "pairs", "pieces"),
    [
        ([10, 20], [1, 1], [range(2)]),
        ([60, 60, 8, 128], [1, 1, 1, 1], [range(3), range(3, 4)]),
        ([60, 60, 9, 128], [1, 1, 1, 1], [range(2), range(2, 3), range(3, 4)]),
        ([20, 20, 20], [9, 8, 1], [range(1), range(1, 3)]),  # 16 pairs at most
        ([20, 129], [1, 1], None),
        ([20, 20], [1, 17], None),
    ],
)
def test_a_batch_over_the_top_is_cut_between_texts(
    rows: list[int], pairs: list[int], pieces: list[range] | None
) -> None:
    assert cut(rows, pairs, Rung(128, 16)) == pieces
