"""What a model's arithmetic depends on besides its tensors, read from the model once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.architectures import Architecture
from isogloss.prompts.model.decoder.linear import Named

_ACTIVATIONS: Mapping[str, Named] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "relu2": "relu2",
}
_EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon")
_ACTIVATION_NAMES = ("hidden_activation", "hidden_act", "activation_function")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of one model."""

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    norm_eps: float
    activation: Named | None  # None: it has numbers of its own
    embedding_scale: float
    logit_scale: float
    score_cap: float | None
    score_scales: tuple[float, ...]  # of each layer, as multiples of head_size ** -0.5
    windows: tuple[int | None, ...]
    rotations: tuple[int | None, ...]  # of each layer, which of the model's tables
    parallel: bool
    residual_after_norm: bool

    @classmethod
    def of(cls, architecture: Architecture, model: Any) -> Sizes:
        """Read them.

        Raises:
            InvalidInput: an activation that is not computed here.
        """
        config, table = model.config, model.get_input_embeddings()
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        scale = getattr(table, "scalar_embed_scale", getattr(table, "embed_scale", 1.0))
        kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
        window = getattr(config, "sliding_window", None)
        return cls(
            layers=layers,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_size=size,
            norm_eps=architecture.norm_eps or _first(config, _EPSILONS),
            activation=None if architecture.xielu else _activation(architecture, config),
            embedding_scale=float(scale),
            logit_scale=float(getattr(config, "logit_scale", None) or 1.0),
            score_cap=getattr(config, "attn_logit_softcapping", None),
            score_scales=_score_scales(model, layers, size),
            windows=tuple(window if kind == "sliding_attention" else None for kind in kinds),
            rotations=_rotations(architecture, model, kinds),
            parallel=architecture.parallel or getattr(config, "use_parallel_residual", False),
            residual_after_norm=getattr(config, "apply_residual_connection_post_layernorm", False),
        )

    def constants(self, config: Any) -> dict[str, Any]:
        """What a fingerprint says of them: these numbers, and those that rotations are made of."""
        ropes = getattr(config, "rope_parameters", None) or {}
        return {**asdict(self), "rope": _plain(ropes)}


def rotation_tables(model: Any, positions: int) -> tuple[tuple[Tensor, ...], int]:
    """Cosines and sines of each kind of layer as the model's own module makes them.

    Returns:
        Tables (positions, turned dimensions / 2, 2), float32, and 2 where dimensions that turn
        together lie side by side in the checkpoint, 1 where they lie in two halves.
    """
    rotary = getattr(model.base_model, "rotary_emb", None)
    if rotary is None:
        return (), 1
    like = torch.zeros(1, device=model.get_input_embeddings().weight.device)
    ids = torch.arange(positions, device=like.device)[None]
    tables, step = [], 1
    for kind in _kinds(rotary):
        cos, sin = rotary(like, ids) if kind is None else rotary(like, ids, kind)
        step = 2 if torch.equal(cos[..., ::2], cos[..., 1::2]) else 1
        half = slice(None, None, 2) if step == 2 else slice(cos.shape[-1] // 2)
        tables.append(torch.stack([cos[0, :, half], sin[0, :, half]], dim=-1).float())
    return tuple(tables), step


def _kinds(rotary: Any) -> list[str | None]:
    """Kinds of layers that have rotations of their own; None: all layers have the same."""
    own = getattr(rotary, "rope_type", None)
    return sorted(own) if isinstance(own, dict) else [None]


def _rotations(architecture: Architecture, model: Any, kinds: list[str]) -> tuple[int | None, ...]:
    rotary = getattr(model.base_model, "rotary_emb", None)
    if rotary is None:
        return (None,) * len(kinds)
    tables, turning = _kinds(rotary), [True] * len(kinds)
    if architecture.rotates == "no_rope_layers":
        turning = [bool(turns) for turns in model.config.no_rope_layers]
    if architecture.rotates == "windows":
        turning = [kind == "sliding_attention" for kind in kinds]
    which = [0 if tables == [None] else tables.index(kind) for kind in kinds]
    return tuple(index if turns else None for index, turns in zip(which, turning, strict=True))


def _score_scales(model: Any, layers: int, size: int) -> tuple[float, ...]:
    """Attention modules say by what they multiply scores; BLOOM's do not, for it is the usual."""
    own = [m.scaling for m in model.modules() if hasattr(m, "scaling") and hasattr(m, "layer_idx")]
    found = [round(scale * size**0.5, 9) for scale in own] or [1.0]
    return tuple(found if len(found) == layers else found * layers)


def _activation(architecture: Architecture, config: Any) -> Named:
    asked = architecture.activation or _first(config, _ACTIVATION_NAMES)
    if asked not in _ACTIVATIONS:
        raise InvalidInput(
            f"activation {asked!r} is not computed here; these are: {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[asked]


def _first(config: Any, names: tuple[str, ...]) -> Any:
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if value is not None), None)


def _plain(value: Any) -> Any:
    """Numbers as one type, whether a file has 10000 or 10000.0."""
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items() if own is not None}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    return float(value) if isinstance(value, int | float) else str(value)
