"""What `isogloss bench engine` measures, and for how long; its options are these fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from typer import Option

from isogloss.deploy.bench.options import SIZES, each_once
from isogloss.deploy.bench.settings import FULL_SIZE_MODELS, FullSizeModels, Seed, Settings, sizes
from isogloss.prompts.cli.settings import Read

if TYPE_CHECKING:
    import torch

CurveName = Literal[
    "batch_size", "resident_prompts", "prompts_per_text", "ensemble_members", "text_length"
]
CURVES: tuple[CurveName, ...] = get_args(CurveName)
HEADLINE_BATCH = 32


class Curve(StrEnum):
    """A curve on the command line."""

    BATCH_SIZE = "batch-size"
    RESIDENT_PROMPTS = "resident-prompts"
    PROMPTS_PER_TEXT = "prompts-per-text"
    ENSEMBLE_MEMBERS = "ensemble-members"
    TEXT_LENGTH = "text-length"


class PeerName(StrEnum):
    """A peer on the command line."""

    TRANSFORMERS = "transformers"
    PEFT = "peft"
    PEFT_LAST_LOGITS = "peft-last-logits"
    TRANSFORMERS_BUCKETS = "transformers-buckets"
    TORCH_COMPILE = "torch-compile"
    TORCH_COMPILE_INT8 = "torch-compile-int8"
    OPENVINO = "openvino"
    OPENVINO_INT8 = "openvino-int8"
    LLAMA_CPP = "llama-cpp"
    LLAMA_CPP_INT8 = "llama-cpp-int8"


class PeerPrecision(StrEnum):
    """Of peers that do not make one of their own."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class OurPrecision(StrEnum):
    """Of our linear layers, as torch names it."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Settings):
    """The curves' points, the contenders' precisions, and how often each is measured."""

    models: FullSizeModels = FULL_SIZE_MODELS
    curves: Annotated[
        tuple[CurveName, ...],
        Option("--curve", help="Repeatable. (default: all five)"),
        Read(list[Curve], each_once),
    ] = CURVES
    batch_sizes: Annotated[tuple[int, ...], sizes("Texts in a batch"), SIZES] = (
        *(1, 2, 4, 8, 16, 32, 64),
    )
    residents: Annotated[tuple[int, ...], sizes("Prompts in memory"), SIZES] = (1, 10, 100, 1000)
    prompts_per_text: Annotated[tuple[int, ...], sizes("Prompts on each text"), SIZES] = (
        *(1, 2, 4, 8, 16),
    )
    ensemble_members: Annotated[
        tuple[int, ...], sizes("Prompts that answer each text together"), SIZES
    ] = (1, 4)
    text_lengths: Annotated[tuple[int, ...], sizes("Tokens of each text"), SIZES] = (
        *(16, 64, 256, 1024),
    )
    prompts: Annotated[int, Option(min=1, help="Different prompts in a mixed batch.")] = 8
    prompt_length: Annotated[int, Option(min=1, help="Tokens of a prompt.")] = 10
    resident_batch: int = 32
    fanned_texts: int = 8
    """Texts that are each read under several prompts."""
    ensemble_texts: int = 32
    """Texts that are each answered by several prompts together."""
    length_tokens: int = 1024
    """Text tokens of a batch of the length curve: `length_tokens / length` texts, at least one."""
    rounds: Annotated[int, Option(min=1, help="At the headline's batch size; fewer elsewhere.")] = 4
    seconds: Annotated[float, Option(min=0, help="Repeat quick points for so long.")] = 8.0
    dtypes: Annotated[
        tuple[str, ...] | None,
        Option(
            "--dtype",
            help="Of ours, repeatable; the peers run in the first wider than a byte. (default: "
            "float32, int8 and, where it is faster than float32, bfloat16; on GPUs bfloat16)",
        ),
        Read(list[OurPrecision], each_once),
    ] = None
    peers: Annotated[
        tuple[str, ...],
        Option(
            "--peer",
            help="Repeatable; the compiled ones take a minute a model to begin. (default: "
            "transformers, peft and peft-last-logits)",
        ),
        Read(list[PeerName], each_once),
    ] = ("transformers", "peft", "peft_last_logits")
    peer_dtypes: Annotated[
        tuple[str, ...] | None,
        Option(
            "--peer-dtype",
            help="Of peers that make none of their own, repeatable. (default: the first of ours "
            "wider than a byte)",
        ),
        Read(list[PeerPrecision], each_once),
    ] = None
    seed: Seed = 0

    @property
    def torch_dtypes(self) -> tuple[torch.dtype, ...]:
        """Ours; none until `auto` is decided."""
        import torch

        return tuple(getattr(torch, name) for name in self.dtypes or ())

    @property
    def torch_peer_dtypes(self) -> tuple[torch.dtype, ...]:
        """The peers'; none: the model's own."""
        import torch

        return tuple(getattr(torch, name) for name in self.peer_dtypes or ())

    @property
    def fewer_rounds(self) -> int:
        """Where nothing but a curve is at stake; quick points have more in `seconds`."""
        return max(1, self.rounds - 2)

    @property
    def close_rounds(self) -> int:
        """Where a cost of a few per cent is to be told from noise."""
        return max(3, self.rounds + 1)

    @property
    def headline_batch(self) -> int:
        """The batch size whose ratios stand for the model's: 32, or the largest that is asked."""
        return HEADLINE_BATCH if HEADLINE_BATCH in self.batch_sizes else max(self.batch_sizes)

    def points(self, curve: CurveName) -> tuple[int, ...]:
        """Where a curve is measured, ascending; the mixed batch is one number of residents."""
        chosen: set[int] = set(getattr(self, _SIZES_OF[curve]))
        if curve == "resident_prompts":
            chosen.add(min(self.prompts, self.resident_batch))
        return tuple(sorted(chosen))

    def shown(self) -> dict[str, Any]:
        """As JSON; a curve's sizes under its name."""
        from isogloss.deploy.bench.number_formats import SHORT

        left_out = set(_SIZES_OF.values())
        return {
            **{name: own for name, own in super().shown().items() if name not in left_out},
            "dtypes": [SHORT[dtype] for dtype in self.torch_dtypes],
            "curves": {curve: list(self.points(curve)) for curve in self.curves},
            "ratios_at_batch_size": self.headline_batch,
            **ENGINE_NOTES,
        }


_SIZES_OF: Mapping[CurveName, str] = MappingProxyType(
    dict(
        zip(
            CURVES,
            ("batch_sizes", "residents", "prompts_per_text", "ensemble_members", "text_lengths"),
            strict=True,
        )
    )
)

# What `--quick` changes: a result in about two minutes, of one model.
QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "models": FULL_SIZE_MODELS[:1],
        "batch_sizes": (1, 8, 32),
        "residents": (1, 1000),
        "resident_batch": 8,
        "prompts_per_text": (1, 8),
        "fanned_texts": 2,
        "ensemble_texts": 8,
        "text_lengths": (16, 256),
        "length_tokens": 256,
        "rounds": 1,
        "seconds": 2.0,
    }
)

ENGINE_NOTES = {
    "weights": "random, the same tensors for all contenders",
    "text_lengths": "SIB-200, English test split; on the text_length curve all alike",
    "ratios": "medians of ratios between neighbours in time; above 1 ours is faster, except "
    "prompts_*_vs_*, ensemble_*_vs_* and mixed_vs_single, which are costs: the first's time over "
    "the second's",
    "first_round": "counts only where there is no other: memory is measured and answers are "
    "compared in it",
    "interval": "95 %, by bootstrap over the rounds; of few rounds it is no wider than they are",
    "share_of_rate": "operations of the linear layers that the answers need (all text and prompt "
    "tokens through every layer; of the last layer keys and values of all, the rest only of the "
    "rows that are read) / seconds / rate; the rate is that of F.linear (int8: torch._int_mm) over "
    "all linear layers of the model with as many rows as the batch has tokens, in the contender's "
    "precision, in the same rounds",
    "label_agreement": "share of texts with the same best label as transformers; random weights "
    "make near-ties of them (median_margin: log-probability of the best label over the next), so "
    "this understates what trained weights would show",
}
