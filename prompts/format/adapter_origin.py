"""Was an adapter made for the model it is to be used with? What its configuration says of that.

Only names can be compared, for an adapter does not carry its model's fingerprint: a hub id with a
hub id as a whole, and with a folder by the last part, wherever that folder lay. Upper and lower
case are the same.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.format.card import ModelRef
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES

_CAUSAL, _CLASSIFIES = "CAUSAL_LM", "SEQ_CLS"
WITHOUT_CLASSIFIER = ("xglm", "apertus", "cohere", "cohere2")
"""transformers has none for these, nor has PEFT anything to wrap."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CACHED = re.compile(r"(?:^|/)models--([^/]+)/snapshots/([^/]+)")  # the hub's cache folder


class AdapterConfig(BaseModel):
    """What matters to us in `adapter_config.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: str
    num_virtual_tokens: int | None = Field(default=None, ge=1)  # other kinds than ours have none
    token_dim: int | None = None
    num_transformer_submodules: int | None = None
    num_layers: int | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    tokenizer_name_or_path: str | None = None
    task_type: str | None = None
    auto_mapping: dict[str, Any] | None = None  # where there is no task type: the model's class

    @property
    def base_model(self) -> str | None:
        """The base model's name; None where the file does not say."""
        return (self.base_model_name_or_path or "").strip() or None

    @property
    def classifies(self) -> bool:
        """Whether it has a head of its own beside the prompt."""
        return (self.task_type or "").upper() == _CLASSIFIES

    @property
    def model_class(self) -> str:
        """The class of the base model, where it is told."""
        return str((self.auto_mapping or {}).get("base_model_class") or "")


def stated_differences(config: AdapterConfig, model: str) -> list[str]:
    """What an adapter says of itself that does not go with a model of this name.

    It needs no model: what is wrong already is said before one is loaded.
    """
    differences = []
    if config.base_model is not None and not _same_model(config.base_model, model):
        differences.append(f"its base model is {shown(config.base_model, 200)}, not {model!r}")
    tokenizer = (config.tokenizer_name_or_path or "").strip()
    if tokenizer and not _same_model(tokenizer, model):
        differences.append(f"its tokenizer is that of {shown(tokenizer, 200)}, not of {model!r}")
    if config.task_type is not None and config.task_type.upper() not in (_CAUSAL, _CLASSIFIES):
        differences.append(
            f"its task_type is {shown(config.task_type, 80)}, a prompt that classifies has "
            f"{_CAUSAL!r} or {_CLASSIFIES!r}"
        )
    return differences


def model_differences(
    config: AdapterConfig, model: ModelRef, architecture: str, layers: int
) -> list[str]:
    """What it says that does not go with the model that was loaded."""
    differences = []
    named = config.model_class
    if named and named.lower() != ARCHITECTURES[architecture].model_class.lower():
        differences.append(
            f"it was trained on a {named[:80]}, {model.id} is a causal {architecture}"
        )
    if config.classifies and architecture in WITHOUT_CLASSIFIER:
        differences.append(
            f"its task_type is {_CLASSIFIES!r}, and transformers has no sequence classification "
            f"for {architecture}"
        )
    if config.num_layers is not None and config.num_layers != layers:
        differences.append(
            f"its base model has {config.num_layers} layers, {model.id} has {layers}"
        )
    stated = _revision(config)
    if stated and model.revision and stated != model.revision:
        differences.append(
            f"it was trained on revision {shown(stated, 80)} of the model, {model.revision!r} is "
            "what was loaded"
        )
    return differences


def _revision(config: AdapterConfig) -> str | None:
    """The revision that it names, by branch or commit, or that its folder in a cache names."""
    if config.revision and config.revision != "main":
        return config.revision
    cached = _CACHED.search(_slashes(config.base_model or ""))
    return cached.group(2) if cached and _COMMIT.fullmatch(cached.group(2)) else None


def _same_model(stated: str, asked: str) -> bool:
    folder = Path(asked).expanduser()
    owner, name = _owner_and_name(str(folder.resolve()) if folder.is_dir() else asked)
    stated_owner, stated_name = _owner_and_name(stated)
    return name == stated_name and (None in (owner, stated_owner) or owner == stated_owner)


def _owner_and_name(model: str) -> tuple[str | None, str]:
    """A hub id's two parts; a folder, which may be on another machine, has no owner."""
    path = _slashes(model).casefold()
    if cached := _CACHED.search(path):
        owner, _, name = cached.group(1).partition("--")
        return (owner, name) if name else (None, owner)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    is_id = len(parts) == 2 and not path.startswith(("/", ".", "~")) and ":" not in path
    return (parts[0] if is_id else None), (parts[-1] if parts else path)


def _slashes(path: str) -> str:
    return path.strip().replace("\\", "/")
