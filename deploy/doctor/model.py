"""The models: where each comes from, what it may be used for, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from isogloss.deploy.doctor import limits
from isogloss.deploy.doctor.finding import Asked, Finding, fail, gib, ok, warn
from isogloss.deploy.doctor.gpu import nvidia_gpus
from isogloss.deploy.doctor.hub import why_unreachable
from isogloss.deploy.doctor.weights import configured, folder_of, licence, parameters
from isogloss.prompts.errors import IsoglossError

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0}
TIGHT = 0.7
FREE = ("apache-2.0", "mit", "bsd", "cc0", "cc-by-4.0", "cc-by-sa", "unlicense", "mpl-2.0")
"""How the names of licences begin that put no limit on what a model is used for."""


def models(asked: Asked) -> Iterator[Finding]:
    """Each model."""
    from isogloss.prompts.model.conversion import architecture_of

    for name in asked.settings.models:
        try:
            folder = folder_of(name)
            if folder is not None:
                architecture_of(name, configured(folder, "model_type"))
        except IsoglossError as error:
            said, _, remedy = str(error).partition("; ")
            yield fail(f"model {name}", said, remedy)
            continue
        if folder is None:
            yield to_be_downloaded(name, why_unreachable())
            continue
        yield ok(f"model {name}", f"it is at {folder}")
        yield allowed(name, licence(folder))
        yield room(name, folder, asked)


def to_be_downloaded(name: str, unreachable: str) -> Finding:
    """It is in no folder and not in the cache."""
    if unreachable:
        remedy = "download it on a machine that is online, or name a folder"
        said = f"it is not in the cache, and the hub is offline ({unreachable})"
        return fail(f"model {name}", said, remedy)
    said = "it is not in the cache, and the first replica downloads it"
    return warn(f"model {name}", said, f"download it before: hf download {name}")


def allowed(name: str, called: str | None) -> Finding:
    """What its licence is called; to read it is a person's work."""
    check = f"licence of {name}"
    if called is None:
        remedy = "ask whoever made it before you serve it to others"
        return warn(check, "its card and its configuration name none", remedy)
    if called.lower().startswith(FREE):
        return ok(check, called)
    return warn(check, f"{called} may limit what it is used for", "read it before you serve others")


def room(name: str, folder: Path, asked: Asked) -> Finding:
    """Parameters times bytes, for every replica, against what is free.

    Tables of tokens are on the host, on processors in float32 whatever the layers are in.
    """
    check, settings = f"size of {name}", asked.settings
    if (count := parameters(folder)) is None:
        said = "its weights are no safetensors, and are not counted here"
        return warn(check, said, "convert them to safetensors")
    gpus = [] if settings.device == "cpu" else nvidia_gpus()
    layers = count.layers * BYTES.get(settings.dtype, 2.0 if gpus else 4.0)
    if gpus:
        free = max(gpu.free_bytes for gpu in gpus)
        return fits(check, sum(count), layers, free, 1, "GPU memory")
    each = layers + 4.0 * count.tables
    free = limits.memory_bytes()[1]
    return fits(check, sum(count), each, free, settings.replicas or 1, "memory")


def fits(check: str, count: int, each: float, free: int, replicas: int, where: str) -> Finding:
    """Whether so many replicas fit."""
    said = f"{count / 1e6:.1f} M parameters, {gib(each)} for each of {replicas} replicas"
    said += f", of {gib(free)} free {where}"
    remedy = "take a smaller model, fewer replicas, or --dtype bfloat16 or int8"
    if each * replicas > free:
        return fail(check, said, remedy)
    if each * replicas > TIGHT * free:
        return warn(check, f"{said}: little is left for the work itself", remedy)
    return ok(check, said)
