"""`isogloss bench engine`: our forward pass against other libraries' on one model's tensors.

Contenders alternate (A B C, C B A, ...), so that whatever else the machine is doing meets all of
them, and ratios are taken between neighbours in time. Among them is the machine's own rate of
matrix products on the same shapes. Before anything is reported, our answers must be those of the
peers. `curves.py` says who meets whom; `peer_list.py` is where a peer is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from isogloss.deploy.bench.agreement import agreements
from isogloss.deploy.bench.comparing import MakeModel, full_size_model, whole_report
from isogloss.deploy.bench.contenders import Contenders
from isogloss.deploy.bench.curves import comparisons
from isogloss.deploy.bench.engine_results import headline, results_of
from isogloss.deploy.bench.engine_settings import EngineSettings
from isogloss.deploy.bench.number_formats import base_precision, default_precisions
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.peer_list import chosen_peers
from isogloss.deploy.bench.peers import Peer
from isogloss.deploy.bench.rounds import first_round, more_rounds, warm_up
from isogloss.prompts.model.full_size import full_size_config


def bench_engine(
    settings: EngineSettings, say: Say = lambda line: None, make_model: MakeModel = full_size_model
) -> dict[str, Any]:
    """Measure every model on every curve; the contract's JSON object.

    Args:
        settings: what to measure.
        say: told what is going on.
        make_model: from a model's name to a transformers causal LM.

    Raises:
        ContendersDisagree: a peer's answers are not ours, beyond rounding.
        NotFound: a model without a full-size configuration.
    """
    for name in settings.models:
        full_size_config(name)  # a mistyped name shows before long work, not after
    settings = settings.settled()
    settings = replace(
        settings, dtypes=settings.dtypes or default_precisions(torch.device(settings.device))
    )
    peers, absent = chosen_peers(settings.peers, settings.device)
    for name, lack in absent.items():
        say(f"{name} is left out: {lack}; extra packages: pip install 'isogloss[bench]'")
    results: list[dict[str, Any]] = []
    for name in settings.models:
        results += _bench_model(name, settings, peers, say, make_model)
    packages = ("openvino", "nncf", "torchao", "llama-cpp-python")
    report = whole_report("engine", settings, results, headline(results, settings), *packages)
    report["settings"]["absent_peers"] = list(absent)
    return report


@torch.inference_mode()
def _bench_model(
    name: str,
    settings: EngineSettings,
    peers: Sequence[type[Peer]],
    say: Say,
    make_model: MakeModel,
) -> list[dict[str, Any]]:
    say(f"{name}: making random weights ...")
    device, dtypes = torch.device(settings.device), settings.torch_dtypes
    model = make_model(name, settings.seed, device, base_precision(dtypes, device))
    contenders = Contenders(model, name, dtypes, device, peers, settings.torch_peer_dtypes)
    for peer in contenders.unable:
        say(f"{name}: {peer.name} is left out: it does not run {model.config.model_type}")
    every = comparisons(contenders, settings)
    say(f"{name}: warming up ...")
    warm_up(every)
    results = []
    for index, comparison in enumerate(every):
        tell = partial(_tell, say, f"{name}, {comparison.title} ({index + 1} of {len(every)})")
        tell(0)
        first_round(comparison, device)
        agreed = agreements(comparison.runs)
        more_rounds(comparison, tell)
        results += results_of(name, comparison, agreed)
    return results


def _tell(say: Say, what: str, round_: int) -> None:
    say(f"{what}: round {round_ + 1}")
