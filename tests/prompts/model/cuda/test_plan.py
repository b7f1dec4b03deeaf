"""Where rows lie and what they see, against a mask written out naively."""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from isogloss.prompts.model.cuda.ladder import choose, ladder
from isogloss.prompts.model.cuda.plan import BLOCK, Batch, Plan
from tests.some import some

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """What a row is: `prompt` -1 for a text's own rows; `text` -1 for padding."""

    text: int
    prompt: int
    place: int


def rows_of(batch: Batch, total: int) -> list[Row]:
    rows: list[Row] = []
    for text, tokens in enumerate(batch.texts):
        rows += [Row(text, -1, place) for place in range(tokens)]
        for slot, prompt in enumerate(batch.prompts[text]):
            rows += [Row(text, slot, place) for place in range(batch.distinct[prompt])]
    return rows + [Row(-1, -1, place) for place in range(total - len(rows))]


def naive_mask(rows: list[Row]) -> Mask:
    def sees(query: Row, key: Row) -> bool:
        if query.text != key.text or query.text == -1:
            return query == key
        if query.prompt == key.prompt:
            return key.place <= query.place
        return key.prompt == -1

    return np.array([[sees(query, key) for key in rows] for query in rows])


def mask_of(plan: Plan) -> Mask:
    """The rule in `plan`'s docstring, as the kernel applies it."""
    key = np.arange(plan.rung.rows)[None, :]
    query = np.arange(plan.rung.rows)[:, None]
    first, text_end, own = (
        each[:, None] for each in (plan.first, plan.text_end, plan.prompt_begin)
    )
    return (first <= key) & (key <= query) & ((key < text_end) | (own <= key))


def random_batch(seed: int) -> Batch:
    pick = random.Random(seed)
    distinct = [pick.randint(1, 9) for _ in range(pick.randint(1, 4))]
    texts = [pick.choice([1, 2, 17, 55, 56, 130]) for _ in range(pick.randint(1, 8))]
    prompts = [[pick.randrange(len(distinct)) for _ in range(pick.randint(0, 4))] for _ in texts]
    return Batch(texts, prompts, distinct)


def laid_out(batch: Batch) -> Plan:
    rung = choose(ladder(2048), batch.rows, batch.pairs)
    assert rung is not None
    return Plan.of(batch, rung)


@pytest.fixture(params=range(12))
def batch(request: pytest.FixtureRequest) -> Batch:
    return random_batch(request.param)


def test_a_small_batch_in_full() -> None:
    """Two texts of 3 and 2 tokens; the first under prompts 1 and 0 (2 and 1 tokens)."""
    plan = Plan.of(Batch([3, 2], [[1, 0], [0]], [1, 2]), ladder(64)[0])
    #                    text 0   | 0.1  | .0 | text 1| 1.0| padding
    assert plan.positions[:11].tolist() == [0, 1, 2, 3, 4, 3, 0, 1, 2, 0, 0]
    assert plan.first[:11].tolist() == [0, 0, 0, 0, 0, 0, 6, 6, 6, 9, 10]
    assert plan.text_end[:11].tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 8, 9, 10]
    assert plan.prompt_begin[:11].tolist() == [0, 0, 0, 3, 3, 5, 6, 6, 8, 9, 10]
    # Tokens of the texts are rows 0 to 4 of the source, prompt 0 is row 5, prompt 1 rows 6 and 7.
    assert plan.source[:11].tolist() == [0, 1, 2, 6, 7, 5, 3, 4, 5, 0, 0]
    assert plan.last.tolist() == [4, 5, 8, 0, 0, 0, 0, 0]
    assert plan.pairs == 3


def test_rows_see_their_text_and_their_own_prompt(batch: Batch) -> None:
    plan = laid_out(batch)
    np.testing.assert_array_equal(mask_of(plan), naive_mask(rows_of(batch, plan.rung.rows)))


def test_blocks_are_those_with_anything_in_sight(batch: Batch) -> None:
    plan = laid_out(batch)
    count = -(-plan.rung.rows // BLOCK)
    wide = np.zeros((count * BLOCK, count * BLOCK), bool)
    wide[: plan.rung.rows, : plan.rung.rows] = naive_mask(rows_of(batch, plan.rung.rows))
    seen: Mask = np.asarray(wide.reshape(count, BLOCK, count, BLOCK).any((1, 3)))
    for query in range(count):
        listed = plan.blocks[query, : plan.block_counts[query]].tolist()
        assert listed == sorted(set(listed))
        assert set(np.flatnonzero(seen[query]).tolist()) <= set(listed)
        assert listed[0] == int(np.flatnonzero(seen[query])[0]), "nothing needless at the front"
    assert plan.blocks.min() >= 0
    assert plan.blocks.max() < count


def test_positions_go_on_from_the_text_into_each_prompt(batch: Batch) -> None:
    plan = laid_out(batch)
    for row, position in zip(some(rows_of(batch, plan.rung.rows)), plan.positions, strict=True):
        before = batch.texts[row.text] if row.prompt >= 0 else 0
        assert position == (0 if row.text < 0 else before + row.place)


def test_every_row_comes_from_its_own_vector(batch: Batch) -> None:
    plan = laid_out(batch)
    texts = [("text", i, place) for i, n in enumerate(batch.texts) for place in range(n)]
    table = texts + [
        ("prompt", i, place) for i, n in enumerate(batch.distinct) for place in range(n)
    ]
    for row, source in zip(some(rows_of(batch, batch.rows)), plan.source, strict=False):
        if row.prompt < 0:
            assert table[source] == ("text", row.text, row.place)
        else:
            assert table[source] == ("prompt", batch.prompts[row.text][row.prompt], row.place)


def test_last_rows_are_each_pairs_last_in_the_callers_order(batch: Batch) -> None:
    plan = laid_out(batch)
    rows = rows_of(batch, plan.rung.rows)
    pairs = [(text, slot) for text, own in enumerate(batch.prompts) for slot in range(len(own))]
    assert plan.pairs == len(pairs)
    for (text, slot), last in zip(pairs, plan.last, strict=False):
        length = batch.distinct[batch.prompts[text][slot]]
        assert rows[last] == Row(text, slot, length - 1)
