"""`isogloss bench http`: our server against plain ones, on one model, from sockets to sockets.

Servers run one after the other, so that each has the machine to itself; rounds repeat all of
them, so that what else the machine does meets all. Before anything is reported, their answers must
be ours. At the end of a round our forward pass runs alone on the batches that our server reached:
what share of its speed comes through HTTP.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from isogloss.deploy.bench.comparing import MakeModel, full_size_model, whole_report
from isogloss.deploy.bench.http_engine import engine_texts_per_s
from isogloss.deploy.bench.http_load import Load, check_client, closed_loop
from isogloss.deploy.bench.http_results import Level, Round, model_result, ratios
from isogloss.deploy.bench.http_servers import (
    CONTENDERS,
    OURS,
    Contender,
    check_tells_apart,
    largest_difference,
)
from isogloss.deploy.bench.http_workload import HttpWorkload, prepare
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.settings import HttpSettings
from isogloss.deploy.load.servers import Running, running
from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.full_size import FULL_SIZE
from isogloss.prompts.model.names import resolve

_PACKAGES = ("ray", "fastapi", "uvicorn")


def bench_http(
    settings: HttpSettings, say: Say = lambda line: None, make_model: MakeModel = full_size_model
) -> dict[str, Any]:
    """Measure every model's servers; the contract's JSON object.

    Args:
        settings: what to measure.
        say: told what is going on.
        make_model: from a full-size model's name to a transformers causal LM.

    Raises:
        ContendersDisagree: a peer's answers are not ours, beyond rounding.
        NotFound: no such model.
        Unavailable: the load client is not installed, a server did not start, or it failed.
    """
    check_client(settings.client)
    for name in settings.models:
        if name not in FULL_SIZE:
            resolve(name)  # a mistyped name shows before long work, not after
    settings = settings.settled()
    results = [_bench_model(name, settings, say, make_model) for name in settings.models]
    by_model = {result["model"]: ratios(result) for result in results}
    return whole_report("http", settings, results, by_model, *_PACKAGES)


def _bench_model(
    name: str, settings: HttpSettings, say: Say, make_model: MakeModel
) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(prefix="isogloss-"))
    try:
        say(f"{name}: writing weights, prompts and requests ...")
        work = prepare(name, scratch / "work", settings, make_model)
        rounds = [
            _round(work, settings, scratch, _numbered(say, name, number))
            for number in range(settings.rounds)
        ]
        return model_result(work, rounds)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _numbered(say: Say, name: str, number: int) -> Say:
    return lambda line: say(f"{name}, round {number + 1}: {line}")


def _round(work: HttpWorkload, settings: HttpSettings, scratch: Path, say: Say) -> Round:
    """Every contender once, and the engine alone."""
    done = Round()
    for index, contender in enumerate(CONTENDERS):
        say(f"starting {contender.name} ...")
        folder = scratch / f"{index}"
        command = contender.command(work, settings)
        with running(command, folder) as server:
            _compare(contender, server, work, settings, done)
            done.levels[contender.name] = _levels(contender, server, work, settings, say)
            done.seconds_to_ready[contender.name] = server.seconds_to_ready
            done.peak_memory_bytes[contender.name] = server.peak_memory_bytes()
        shutil.rmtree(folder, ignore_errors=True)
    reached = {level: own.reached.sizes() for level, own in done.levels[OURS.name].items()}
    say("measuring the engine alone ...")
    done.engine = engine_texts_per_s(work, reached, settings)
    return done


def _compare(
    contender: Contender, server: Running, work: HttpWorkload, settings: HttpSettings, done: Round
) -> None:
    """Ask what all are asked; also warms the server up."""
    answers = [contender.scores(server.url, each) for each in work.probes()]
    if contender is OURS:
        check_tells_apart(answers[: settings.prompts], settings.dtype)
        done.answers = answers
        return
    difference = largest_difference(done.answers, answers, contender.name, settings.dtype)
    done.differences[contender.name] = difference


def _levels(
    contender: Contender, server: Running, work: HttpWorkload, settings: HttpSettings, say: Say
) -> dict[int, Level]:
    """Load at each concurrency, lowest first; slow servers are given the time they need."""
    levels: dict[int, Level] = {}
    rate = math.inf
    for connections in sorted(settings.concurrency):
        seconds = max(settings.seconds, (settings.replies + 1) * connections / rate)
        say(f"{contender.name}, {connections} connections, {seconds:.0f} s ...")
        before = contender.batches(server.url)
        url = server.url + contender.route
        load = closed_loop(url, work.bodies, connections, seconds, settings.client)
        _refuse_failures(contender, connections, load)
        # Requests that the client left behind are worked on still: wait for one behind them.
        contender.scores(server.url, work.asked[0])
        reached = contender.batches(server.url).since(before)
        levels[connections] = Level(load, reached)
        rate = load.requests_per_s
    return levels


def _refuse_failures(contender: Contender, connections: int, load: Load) -> None:
    """A server that refuses requests would look fast.

    Raises:
        Unavailable: some were not answered.
    """
    if load.refused or load.broken:
        raise Unavailable(
            f"{contender.name}: of {load.replies} answers to {connections} connections "
            f"{load.refused} were refusals, and {load.broken} requests failed; nothing is reported"
        )
