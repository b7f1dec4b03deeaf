"""`isogloss bench engine`: our forward pass against transformers and PEFT on one model's tensors.

Contenders take turns (A B C, C B A, ...), so that whatever else the machine is doing meets all of
them, and ratios are taken between neighbours in time. Among them is the machine's own rate of
matrix products on the same shapes. Before anything is reported, our answers must be those of the
peers. `curves.py` says who meets whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from isogloss.deploy.bench.agreement import agreements
from isogloss.deploy.bench.contest import MakeModel, Say, full_size_model
from isogloss.deploy.bench.curves import Contest, Entry, contests
from isogloss.deploy.bench.engine_results import headline, results_of
from isogloss.deploy.bench.engine_settings import EngineSettings
from isogloss.deploy.bench.number_formats import base_precision
from isogloss.deploy.bench.pace import Pace, about
from isogloss.deploy.bench.players import Players
from isogloss.deploy.bench.turns import first_round, more_rounds, timed
from isogloss.deploy.load.machine import hardware, versions
from isogloss.prompts.model.full_size import full_size_config

_WARM_UP_TEXTS = 4


def bench_engine(
    settings: EngineSettings, say: Say = lambda line: None, make_model: MakeModel = full_size_model
) -> dict[str, Any]:
    """Measure every model on every curve; the contract's JSON object.

    Args:
        settings: what to measure.
        say: told what is going on, and how long it will yet take.
        make_model: from a model's name to a transformers causal LM.

    Raises:
        ContendersDisagree: a peer's answers are not ours, beyond rounding.
        NotFound: a model without a full-size configuration.
        Unavailable: PEFT is not installed.
    """
    for name in settings.models:
        full_size_config(name)  # a mistyped name shows before long work, not after
    results: list[dict[str, Any]] = []
    for place, name in enumerate(settings.models):
        models_after = len(settings.models) - place - 1
        results += _bench_model(name, settings, say, make_model, models_after)
    return {
        "bench": "engine",
        "hardware": hardware(settings.device),
        "versions": versions(),
        "settings": settings.shown(),
        "results": results,
        "ratios": headline(results, settings),
    }


@torch.inference_mode()
def _bench_model(
    name: str, settings: EngineSettings, say: Say, make_model: MakeModel, models_after: int
) -> list[dict[str, Any]]:
    say(f"{name}: making random weights ...")
    base = base_precision(settings.dtypes, settings.device)
    model = make_model(name, settings.seed, settings.device, base)
    players = Players(model, name, settings.dtypes, settings.device)
    all_of_them = contests(players, settings)
    say(f"{name}: warming up ...")
    pace = Pace()
    _warm_up(all_of_them, settings.device, pace)
    results = []
    for place, contest in enumerate(all_of_them):
        later = [*all_of_them[place + 1 :], *(all_of_them * models_after)]

        def tell(round_: int, contest: Contest = contest, later: Sequence[Contest] = later) -> None:
            left = about(pace.left(contest, round_, later))
            say(f"{name}, {contest.title}: round {round_ + 1}, {left} left")

        results += _hold(name, contest, settings, pace, tell)
    return results


def _hold(
    model: str, contest: Contest, settings: EngineSettings, pace: Pace, tell: Any
) -> list[dict[str, Any]]:
    tell(0)
    turns = first_round(contest, settings.device, pace)
    agreed = agreements(turns)
    more_rounds(contest, turns, settings.device, pace, tell)
    return results_of(model, contest, turns, agreed)


def _warm_up(contests: Sequence[Contest], device: torch.device, pace: Pace) -> None:
    """Everybody has a turn on a few texts: libraries are loaded, and the pace is known."""
    one_of_each: dict[str, Entry] = {}
    for contest in contests:
        for entry in contest.entries:
            one_of_each.setdefault(entry.player.name, entry)
    for entry in one_of_each.values():
        batch = entry.point.batch(0).first(_WARM_UP_TEXTS)
        _, seconds = timed(entry.player.prepare(batch), device)
        pace.learn(entry.player.name, entry.point.work.tokens(batch), seconds)
