"""`isogloss bench http`: our server against plain ones, on one model, from sockets to sockets.

Servers take turns, one at a time, so that each has the machine to itself; rounds repeat all of
them, so that what else the machine does meets all. Before anything is reported, their answers must
be ours. At the end of a round our forward pass runs alone on the batches that our server reached:
what share of its speed comes through HTTP.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from isogloss.deploy.bench.contest import MakeModel, Say, full_size_model, refuse_below_one
from isogloss.deploy.bench.http_contenders import (
    CONTENDERS,
    OURS,
    Contender,
    check_tells_apart,
    largest_difference,
)
from isogloss.deploy.bench.http_engine import engine_texts_per_s
from isogloss.deploy.bench.http_load import Client, Load, check_client, closed_loop
from isogloss.deploy.bench.http_results import Level, Round, model_result, ratios
from isogloss.deploy.bench.http_workload import Contest, prepare
from isogloss.deploy.load.machine import hardware, versions
from isogloss.deploy.load.servers import Running, running
from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.checkpoint import resolve
from isogloss.prompts.model.full_size import FULL_SIZE

DEFAULT_MODELS = ("pocket-bloom", "bloom-560m", "xglm-564M")
_SERVERS = ("ray", "fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What is measured, and for how long."""

    models: tuple[str, ...] = DEFAULT_MODELS
    concurrency: tuple[int, ...] = (1, 8, 32, 128)
    seconds: float = 10.0
    """Load at each concurrency, at least."""
    replies: int = 4
    """Answers to each connection, at least: slow servers get more time."""
    rounds: int = 2
    prompts: int = 8
    prompt_length: int = 10
    client: Client = "wrk"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: int = field(default_factory=torch.get_num_threads)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers below one.

        Raises:
            InvalidInput: naming the field.
        """
        refuse_below_one(
            concurrency=min(self.concurrency, default=0),
            replies=self.replies,
            rounds=self.rounds,
            prompts=self.prompts,
            prompt_length=self.prompt_length,
            seconds=math.ceil(self.seconds),
        )

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "models": list(self.models),
            "concurrency": list(self.concurrency),
            "seconds": self.seconds,
            "replies": self.replies,
            "rounds": self.rounds,
            "prompts": self.prompts,
            "prompt_length": self.prompt_length,
            "client": self.client,
            "device": self.device.type,
            "dtype": self.dtype,
            "threads": self.threads,
            "seed": self.seed,
            "weights": "random but for pocket models, the same for all contenders",
            "text_lengths": "SIB-200, English test split",
            "requests": "one text and the name of its prompt",
        }


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
    results = [_bench_model(name, settings, say, make_model) for name in settings.models]
    return {
        "bench": "http",
        "hardware": hardware(settings.device) | {"threads": settings.threads},
        "versions": versions() | {name: version(name) for name in _SERVERS},
        "settings": settings.shown(),
        "results": results,
        "ratios": {result["model"]: ratios(result) for result in results},
    }


def _bench_model(
    name: str, settings: HttpSettings, say: Say, make_model: MakeModel
) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(prefix="isogloss-"))
    try:
        say(f"{name}: writing weights, prompts and requests ...")
        contest = prepare(
            name,
            scratch / "contest",
            prompts=settings.prompts,
            prompt_length=settings.prompt_length,
            device=settings.device.type,  # type: ignore[arg-type]
            dtype=settings.dtype,
            seed=settings.seed,
            make_model=make_model,
        )
        rounds = []
        for number in range(settings.rounds):
            rounds.append(_round(contest, settings, scratch, _numbered(say, name, number)))
        return model_result(contest, rounds)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _numbered(say: Say, name: str, number: int) -> Say:
    return lambda line: say(f"{name}, round {number + 1}: {line}")


def _round(contest: Contest, settings: HttpSettings, scratch: Path, say: Say) -> Round:
    """Every contender once, and the engine alone."""
    done = Round()
    for place, contender in enumerate(CONTENDERS):
        say(f"starting {contender.name} ...")
        folder = scratch / f"{place}"
        dtype, device = settings.dtype, settings.device.type
        command = contender.command(contest, settings.threads, device, dtype)
        with running(command, folder) as server:
            _compare(contender, server, contest, settings, done)
            done.levels[contender.name] = _levels(contender, server, contest, settings, say)
            done.seconds_to_ready[contender.name] = server.seconds_to_ready
            done.peak_memory_bytes[contender.name] = server.peak_memory_bytes()
        shutil.rmtree(folder, ignore_errors=True)
    reached = {level: own.reached.sizes() for level, own in done.levels[OURS.name].items()}
    say("measuring the engine alone ...")
    done.engine = engine_texts_per_s(contest, reached, settings)
    return done


def _compare(
    contender: Contender, server: Running, contest: Contest, settings: HttpSettings, done: Round
) -> None:
    """Ask what all are asked; also warms the server up."""
    answers = [contender.scores(server.url, each) for each in contest.probes()]
    if contender is OURS:
        check_tells_apart(answers[: settings.prompts], settings.dtype)
        done.answers = answers
        return
    difference = largest_difference(done.answers, answers, contender.name, settings.dtype)
    done.differences[contender.name] = difference


def _levels(
    contender: Contender, server: Running, contest: Contest, settings: HttpSettings, say: Say
) -> dict[int, Level]:
    """Load at each concurrency, lowest first; slow servers are given the time they need."""
    levels: dict[int, Level] = {}
    rate = math.inf
    for connections in sorted(settings.concurrency):
        seconds = max(settings.seconds, (settings.replies + 1) * connections / rate)
        say(f"{contender.name}, {connections} connections, {seconds:.0f} s ...")
        before = contender.batches(server.url)
        url = server.url + contender.route
        load = closed_loop(url, contest.bodies, connections, seconds, settings.client)
        _refuse_failures(contender, connections, load)
        # Requests that the client left behind are worked on still: wait for one behind them.
        contender.scores(server.url, contest.asked[0])
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
