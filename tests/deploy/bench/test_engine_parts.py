"""What `bench engine` is made of: texts, turns, rates, the time left, agreement, its table."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isogloss.deploy.bench.agreement import agree
from isogloss.deploy.bench.comparing import ContendersDisagree, paired, percentiles
from isogloss.deploy.bench.contenders import Contender
from isogloss.deploy.bench.curves import Comparison, Point, Run
from isogloss.deploy.bench.markdown import markdown_table, read_report
from isogloss.deploy.bench.number_formats import base_precision, default_precisions
from isogloss.deploy.bench.peers import padded
from isogloss.deploy.bench.rates import MatrixProducts, linear_weights, needed_operations
from isogloss.deploy.bench.rounds import first_round, goes_on, more_rounds
from isogloss.deploy.bench.texts import SIB_LENGTHS, Workload, sib_lengths, workload
from isogloss.prompts.errors import InvalidInput
from tests.deploy.small_models import tiny_model

PAGE = Path(__file__).parents[3] / "docs" / "measurements" / "engine.md"
CPU = torch.device("cpu")


def test_lengths_stand_for_the_measured_ones() -> None:
    lengths = sib_lengths(1000)
    assert lengths == sorted(lengths)
    assert SIB_LENGTHS[0] <= lengths[0] < SIB_LENGTHS[1]
    assert SIB_LENGTHS[-2] < lengths[-1] <= SIB_LENGTHS[-1]
    assert sum(lengths) / 1000 == pytest.approx(41.4, abs=1)
    assert sib_lengths(1) == [39]


def test_batches_go_round_the_pool_and_mix_prompts() -> None:
    work: Workload = workload(
        prompts=2, prompt_length=1, hidden_size=4, vocab_size=50, seed=0, pool=5
    )
    batches = work.batches(3)
    first, second = next(batches), next(batches)
    assert first.texts == work.texts[:3]
    assert second.texts == (*work.texts[3:], work.texts[0])
    assert (first.prompts, second.prompts) == ((0, 1, 0), (1, 0, 1))
    assert work.tokens(first) == sum(map(len, first.texts)) + 3


def test_padding_goes_to_the_chosen_side() -> None:
    ids, mask = padded([[7, 8, 9], [5]], torch.device("cpu"), "left")
    assert ids.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    ids, mask = padded([[7, 8, 9], [5]], torch.device("cpu"), "right")
    assert ids.tolist() == [[7, 8, 9], [5, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def small_work(prompts: int) -> Workload:
    return workload(prompts=prompts, prompt_length=2, hidden_size=4, vocab_size=50, seed=0, pool=5)


def test_prompts_are_drawn_from_all_that_are_resident() -> None:
    work = small_work(prompts=40)
    few, many = work.resident(2), work.resident(40)
    assert sorted(few.drawn(4, seed=0).prompts) == [0, 0, 1, 1]
    assert len(set(many.drawn(5, seed=0).prompts)) == 5
    assert max(many.drawn(5, seed=0).prompts) > 5
    assert few.drawn(4, seed=0).texts == many.drawn(4, seed=0).texts


def test_a_text_under_several_prompts_is_read_once() -> None:
    work = small_work(prompts=3)
    batch = work.fanned(texts=2, prompts_per_text=2)
    assert batch.prompts == (0, 1, 1, 2)
    assert work.tokens(batch) == sum(map(len, work.texts[:2])) + 4 * 2
    assert batch.first(1).prompts == (0, 1)
    assert batch.first(1).texts == work.texts[:1]


def test_texts_may_all_have_one_length() -> None:
    work = workload(
        prompts=1, prompt_length=1, hidden_size=4, vocab_size=50, seed=0, lengths=(7, 7, 7)
    )
    assert list(map(len, work.texts)) == [7, 7, 7]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bloom-560m", [(96, 32), (32, 32), (128, 32), (32, 128)]),
        ("xglm-564M", [(96, 32), (32, 32), (64, 32), (32, 64)]),
        # Four heads of 12, two of keys and two of values; a gate beside what it gates.
        ("qwen3-0.6b", [(96, 32), (32, 48), (128, 32), (32, 64)]),
        ("gemma3-270m", [(96, 32), (32, 48), (128, 32), (32, 64)]),
    ],
)
def test_the_rate_covers_every_linear_layer_but_the_head(
    name: str, layer: list[tuple[int, int]]
) -> None:
    weights = linear_weights(tiny_model(name, 0, CPU, torch.float32))
    assert [tuple(w.shape) for w in weights] == layer * 2
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        products = MatrixProducts(weights, dtype)
        products.run(products.inputs(20))
        assert products.operations(20) == 2 * 20 * sum(w.numel() for w in weights)


def test_of_the_last_layer_only_what_is_read_is_needed() -> None:
    shapes = [(30, 10), (10, 10), (40, 10), (10, 40)] * 2
    weights = [torch.empty(shape) for shape in shapes]
    work = small_work(prompts=2)
    batch = work.fanned(texts=1, prompts_per_text=2)
    rows, layer = len(work.texts[0]) + 2 * 2, 1200
    last = rows * 200 + 2 * (100 + 100 + 400 + 400)  # keys and values; then the two rows read
    assert needed_operations(weights, work, batch) == 2 * (rows * layer + last)


def test_keys_and_values_that_heads_share_are_as_many_as_they_are() -> None:
    """Two heads of 8 over a hidden size of 10, which share one head of keys; a gated MLP."""
    shapes = [(2 * 8 + 8 + 8, 10), (10, 16), (80, 10), (10, 40)]
    work = small_work(prompts=1)
    batch = work.fanned(texts=1, prompts_per_text=1)
    rows = len(work.texts[0]) + 2
    needed = rows * 160 + (160 + 160 + 800 + 400)
    weights = [torch.empty(shape) for shape in shapes]
    assert needed_operations(weights, work, batch) == 2 * needed


def recorder(name: str, heard: list[str]) -> Contender:
    def call() -> Tensor:
        heard.append(name)
        return torch.zeros(1)

    return Contender(name, "ours", "fp32", lambda batch: call, lambda batch: 1)


def comparison(least: int, seconds: float, *runs: tuple[Contender, int | None]) -> Comparison:
    work = small_work(prompts=1)
    point = Point("batch_size", 1, work, tuple(next(work.batches(1)) for _ in range(2)))
    return Comparison("", tuple(Run(point, *run) for run in runs), least, seconds)


def test_rounds_go_back_and_forth_and_the_first_counts_only_alone() -> None:
    heard: list[str] = []
    a, b, c = (recorder(name, heard) for name in "abc")
    made = comparison(4, 0, (a, None), (b, 1), (c, 3))
    said: list[int] = []
    first_round(made, CPU)
    more_rounds(made, said.append)
    assert "".join(heard) == "abc" + "ac" + "ca" + "a"
    assert said == [1, 2, 3]
    runs = made.runs
    assert [list(run.kept()) for run in runs] == [[1, 2, 3], [0], [1, 2]]
    assert [[r for r, _, _ in runs[0].beside(run)] for run in runs] == [[1, 2, 3], [0], [1, 2]]


def test_rounds_go_on_until_they_are_enough_and_have_taken_their_time() -> None:
    made = comparison(3, 30.0, (recorder("a", []), None))
    assert goes_on(made, 2, 40.0)
    assert goes_on(made, 9, 29.0)
    assert not goes_on(made, 9, 31.0)


def test_statistics_of_few_and_many_rounds() -> None:
    found = percentiles([float(i) for i in range(1, 101)])
    assert found == {"p50": 50, "p95": 95, "p99": 99, "min": 1, "max": 100}
    assert percentiles([2.0]) == {"p50": 2, "p95": 2, "p99": 2, "min": 2, "max": 2}
    alone = paired([1.5])
    assert (alone["low"], alone["median"], alone["high"], alone["rounds"]) == (1.5, 1.5, 1.5, 1)
    several = paired([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    assert 1.0 <= several["low"] < several["median"] == 1.3 < several["high"] <= 1.6
    assert paired([1.0, 1.1, 1.2]) == paired([1.0, 1.1, 1.2]), "the same every time"


def test_agreement_counts_labels_and_near_ties() -> None:
    judged = torch.tensor([[0.5, 0.4], [0.9, 0.1]]).log()
    found = agree(torch.tensor([[0.4, 0.5], [0.9, 0.1]]).log(), judged, "ours", 1.0)
    assert (found["answers"], found["label_agreement"]) == (2, 0.5)
    assert found["largest_difference"] == pytest.approx(0.2231, abs=1e-3)
    assert found["median_margin"] == pytest.approx(0.2231, abs=1e-3)
    with pytest.raises(ContendersDisagree, match=r"ours: .* more than 1; nothing is reported"):
        agree(judged - 1.1, judged, "ours", 1.0)
    with pytest.raises(ContendersDisagree, match="nan"):
        agree(judged * torch.nan, judged, "ours", 1.0)


def test_peers_run_in_the_first_precision_that_transformers_has() -> None:
    assert base_precision((torch.int8, torch.bfloat16), CPU) == torch.bfloat16
    assert base_precision((torch.int8,), CPU) == torch.float32
    assert base_precision((torch.int8,), torch.device("cuda")) == torch.bfloat16
    assert default_precisions(torch.device("cuda")) == ("bfloat16",)


@pytest.mark.parametrize("faster", [True, False])
def test_bfloat16_is_measured_where_this_processor_gains(
    faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = torch.bfloat16 if faster else torch.float32
    monkeypatch.setattr("isogloss.deploy.bench.number_formats.fastest_dtype", lambda width: chosen)
    expected = ["float32", "bfloat16", "int8"]
    if not faster:
        expected.remove("bfloat16")
    assert default_precisions(CPU) == tuple(expected)


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"bench": "train"}', "[]"])
def test_only_results_of_this_benchmark_become_tables(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=r"x\.json"):
        read_report(file)


def tables_in(text: str) -> dict[str, str]:
    """Of a Markdown file: the path of each result and the table made of it."""
    return dict(re.findall(r"<!-- bench table (\S+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL))


def documented_tables() -> list[Any]:
    found = tables_in(PAGE.read_text(encoding="utf-8"))
    return [pytest.param(path, shown, id=path) for path, shown in found.items()]


@pytest.mark.parametrize(("path", "shown"), documented_tables())
def test_documented_tables_are_those_of_the_committed_results(path: str, shown: str) -> None:
    assert shown == markdown_table(read_report(PAGE.parent / path))
