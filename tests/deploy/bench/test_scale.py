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
from isogloss.deploy.bench.scale_balancer import LeastConnections
from isogloss.deploy.bench.scale_check import (
    CONNECTIONS,
    calibrated,
    compared,
    poisson,
    sent_gaps_s,
)
from isogloss.deploy.bench.scale_server import Measured, python_seconds
from isogloss.deploy.bench.scale_settings import ScaleSettings
from isogloss.deploy.bench.scale_simulation import Content, Costs, Fleet, Outcome
from isogloss.deploy.bench.scale_stations import Clock, Loop, Worker
from isogloss.deploy.bench.scale_tables import scale_tables
from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.errors import InvalidInput
from isogloss.serving.batching.costs import CostTable, Pricing
from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.admission import Admission

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/measurements/scale.md"
POCKET = Costs(CostTable(0.0015, 2e-5), 0.0004, 0.0006, (0.0005, 0.001), 0.0015)
LARGE_BATCHES = ServingSettings(batch_goal_s=60)


def alike(tokens: int, texts: int = 1) -> Iterator[Content]:
    return itertools.repeat(Content((tokens,) * texts))


@pytest.mark.parametrize(
    ("gaps_s", "costs", "took_s"),
    [
        # A text of 10 tokens takes 1 s, and each batch 1 s more.
        ([1.0, 9.0], Costs(CostTable(1, 0.1)), [2.0, 2.0]),
        # What comes meanwhile shares the next batch.
        ([1.0, 0.5, 0.1], Costs(CostTable(1, 0.1)), [2.0, 4.5, 4.4]),
        ([1.0], Costs(CostTable(1, 0.1), extras_s=(0.5,), delay_s=0.25), [2.75]),
        # Python takes 0.5 s before and after, and what comes during an answer waits for its end.
        ([1.0], Costs(CostTable(1, 0.1), step_s=0.5), [3.0]),
        ([1.0, 2.75], Costs(CostTable(1, 0.1), step_s=0.5), [3.0, 3.25]),
        # Two at once take turns, and the batch of the first stands still meanwhile. The first
        # answer, whose text was scored at 4 s, holds up the batch of the second.
        ([1.0, 0.0], Costs(CostTable(1, 0.1), step_s=0.5), [3.5, 6.0]),
        # Python wakes for the first, goes on with the second, and has rested before the answers.
        ([1.0, 0.0], Costs(CostTable(1, 0.1), step_s=0.5, wake_s=1.0), [5.5, 9.0]),
        # The second is planned beside the first, in a thread.
        ([1.0, 0.0], Costs(CostTable(1, 0.1), step_s=0.5, plan_s=1.0), [4.5, 7.0]),
    ],
)
def test_requests_take_what_the_table_says(
    gaps_s: list[float], costs: Costs, took_s: list[float]
) -> None:
    fleet = Fleet(costs, 1, alike(10), LARGE_BATCHES)
    assert fleet.open_loop(iter(gaps_s), 99).took_s.tolist() == pytest.approx(took_s)


@pytest.mark.parametrize(
    ("wake_s", "steps_s", "ends_s"),
    [
        (0.0, [], 2.0),
        (0.0, [1.0], 3.0),
        (0.5, [1.0], 3.5),
        # It wakes once for what it is asked for meanwhile, and again after a rest.
        (0.5, [1.0, 1.25], 4.5),
        (0.5, [1.0, 3.0], 5.0),
        # Before the batch, and after it.
        (0.5, [0.0], 3.5),
        (0.5, [2.5], 2.0),
    ],
)
def test_a_worker_stands_still_while_python_is_busy(
    wake_s: float, steps_s: list[float], ends_s: float
) -> None:
    clock, ended_s = Clock(), list[float]()
    worker = Worker(clock)
    loop = Loop(clock, wake_s, worker)
    for at_s in steps_s:
        clock.at(at_s, lambda: loop.do(1.0, lambda: None))
    clock.at(0.0, lambda: worker.start(2.0, lambda: ended_s.append(clock.now_s)))
    clock.run()
    assert ended_s == [ends_s]
    assert loop.busy_s >= sum(1.0 for _ in steps_s)


def test_each_prompts_texts_wait_in_a_line_of_their_own() -> None:
    # Each batch has room for one text. While the first is scored, two more of its prompt come, and
    # one of another: that has its turn before the last of three, though it came after it.
    contents = iter([*[Content((10,), "a")] * 3, Content((10,), "b")])
    settings = ServingSettings(budget_tokens=10)
    came = Fleet(Costs(CostTable(1, 0.1)), 1, contents, settings).open_loop(
        iter([1.0, 0.1, 0.1, 0.1]), 4
    )
    assert came.numbers.tolist() == [0, 1, 3, 2]


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
    return Measured(
        took_s=came.took_s,
        late_s=(),
        seconds=came.ended_s,
        python_s=came.loops_s,
        batches=came.batches,
        batches_s=came.batches_s,
        ratios=came.ratios,
        texts=came.texts,
    )


@pytest.mark.parametrize(("wake_s", "plan_s"), [(0.0002, 0.0), (0.0006, 0.0003), (0.0009, 0.0)])
def test_what_a_request_costs_is_found_from_closed_loops(
    wake_s: float, plan_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_check, "_SIMULATED", 400)
    real = replace(POCKET, step_s=0.001 - wake_s, wake_s=wake_s, plan_s=plan_s)
    alone, some, many = (closed(real, clients) for clients in CONNECTIONS)
    found = calibrated(real.table, [Content((50,))], [[alone, alone], [some], [many]])
    assert found.step_s + found.wake_s == pytest.approx(0.001)
    assert found.delay_s == pytest.approx(real.delay_s, rel=0.01)
    assert np.mean(found.extras_s) == pytest.approx(0.00075, rel=0.1)
    assert found.wake_s == pytest.approx(real.wake_s, abs=1e-4)
    for clients, measured in zip(CONNECTIONS, (alone, some, many), strict=True):
        assert closed(found, clients).per_s == pytest.approx(measured.per_s, rel=0.05)


@pytest.mark.parametrize(("faster", "wake_s", "plan_s"), [(100, 0.001, 0.0), (0.01, 0.0, 0.001)])
def test_a_capacity_beyond_what_waking_explains_ends_at_its_limits(
    faster: float, wake_s: float, plan_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_check, "_SIMULATED", 100)
    loops = [closed(POCKET, clients) for clients in CONNECTIONS]
    alone, *beside = (replace(each, seconds=each.seconds / faster) for each in loops)
    found = calibrated(POCKET.table, [Content((50,))], [[alone], *([each] for each in beside)])
    assert found.wake_s == pytest.approx(wake_s, abs=2e-5)
    assert found.plan_s == pytest.approx(plan_s, abs=2e-5)
    assert found.step_s >= 0


def test_threads_that_compute_are_the_busiest() -> None:
    before, after = {1: 9.0, 2: 1.0, 3: 0.0}, {1: 9.25, 2: 5.0, 3: 0.5, 4: 3.0}
    assert python_seconds(before, after, 1) == 3.75
    assert python_seconds(before, after, 2) == 0.75


def test_the_simulation_is_given_the_arrivals_as_they_were_sent() -> None:
    assert sent_gaps_s(iter([1.0, 1.0, 1.0, 1.0]), [0.0, 0.5, 0.25]) == [1.0, 1.5, 0.75]


def test_both_sides_are_compared_by_parts_of_the_measured() -> None:
    def measured(took_s: float) -> Measured:
        return Measured([took_s], [0.001], 0.5, 0.125, 2, 0.25, 3.0, 3)

    def came(took_s: float) -> Outcome:
        return Outcome(1, 0, array("d", [took_s]), array("q", [0]), 1.0, 2, 1, 0.5, 1.5, 0.25)

    took_s, simulated_s = (0.01, 0.09, 0.02), (0.001, 0.018, 0.04)
    row = compared(2.0, [*map(measured, took_s)], [*map(came, simulated_s)])
    assert row["measured_ms"] == {"p50": 20.0, "p95": 20.0, "p99": 20.0}
    assert row["off"] == {"p50": -0.1, "p95": -0.1, "p99": -0.1}
    assert [each["p99"] for each in row["rounds_ms"]] == [10.0, 90.0, 20.0]
    assert (row["measured_texts_per_batch"], row["simulated_texts_per_batch"]) == (1.5, 2.0)
    assert (row["measured_batch_cost_ratio"], row["simulated_batch_cost_ratio"]) == (1.5, 1.5)
    assert (row["measured_worker_busy"], row["measured_loop_busy"]) == (0.5, 0.25)
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
    named = ("step_s", "wake_s", "plan_s", "extras_s", "delay_s")
    assert all(f"`{each}`" in said for each in named)


def test_extras_are_drawn_from_all() -> None:
    costs = replace(POCKET, extras_s=(0.0, 0.1, 0.2, 0.3, 0.4))
    came = Fleet(costs, 1, alike(50)).open_loop(itertools.repeat(9.0), 100)
    assert len({round(took, 9) for took in came.took_s}) == 5


def test_waking_is_not_given_where_it_is_measured() -> None:
    with pytest.raises(InvalidInput, match=r"wake_ms.*--check"):
        bench_scale(ScaleSettings(check=True, wake_ms=1.0))
