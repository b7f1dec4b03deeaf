"""What batches cost: the arithmetic by literal tables, the measuring with a clock of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.batching.costs import CostTable, Measured
from isogloss.serving.batching.kept_costs import CostKey, keep, read, recall
from isogloss.serving.batching.measure_costs import measure_costs, seems_slow, usual_lengths

FAST = CostTable(fixed_s=0.001, token_s=0.000_02, square_s=1e-8)


@dataclass
class Machine:
    """Takes the seconds its table says, by a clock that nothing else moves."""

    table: CostTable
    prompt_length: int = 10
    holds_tokens: int = 1_000_000
    first_s: float = 0.0
    now_s: float = 100.0
    batches: list[list[int]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def __call__(self, texts: Sequence[Sequence[int]]) -> None:
        lengths = [len(text) for text in texts]
        tokens = [length + self.prompt_length for length in lengths]
        if sum(tokens) > self.holds_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if lengths not in self.batches:
            self.now_s += self.first_s  # kernels are chosen
        self.batches.append(lengths)
        self.now_s += self.table.batch_s(tokens)

    def measure(self, limit_s: float, max_text_tokens: int = 2000) -> CostTable:
        return measure_costs(
            self,
            vocab_size=1000,
            max_text_tokens=max_text_tokens,
            prompt_length=self.prompt_length,
            limit_s=limit_s,
            clock=self.clock,
        )


def assert_same(table: CostTable, other: CostTable) -> None:
    """Both predict the same, within 3 %."""
    for tokens in ([50], [30, 90], [55] * 8, [50] * 100, [20, 40, 300], [500], [1000] * 3):
        assert table.batch_s(tokens) == pytest.approx(other.batch_s(tokens), rel=0.03), tokens


def test_a_batch_costs_its_fixed_part_and_its_texts() -> None:
    assert FAST.batch_s([]) == 0.001
    assert FAST.batch_s([50]) == pytest.approx(0.001 + 0.001 + 0.000_025)
    assert FAST.batch_s([50, 500]) == pytest.approx(0.001 + 0.001_025 + 0.0125)
    # Ten times the tokens are more than ten times the price: attention grows with their square.
    assert [FAST.price(tokens) for tokens in (1, 50, 500)] == [20, 1025, 12500]
    assert CostTable(0.0, 1e-9).price(1) == 1  # never nothing: a queue would hold no end of it


def test_the_parts_are_found_again_from_measurements() -> None:
    batches = [(50,), (50, 60), (50, 60, 20, 90), (500,), (50,) * 16]
    measured = [Measured(tokens, FAST.batch_s(tokens)) for tokens in batches]
    assert_same(CostTable.fit(measured), FAST)


@pytest.mark.parametrize(
    "seconds",
    [
        (0.0011, 0.0026, 0.009),  # more than in proportion: no fixed part
        (0.003, 0.0031, 0.002),  # long texts cost less: no attention
        (0.1, 0.001, 0.001),  # something else ran first: nothing seems to grow
    ],
)
def test_noise_makes_no_part_negative(seconds: Sequence[float]) -> None:
    batches = [(50,), (50, 60), (500,)]
    table = CostTable.fit([Measured(*each) for each in zip(batches, seconds, strict=True)])
    assert min(table.fixed_s, table.square_s) >= 0
    assert table.token_s > 0  # or no batch would ever be full


@pytest.mark.parametrize(
    ("table", "goal_s", "budget_s"),
    [
        # 19 parts of 20 are texts: 5 % from the best.
        (CostTable(0.001, 0.000_02), 2.0, 0.019),
        (CostTable(0.075, 0.0025), 2.0, 1.425),
        (CostTable(0.075, 0.0025), 1.0, 0.925),  # the goal is for the whole batch
        (CostTable(0.0, 0.000_1), 2.0, 0.0456),  # no fixed part found: eight texts all the same
        (CostTable(0.005, 0.000_000_5, 0.0, 8192), 2.0, 0.004_096),  # no more fits into memory
        (CostTable(5.0, 0.1), 2.0, 0.0),  # one text takes longer than the goal
    ],
)
def test_a_batch_is_as_small_as_full_speed_allows(
    table: CostTable, goal_s: float, budget_s: float
) -> None:
    assert table.budget_s(goal_s) == pytest.approx(budget_s)
    assert table.budget(goal_s) == max(1, round(budget_s * 1e6))


@pytest.mark.parametrize(
    ("cost_us", "waiting", "coming", "patience_s"),
    [
        (1000, 1, 0, 0.0),  # nobody comes
        (1000, 1, 1, 0.002),  # half of (5 ms - 1 ms)
        (1000, 1, 4, 0.0032),  # the more come, the more it pays
        (4000, 4, 1, 0.0002),  # the more wait, the less
        (40_000, 8, 1, 0.0),  # their time is dearer than the fixed part
        (9000, 1, 1, 0.0),  # so is the company's own time
    ],
)
def test_waiting_pays_by_what_it_saves(
    cost_us: int, waiting: int, coming: int, patience_s: float
) -> None:
    table = CostTable(fixed_s=0.005, token_s=0.000_02)
    assert table.patience_s(cost_us, waiting, coming) == pytest.approx(patience_s)


def test_waiting_as_long_as_it_pays_never_costs_more_than_it_saves() -> None:
    """Summed over all texts, both orders of events reckoned out."""
    table = CostTable(fixed_s=0.005, token_s=0.000_02)
    for waiting, coming, each_s in [(1, 1, 0.001), (2, 5, 0.0004), (4, 1, 0.001), (3, 9, 0.0001)]:
        cost_us = round(waiting * each_s * 1e6)
        wait_s = table.patience_s(cost_us, waiting, coming)
        first_s = table.fixed_s + waiting * each_s
        apart = waiting * first_s + coming * (first_s + table.fixed_s + coming * each_s)
        together = wait_s + table.fixed_s + (waiting + coming) * each_s
        assert (waiting + coming) * together == pytest.approx(apart)


def test_a_machine_is_measured_within_the_time() -> None:
    machine = Machine(FAST, first_s=0.03)
    table = machine.measure(limit_s=2.0)
    assert_same(table, FAST)
    assert table.most_tokens is None
    assert machine.now_s - 100 <= 2.0 + FAST.batch_s([67] * 256)
    assert max(map(len, machine.batches)) >= 64  # the first run of a shape does not count


def test_a_slow_machine_is_measured_on_a_few_batches_and_extrapolated() -> None:
    slow = CostTable(0.075, 0.0025, 1e-8)
    machine = Machine(slow)
    table = machine.measure(limit_s=2.0)
    assert max(map(len, machine.batches)) <= 4
    assert machine.now_s - 100 < 3.0
    assert table.batch_s([50] * 32) == pytest.approx(slow.batch_s([50] * 32), rel=0.02)


def test_one_slower_than_the_limit_is_measured_on_three_batches() -> None:
    machine = Machine(CostTable(1.0, 0.1))
    table = machine.measure(limit_s=0.5)
    assert [len(batch) for batch in machine.batches] == [1, 1, 2, 2, 1, 1]
    assert table.batch_s([50]) == pytest.approx(6.0, rel=0.02)


@pytest.mark.parametrize(("speed", "slow"), [(0.5, False), (1.0, False), (1.3, False), (2.0, True)])
def test_a_table_of_a_busy_machine_is_found_out(speed: float, slow: bool) -> None:
    machine = Machine(CostTable(0.001 / speed, 0.000_02 / speed))
    found = seems_slow(
        CostTable(0.001, 0.000_02), machine, vocab_size=1000, max_text_tokens=500,
        prompt_length=machine.prompt_length, clock=machine.clock,
    )  # fmt: skip
    assert found == slow
    assert [len(batch) for batch in machine.batches] == [2, 2]


def test_what_does_not_fit_into_memory_bounds_the_batches() -> None:
    machine = Machine(FAST, holds_tokens=1500)
    table = machine.measure(limit_s=60.0)
    assert table.most_tokens is not None
    assert 500 <= table.most_tokens <= 1500
    with pytest.raises(torch.OutOfMemoryError):
        Machine(FAST, holds_tokens=30).measure(limit_s=60.0)


def test_an_error_of_the_model_is_no_want_of_memory() -> None:
    def broken(texts: Sequence[Sequence[int]]) -> None:
        raise ValueError("no such kernel")

    with pytest.raises(ValueError, match="no such kernel"):
        measure_costs(broken, vocab_size=10, max_text_tokens=50, prompt_length=1, limit_s=1.0)


def test_no_text_is_longer_than_the_model_takes() -> None:
    machine = Machine(FAST)
    machine.measure(limit_s=2.0, max_text_tokens=40)
    assert max(length for batch in machine.batches for length in batch) == 40


def test_usual_lengths_are_those_of_news() -> None:
    lengths = usual_lengths(32)
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (17, 116)
    assert sum(lengths) / 32 == pytest.approx(43, abs=1)


KEY = CostKey(
    fingerprint="sha256:a",
    device="a processor",
    dtype="float32",
    threads=2,
    torch="2",
    isogloss="1",
)


def test_a_table_is_kept_for_the_next_start(tmp_path: Path) -> None:
    assert recall(tmp_path, KEY) is None
    keep(tmp_path / "new" / "folder", KEY, FAST)
    assert recall(tmp_path / "new" / "folder", KEY) == FAST
    bounded = CostTable(0.1, 0.2, 0.3, most_tokens=4)
    keep(tmp_path / "new" / "folder", KEY, bounded)
    assert recall(tmp_path / "new" / "folder", KEY) == bounded
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1  # nothing half-written is left


@pytest.mark.parametrize("name", sorted(set(CostKey.model_fields) - {"format", "threads"}))
def test_another_machine_has_another_table(tmp_path: Path, name: str) -> None:
    keep(tmp_path, KEY, FAST)
    assert recall(tmp_path, KEY.model_copy(update={name: "another"})) is None
    assert recall(tmp_path, KEY.model_copy(update={"threads": 3})) is None
    assert recall(tmp_path, KEY) == FAST


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"fixed_s": 1}',
        b" " * 100_000,
    ],
)
def test_a_damaged_file_is_no_table_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    keep(tmp_path, KEY, FAST)
    (tmp_path / KEY.file_name).write_bytes(damage)
    assert recall(tmp_path, KEY) is None
    keep(tmp_path, KEY, FAST)
    assert recall(tmp_path, KEY) == FAST


@pytest.mark.parametrize(
    "change",
    [
        {"fixed_s": -1.0},
        {"token_s": "NaN"},
        {"token_s": 0.0, "square_s": 0.0},  # every batch would hold any number of texts
        {"most_tokens": 0},
        {"key": {**KEY.model_dump(), "torch": "1"}},  # under another's name
        {"key": {**KEY.model_dump(), "format": 99}},
    ],
)
def test_a_foreign_file_is_no_table(tmp_path: Path, change: dict[str, object]) -> None:
    keep(tmp_path, KEY, FAST)
    path = tmp_path / KEY.file_name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert recall(tmp_path, KEY) is None


def test_a_kept_table_is_read_wherever_it_was_measured(tmp_path: Path) -> None:
    keep(tmp_path, KEY, FAST)
    found = read(tmp_path / KEY.file_name)
    assert (found.key, found.table) == (KEY, FAST)


@pytest.mark.parametrize("content", [None, "{", '{"fixed_s": 1}', "free"])
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "some.json"
    if content == "free":
        keep(tmp_path, KEY, CostTable(1.0, 0.0))
        path = tmp_path / KEY.file_name
    elif content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInput, match=re.escape(f"{str(path)!r}")):
        read(path)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    keep(tmp_path / "file" / "costs", KEY, FAST)
    assert recall(tmp_path / "file" / "costs", KEY) is None
