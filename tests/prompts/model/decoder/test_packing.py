"""Index arithmetic of packed batches, with literal tables."""

import pytest
import torch

from isogloss.prompts.model.decoder.packing import (
    PromptLayout,
    TextLayout,
    bucket_by_length,
    pad_ragged,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("lengths", "buckets"),
    [
        ([], []),
        ([5], [[0]]),
        ([10, 50, 9, 48], [[1, 3], [0, 2]]),
        ([10, 6, 5], [[0, 1], [2]]),
        ([7, 7, 7], [[0, 1, 2]]),
    ],
)
def test_texts_of_similar_length_share_a_bucket(
    lengths: list[int], buckets: list[list[int]]
) -> None:
    assert bucket_by_length(lengths) == buckets


def test_equal_lengths_need_no_index() -> None:
    padding = pad_ragged(4, [[3], [3]], CPU, flat=True)
    assert padding.to_padded is None
    assert (padding.start, padding.stop, padding.shape) == (4, 10, (2, 3))


def test_ragged_rows_survive_padding_and_back() -> None:
    rows = torch.arange(12.0)[:, None]
    padding = pad_ragged(2, [[3], [1], [2]], CPU, flat=True)
    padded = padding.pad(rows)
    assert padded.shape == (3, 3, 1)
    assert padded[0, :, 0].tolist() == [2, 3, 4]
    assert padded[1, 0, 0] == 5
    assert padded[2, :2, 0].tolist() == [6, 7]
    assert padding.unpad(padded)[:, 0].tolist() == [2, 3, 4, 5, 6, 7]


def test_prompts_of_one_text_stand_side_by_side() -> None:
    padding = pad_ragged(0, [[2, 1], [3]], CPU, flat=False)
    padded = padding.pad(torch.arange(6.0)[:, None])
    assert padded.shape == (2, 2, 3, 1)
    assert padded[0, 0, :2, 0].tolist() == [0, 1]
    assert padded[0, 1, 0, 0] == 2
    assert padded[1, 0, :, 0].tolist() == [3, 4, 5]
    assert padding.unpad(padded)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_layout_of_texts() -> None:
    layout = TextLayout.of([2, 9, 3], CPU)
    assert layout.order == [1, 2, 0]
    assert layout.last_rows() == [13, 8, 11]
    assert layout.positions(CPU).tolist() == [*range(9), 0, 1, 2, 0, 1]


def test_prompts_are_answered_text_by_text_whatever_the_buckets() -> None:
    layout = PromptLayout.of([[1], [0, 2]], [[2, 1], [3], []], CPU)
    assert layout.pairs == ((1, 0), (0, 0), (0, 1))
    assert layout.last_rows() == [4, 5, 2]
    assert layout.positions([10, 20, 30], CPU).tolist() == [20, 21, 22, 10, 11, 10]


def test_a_bucket_without_prompts_is_passed_over() -> None:
    layout = PromptLayout.of([[0], [1]], [[], [2]], CPU)
    assert layout.paddings[0] is None
    assert layout.paddings[1] is not None
