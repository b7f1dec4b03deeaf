"""Every peer of `bench engine`, and which of those that are asked for can be measured here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from isogloss.deploy.bench.compiled_peers import (
    OpenVino,
    OpenVinoInt8,
    TorchCompile,
    TorchCompileInt8,
    TransformersBuckets,
)
from isogloss.deploy.bench.llama_cpp_peer import LlamaCpp, LlamaCppInt8
from isogloss.deploy.bench.peers import Peer, Peft, PeftLastLogits, Transformers

PEERS: tuple[type[Peer], ...] = (
    *(Transformers, Peft, PeftLastLogits, TransformersBuckets),
    *(TorchCompile, TorchCompileInt8, OpenVino, OpenVinoInt8),
    *(LlamaCpp, LlamaCppInt8),
)
_PROGRAMS = ("g++",)


def chosen_peers(names: Sequence[str], device: str) -> tuple[list[type[Peer]], dict[str, str]]:
    """Those of these names that can be measured on a device, and what the others lack, by name."""
    asked = [peer for peer in PEERS if peer.name in names]
    lacks = {peer.name: lack for peer in asked if (lack := _lack(peer, device))}
    return [peer for peer in asked if peer.name not in lacks], lacks


def _lack(peer: type[Peer], device: str) -> str:
    if device not in peer.devices:
        return f"it does not run on {device}"
    missing = [need for need in peer.needs if not _is_here(need)]
    return f"{', '.join(missing)} is not installed" if missing else ""


def _is_here(need: str) -> bool:
    return (shutil.which(need) if need in _PROGRAMS else find_spec(need)) is not None
