"""The processor, and the precision that a model will have on it."""

from __future__ import annotations

import json
from pathlib import Path

from isogloss.deploy.doctor.finding import Asked, Finding, ok
from isogloss.deploy.doctor.weights import folder_of

CPUINFO = Path("/proc/cpuinfo")
MATTER = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_WIDTH = 256


def processor(asked: Asked) -> Finding:
    """What of its instructions matters, and the dtype that is chosen; measured as a server does."""
    has = features(CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else "")
    said = f"it has {', '.join(has) or 'none of ' + ', '.join(MATTER)}"
    dtype = asked.settings.dtype
    if dtype != "auto":
        return ok("processor", f"{said}; {dtype} was asked for")
    return ok("processor", f"{said}; a model on it is read in {chosen(asked)}")


def features(cpuinfo: str) -> list[str]:
    """Those that matter of the first core's flags."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((text.split() for name, _, text in lines if name.strip() == "flags"), [])
    return [each for each in MATTER if each in flags]


def chosen(asked: Asked) -> str:
    """The dtype of `auto` on the processor, for the default model's width."""
    from isogloss.prompts.model.packed.pack import auto_dtype

    folder = folder_of(asked.settings.default_model)
    config = {} if folder is None else json.loads((folder / "config.json").read_text())
    width = int(config.get("hidden_size") or config.get("n_embed") or config.get("d_model", _WIDTH))
    return str(auto_dtype(width)).removeprefix("torch.")
