"""What the benchmarks measure, and for how long; the options of a command are these fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from typer import Option

from isogloss.deploy.bench.options import REPEATED, SHARES, SIZES, each_once
from isogloss.prompts.cli.settings import Read, check_limits
from isogloss.prompts.errors import InvalidInput

FULL_SIZE_MODELS = ("bloom-560m", "xglm-564M")
PAPER_EPOCHS = 20  # Appendix A.3
RATE_FACTORS = (1.0, 0.1, 0.3, 3.0)
"""The learning rates of a population, four to a seed, as multiples of the model's own."""

Precision = Literal["float32", "bfloat16", "float16", "int8", "fp8"]
EXACT: Precision = "float32"
Client = Literal["wrk", "python"]


def _full_size(names: Any, option: str) -> tuple[str, ...]:
    """Each once; `all` stands for every one."""
    from isogloss.prompts.model.full_size import FULL_SIZE

    return tuple(FULL_SIZE) if "all" in names else each_once(names, option)


def parse_precisions(names: Any, option: str = "--dtype") -> tuple[Precision, ...]:
    """Precisions that are compared with float32, each once.

    Raises:
        InvalidInput: another name.
    """
    known = {each: each for each in get_args(Precision) if each != EXACT}
    if wrong := [name for name in names if name not in known]:
        raise InvalidInput(f"{option} {wrong[0]!r}: name one of {', '.join(known)}")
    return tuple(dict.fromkeys(known[name] for name in names))


def sizes(help: str) -> Any:
    """An option of several numbers from one."""
    return Option(min=1, help=f"{help}; commas between.", metavar="N,N,...")


Device = Annotated[
    Literal["auto", "cpu", "cuda"], Option("--device", help="auto: CUDA where there is one.")
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Option("--dtype", help="Precision; auto: float32 on CPU, bfloat16 on GPUs."),
]
FullSizeModels = Annotated[
    tuple[str, ...],
    Option(
        "--model",
        help="bloom-560m, bloom-1b1, xglm-564M, xglm-1.7B, qwen3-0.6b, gemma3-270m, or all; "
        "repeatable. "
        "(default: bloom-560m and xglm-564M)",
    ),
    Read(list[str], _full_size),
]
OneModel = Annotated[str, Option(help="Hub id, folder in the hub's layout, or pocket model.")]
Threads = Annotated[
    int | None, Option(min=1, help="Threads of matrix products. (default: every core)")
]
Seed = Annotated[int, Option(min=0, help="Of weights, texts and prompts.")]
StorePath = Annotated[Path | None, Option(help="Prompt store. (default: the user's)")]
Data = Annotated[str, Option(help="Data set on the hub, or folder <code>/test.tsv.")]
Languages = Annotated[str, Option(help="Codes with commas between them, all, or every.")]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where every benchmark runs."""

    device: Device = "auto"
    threads: Threads = None

    def __post_init__(self) -> None:
        """Hold every field to its limit.

        Raises:
            InvalidInput: naming the field.
        """
        check_limits(self)

    def settled(self) -> Self:
        """The same with what `auto` stands for on this machine, whose threads are set.

        Raises:
            InvalidInput: CUDA was asked for and there is none.
        """
        import torch

        from isogloss.prompts.model.checkpoint import choose_device, choose_dtype

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        where = choose_device(self.device)
        chosen: dict[str, Any] = {"device": where.type, "threads": torch.get_num_threads()}
        if hasattr(self, "dtype"):
            chosen["dtype"] = str(choose_dtype(self.dtype, where)).removeprefix("torch.")
        return replace(self, **chosen)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {name: _json(value) for name, value in asdict(self).items()}


def _json(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """How many prompts train together, and how much of their training is measured."""

    models: FullSizeModels = FULL_SIZE_MODELS
    population: Annotated[
        int, Option(min=1, help="Prompts trained side by side: seeds x 4 learning rates.")
    ] = 16
    epochs: Annotated[
        int, Option(min=1, max=20, help="Measured in each round; the rest of 20 is projected.")
    ] = 1
    rounds: Annotated[int, Option(min=1, help="Of all contenders, one after the other.")] = 3
    compiled: Annotated[
        bool,
        Option(
            "--torch-compile",
            help="Also the loop by hand through torch.compile; some minutes a model, needs g++.",
        ),
    ] = False
    dtype: Dtype = "auto"
    seed: Seed = 0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **super().shown(),
            "population_is": f"seeds x {len(RATE_FACTORS)} learning rates, "
            f"{', '.join(f'{factor:g}' for factor in RATE_FACTORS)} times the model's own; each "
            "seed has texts of its own",
            "epochs": PAPER_EPOCHS,
            "epochs_measured": self.epochs,
            "projection": f"seconds per prompt = (what is done once + {PAPER_EPOCHS} x (steps + "
            "validation of a measured epoch)) / prompts trained at once",
            "weights": "random, the same tensors for all contenders",
            "text_lengths": "SIB-200, English test split",
            "batches": "in random order, the same for all contenders",
            "peers": "transformers and peft compute every position's logits, as their causal "
            "language models do unless told otherwise; transformers_by_hand runs the bare decoder "
            "and reads the labels' rows of the head alone; torch_compile is the same, compiled",
        }


@dataclass(frozen=True, kw_only=True)
class HttpSettings(Settings):
    """The load on every server, and for how long."""

    models: Annotated[
        tuple[str, ...],
        Option(
            "--model",
            help="A pocket model, a model of `bench engine` (full size, random weights), or a "
            "folder in the hub's layout; repeatable. (default: pocket-bloom, bloom-560m and "
            "xglm-564M)",
        ),
        REPEATED,
    ] = ("pocket-bloom", *FULL_SIZE_MODELS)
    concurrency: Annotated[
        tuple[int, ...], sizes("Connections of the closed loop"), SIZES
    ] = (1, 8, 32, 128)  # fmt: skip
    seconds: Annotated[
        float, Option(min=1, help="Load at each concurrency; slow servers get more.")
    ] = 10.0
    replies: int = 4
    """Answers to each connection, at least: slow servers get more time."""
    rounds: Annotated[int, Option(min=1, help="Of all servers, one after the other.")] = 2
    client: Annotated[
        Client, Option(help="What sends the requests; python costs the servers processor time.")
    ] = "wrk"
    prompts: Annotated[int, Option(min=1, help="Different prompts, in turn.")] = 8
    prompt_length: Annotated[int, Option(min=1, help="Tokens of a prompt.")] = 10
    dtype: Dtype = "auto"
    seed: Seed = 0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **super().shown(),
            "weights": "random but for pocket models, the same for all contenders",
            "text_lengths": "SIB-200, English test split",
            "requests": "one text and the name of its prompt",
        }


@dataclass(frozen=True, kw_only=True)
class DialectSettings(Settings):
    """The load on each dialect of one server."""

    model: Annotated[str, Option(help="A pocket model, with its shipped prompts.")] = "pocket-bloom"
    connections: Annotated[int, Option(min=1, help="Of the closed loop.")] = 32
    seconds: Annotated[float, Option(min=1, help="Load on each dialect in a round.")] = 5.0
    rounds: Annotated[int, Option(min=1, help="Of all dialects, in turn.")] = 6


@dataclass(frozen=True, kw_only=True)
class AccuracySettings(Settings):
    """The sentences that are classified."""

    store: StorePath = None
    task: Annotated[str | None, Option(help="Label set by name. (default: topic)")] = None
    data: Data = "Davlan/sib200"
    languages: Languages = "all"
    sentences: Annotated[
        int | None, Option(min=2, help="Of each language. (default: all of the test split)")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PrecisionSettings(AccuracySettings):
    """The precisions that are compared."""

    models: Annotated[
        tuple[str, ...],
        Option(
            "--model",
            help="Hub id, folder or pocket model; repeatable. (default: both pockets)",
        ),
        REPEATED,
    ] = ("pocket-bloom", "pocket-xglm")
    precisions: Annotated[
        tuple[Precision, ...],
        Option(
            "--dtype",
            help="bfloat16, float16, int8 (processors) or fp8 (GPUs), compared with float32; "
            "repeatable. (default: bfloat16 and int8)",
        ),
        Read(list[str], parse_precisions),
    ] = ("bfloat16", "int8")
    device: Annotated[Literal["cpu", "cuda"], Option("--device", help="Where the model runs.")] = (
        "cpu"
    )


@dataclass(frozen=True, kw_only=True)
class MixtureSettings(AccuracySettings):
    """How short the texts are, and how surely their language must be known."""

    model: OneModel = "pocket-bloom"
    words: Annotated[tuple[int, ...], sizes("Words of a text"), SIZES] = (2, 3, 5)
    thresholds: Annotated[
        tuple[float, ...],
        Option(help="Values of --mixture-threshold to try; commas between."),
        SHARES,
    ] = (0.9, 1.0)
    dtype: Dtype = "auto"
