"""Simulated replicas, by tables on a fake clock, by a formula, and by what must be conserved."""

from __future__ import annotations

import itertools
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isogloss.deploy.bench import scale_check, scale_simulation
from isogloss.deploy.bench.markdown import markdown_table, read_report
from isogloss.deploy.bench.scale import Planner, Run, bench_scale, dollars_per_million
from isogloss.deploy.bench.scale_check import (
    CONNECTIONS,
    Measured,
    calibrated,
    compared,
    poisson,
    sent_gaps_s,
)
from isogloss.deploy.bench.scale_settings import ScaleSettings
from isogloss.deploy.bench.scale_simulation import (
    Costs,
    Fleet,
    LeastConnections,
    Outcome,
    Tokens,
)
from isogloss.deploy.bench.scale_stations import Clock, Station
from isogloss.deploy.bench.scale_tables import scale_tables
from isogloss.deploy.load.tally import Tally
from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.errors import InvalidInput
from isogloss.serving.batching.costs import CostTable, Pricing
from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.admission import Admission

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/measurements/scale.md"
POCKET = Costs(CostTable(0.0015, 2e-5), 1.1, 0.3, 0.002, 0.3, (0.001, 0.002))
LARGE_BATCHES = ServingSettings(batch_goal_s=60)


def alike(tokens: int, texts: int = 1) -> Iterator[Tokens]:
    return itertools.repeat((tokens,) * texts)


@pytest.mark.parametrize(
    ("gaps_s", "costs", "took_s"),
    [
        # A text of 10 tokens takes 1 s, and each batch 1 s more.
        ([1.0, 9.0], Costs(CostTable(1, 0.1)), [2.0, 2.0]),
        # What comes meanwhile shares the next batch.
        ([1.0, 0.5, 0.1], Costs(CostTable(1, 0.1)), [2.0, 4.5, 4.4]),
        ([1.0], Costs(CostTable(1, 0.1), slowdown=1.5, delays_s=(0.25,)), [3.25]),
        # The loop takes 0.5 s before and after; two requests at once take turns in it.
        ([1.0], Costs(CostTable(1, 0.1), loop_s=1.0), [3.0]),
        ([1.0, 0.0], Costs(CostTable(1, 0.1), loop_s=1.0), [3.0, 5.0]),
        # While the loop has the second request, or the first answer, a batch goes at half speed.
        ([1.0, 0.0], Costs(CostTable(1, 0.1), contention=1.0, loop_s=1.0), [3.25, 5.5]),
    ],
)
def test_requests_take_what_the_table_says(
    gaps_s: list[float], costs: Costs, took_s: list[float]
) -> None:
    fleet = Fleet(costs, 1, alike(10), LARGE_BATCHES)
    assert fleet.open_loop(iter(gaps_s), 99).took_s.tolist() == pytest.approx(took_s)


@pytest.mark.parametrize(("contention", "ends_s"), [(0.0, 2.0), (1.0, 2.5), (3.0, 2.75)])
def test_a_station_is_slower_while_its_neighbour_works(contention: float, ends_s: float) -> None:
    clock, ended_s = Clock(), list[float]()
    worker, loop = Station(clock, contention), Station(clock, 0.0)
    worker.neighbour, loop.neighbour = loop, worker
    worker.start(2.0, lambda: ended_s.append(clock.now_s))
    clock.at(1.0, lambda: loop.start(1.0, lambda: None))
    clock.run()
    assert ended_s == [ends_s]


@pytest.mark.parametrize(("utilisation", "within"), [(0.3, 0.05), (0.6, 0.05), (0.8, 0.1)])
def test_single_texts_at_random_wait_as_the_formula_says(utilisation: float, within: float) -> None:
    # M/D/1 (Pollaczek and Khinchine): service s waits s u / (2 (1 - u)) in the mean.
    service_s = 0.01
    fleet = Fleet(
        Costs(CostTable(0, service_s / 100)), 1, alike(100), ServingSettings(budget_tokens=1)
    )
    came = fleet.open_loop(poisson(utilisation / service_s, 1), 8_000)
    waits_s = float(np.mean(came.took_s)) - service_s
    formula_s = service_s * utilisation / 2 / (1 - utilisation)
    assert waits_s == pytest.approx(formula_s, rel=within)
    assert came.batches_s / came.ended_s == pytest.approx(utilisation, rel=within)


@pytest.mark.parametrize("replicas", [1, 5])
@pytest.mark.parametrize("limit", [4, 4096])
def test_every_request_is_answered_or_refused(replicas: int, limit: int) -> None:
    settings = ServingSettings(max_queue_items=limit)
    fleet = Fleet(POCKET, replicas, alike(50, 2), settings)
    came = fleet.open_loop(poisson(2000, 0), 2000)
    assert came.sent == 2000 == came.refused + len(came.took_s)
    assert sorted(came.numbers) == sorted(set(came.numbers))
    assert came.texts == 2 * len(came.took_s)
    assert (came.refused > 0) == (limit == 4 or replicas == 1)


def test_the_servers_own_functions_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    called = set[str]()

    def spied(owner: type, name: str) -> None:
        own = getattr(owner, name)

        def spy(*given: Any, **named: Any) -> Any:
            called.add(name)
            return own(*given, **named)

        monkeypatch.setattr(owner, name, spy)

    asked = [(BatchQueue, "take_due"), (Pricing, "price"), (Pricing, "flow"), (Admission, "admit")]
    for owner, name in asked:
        spied(owner, name)
    Fleet(POCKET, 1, alike(50)).open_loop(poisson(100, 0), 10)
    assert called == {name for _, name in asked}


def test_the_same_seed_tells_the_same() -> None:
    def took_s(seed: int) -> array[float]:
        return Fleet(POCKET, 2, alike(50), seed=seed).open_loop(poisson(300, seed), 200).took_s

    assert took_s(1) == took_s(1) != took_s(2)


def test_requests_go_where_fewest_are_and_in_turn_among_equals() -> None:
    replicas: Any = ["a", "b", "c"]
    balancer = LeastConnections(replicas)
    chosen: list[Any] = [balancer.choose() for _ in range(4)]
    balancer.leave(replicas[2])
    chosen += [balancer.choose() for _ in range(3)]
    assert chosen == ["a", "b", "c", "a", "c", "b", "c"]


def test_the_queues_first_requests_do_not_count() -> None:
    came = Outcome(sent=20, took_s=array("d", [9, 9, 1, 2]), numbers=array("q", [0, 1, 3, 2]))
    assert came.settled_s() == [1, 2]


SETTINGS = ScaleSettings(request_ms=2.0, simulated=1000, loads=(10, 100, 400, 1000, 20_000))


def test_a_larger_load_never_wants_fewer_replicas() -> None:
    planner = Planner(POCKET, SETTINGS)
    runs = [run for run in planner.fewest_each() if run]
    assert [run.texts_per_s for run in runs] == list(SETTINGS.loads)
    assert [run.replicas for run in runs] == sorted(run.replicas for run in runs)
    assert runs[0].replicas == 1 < runs[-1].replicas
    for run in runs:
        assert run.suffices(SETTINGS.within_ms)
        assert run.texts_per_s / run.replicas <= 0.9 * planner.utmost


def test_a_tighter_p99_wants_more_replicas_and_the_fewest_of_them() -> None:
    tight = Planner(POCKET, replace(SETTINGS, within_ms=11.5))
    run, free = tight.fewest(1000), Planner(POCKET, SETTINGS).fewest(1000)
    assert run is not None
    assert free is not None
    assert run.replicas > free.replicas
    assert not tight.run(1000, run.replicas - 1).suffices(11.5)


def test_what_a_lone_text_exceeds_no_replicas_reach() -> None:
    planner = Planner(POCKET, replace(SETTINGS, within_ms=2.0))
    assert list(planner.fewest_each()) == [None] * len(SETTINGS.loads)


def test_dollars_are_replicas_times_hours() -> None:
    assert dollars_per_million(1, 1e6 / 3600, 3.0) == pytest.approx(3.0)
    run = Run(4, 1000.0, Outcome(2, 0, array("d", [1, 1]), array("q", [0, 1]), 1.0), 4)
    assert run.shown(0.9)["dollars_per_million"] == 1.0
    assert "dollars_per_million" not in run.shown(None)


def closed(costs: Costs, clients: int) -> Measured:
    """What a real server of such costs would be measured to do."""
    came = Fleet(costs, 1, alike(50)).closed_loop(clients, 400)
    tally = Tally(sent=came.sent, took_s={200: came.took_s})
    tally.statuses[200] = came.sent
    ratio, texts = came.ratios / came.batches, came.texts / came.batches
    return Measured(tally, came.sent / came.ended_s, ratio, texts)


@pytest.mark.parametrize("loop_contention", [0.3, 1.0])
def test_what_a_request_costs_is_found_from_two_closed_loops(
    loop_contention: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_check, "_SIMULATED", 200)
    real = replace(POCKET, loop_contention=loop_contention, delays_s=(0.0004,))
    measured = closed(real, 1), closed(real, CONNECTIONS)
    found = calibrated(Costs(real.table), [(50,)], *measured)
    assert found.slowdown == pytest.approx(real.slowdown, rel=0.01)
    again = closed(found, 1), closed(found, CONNECTIONS)
    for before, after in zip(measured, again, strict=True):
        assert after.per_s == pytest.approx(before.per_s, rel=0.03)
        assert after.ratio == pytest.approx(before.ratio, rel=0.05)


def test_the_simulation_is_given_the_arrivals_as_they_were_sent() -> None:
    assert sent_gaps_s(iter([1.0, 1.0, 1.0, 1.0]), [0.0, 0.5, 0.25]) == [1.0, 1.5, 0.75]


def test_both_sides_are_compared_by_parts_of_the_measured() -> None:
    tally = Tally(sent=2, took_s={200: array("d", [0.01, 0.02])}, late_s=array("d", [0, 0.001]))
    came = Outcome(2, 0, array("d", [0.011, 0.018]), array("q", [0, 1]), 1.0, 2, 1, 0.5, 1.0, 0.25)
    row = compared(2.0, Measured(tally, 2.0, 1.0, 1.5), came)
    assert row["off"] == {"p50": 0.1, "p95": -0.1, "p99": -0.1}
    assert (row["measured_texts_per_batch"], row["simulated_texts_per_batch"]) == (1.5, 2.0)
    assert (row["worker_busy"], row["loop_busy"]) == (0.5, 0.25)


@pytest.mark.parametrize("given", [{}, {"check": True, "request_ms": 1.0}])
def test_what_a_request_costs_is_given_or_measured(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"request_ms.*--check"):
        bench_scale(ScaleSettings(**given))


def kept(folder: Path) -> Path:
    key = {"fingerprint": "f", "device": "A GPU", "dtype": "layers torch.bfloat16", "threads": 4}
    file = folder / "gpu.json"
    costs = {"fixed_s": 0.004, "token_s": 1e-7, "square_s": 0, "most_tokens": None}
    file.write_text(json.dumps({"key": {**key, "torch": "2", "isogloss": "0"}, **costs}))
    return file


def test_a_table_of_another_machine_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScaleSettings, "settled", lambda self: replace(self, device="cpu"))
    settings = replace(SETTINGS, costs=(kept(tmp_path),), dollars_per_hour=3.6)
    report = bench_scale(settings)
    (result,) = report["results"]
    assert result["check"] is None
    assert result["loads"][0]["replicas"] == 1
    shown = markdown_table(report)
    assert "gpu, bfloat16, 4 threads a replica, A GPU, p99 below 250 ms:" in shown
    assert "dollars a million texts, at 3.6 an hour" in shown
    (table,) = scale_tables(report)
    assert isinstance(table, PlainTable)


def test_rows_that_no_replicas_reach_say_so() -> None:
    machine = {"threads": 1, "dtype": "torch.float32", "device": "cpu"}
    loads: Sequence[Any] = [{"texts_per_s": 10, "replicas": None}]
    result = {"model": "m", "machine": machine, "check": None, "loads": loads}
    report = {
        "bench": "scale",
        "settings": {"within_ms": 5.0, "dollars_per_hour": None},
        "results": [result],
    }
    assert "| 10 | none: one text alone takes longer |" in markdown_table(report)


def test_the_page_shows_the_committed_result() -> None:
    tables = re.findall(
        r"<!-- bench table (\S+) -->\n(.*?)\n<!-- end -->", PAGE.read_text("utf-8"), re.DOTALL
    )
    assert tables
    for path, shown in tables:
        assert shown == markdown_table(read_report(PAGE.parent / path))


def test_what_is_simulated_is_named_where_it_is() -> None:
    said = scale_simulation.__doc__ or ""
    named = ("loop_s", "slowdown", "contention", "delays_s")
    assert all(f"`{each}`" in said for each in named)


def test_delays_are_drawn_from_all() -> None:
    costs = replace(POCKET, delays_s=(0.0, 0.1, 0.2, 0.3, 0.4))
    came = Fleet(costs, 1, alike(50)).open_loop(itertools.repeat(9.0), 100)
    assert len({round(took, 9) for took in came.took_s}) == 5
