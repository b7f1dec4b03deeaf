"""`isogloss bench`. Heavy imports wait until a command runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deploy.bench import http_command
from deploy.bench.options import check_writable, parse_sizes
from prompts.console import ReportingGroup, print_json, print_table
from prompts.errors import InvalidInput

if TYPE_CHECKING:
    import torch
    from rich.table import Table

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    help="Measure against named peers, on the same weights and texts, in the same run.",
)


def register(isogloss: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    isogloss.add_typer(app, name="bench")


http_command.register(app)


@app.callback()
def bench() -> None:
    """Measure against named peers, on the same weights and texts, in the same run."""


Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="bloom-560m, bloom-1b1, xglm-564M, xglm-1.7B, or all; repeatable. "
        "(default: bloom-560m and xglm-564M)",
    ),
]
WhichDevice = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: CUDA where there is one.")
]
WhichDtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option("--dtype", help="Precision; auto: float32 on CPU, bfloat16 on GPUs."),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of matrix products. (default: every core)")
]
Seed = Annotated[int, typer.Option(min=0, help="Of weights, texts and prompts.")]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON object here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def engine(
    model: Models = None,
    batch_sizes: Annotated[str, typer.Option(help="Texts in a batch; commas between.")] = "1,8,32",
    prompts: Annotated[int, typer.Option(min=1, help="Different prompts in a batch.")] = 8,
    prompt_length: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of each batch size, at least.")] = 3,
    seconds: Annotated[
        float, typer.Option(min=0, help="Repeat small batches until this much time has passed.")
    ] = 15.0,
    device: WhichDevice = "auto",
    dtype: WhichDtype = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Score texts of SIB-200's lengths under mixed prompts: ours, transformers, PEFT.

    Full-size models with random weights: nothing is downloaded. Needs up to 10 GB of memory.
    """
    sizes = parse_sizes(batch_sizes)  # before anything slow: mistakes show at once
    check_writable(out)

    from deploy.bench.engine import EngineSettings, bench_engine
    from deploy.bench.report import engine_tables, progress

    where, precision = _choose_machine(device, dtype, threads)
    settings = EngineSettings(
        models=_choose_models(model),
        batch_sizes=sizes,
        prompts=prompts,
        prompt_length=prompt_length,
        repeats=repeats,
        seconds=seconds,
        device=where,
        dtype=precision,
        seed=seed,
    )
    with progress() as say:
        report = bench_engine(settings, say)
    _tell(report, engine_tables, out, as_json)


@app.command()
def train(
    model: Models = None,
    population: Annotated[
        int, typer.Option(min=1, help="Prompts trained side by side: seeds x 4 learning rates.")
    ] = 16,
    epochs: Annotated[
        int,
        typer.Option(min=1, max=20, help="Measured in each round; the rest of 20 is projected."),
    ] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each contender takes.")] = 3,
    device: WhichDevice = "auto",
    dtype: WhichDtype = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train prompts with the paper's settings: transformers, PEFT, ours alone, ours together.

    Full-size models with random weights: nothing is downloaded. Needs up to 16 GB of memory.
    """
    check_writable(out)

    from deploy.bench.report import progress, train_tables
    from deploy.bench.train import TrainSettings, bench_train

    where, precision = _choose_machine(device, dtype, threads)
    settings = TrainSettings(
        models=_choose_models(model),
        population=population,
        epochs=epochs,
        rounds=rounds,
        device=where,
        dtype=precision,
        seed=seed,
    )
    with progress() as say:
        report = bench_train(settings, say)
    _tell(report, train_tables, out, as_json)


@app.command()
def mixture(
    model: Annotated[
        str, typer.Option(help="Hub id, folder in the hub's layout, or pocket model.")
    ] = "pocket-bloom",
    store: Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")] = None,
    task: Annotated[str | None, typer.Option(help="Label set by name. (default: topic)")] = None,
    data: Annotated[
        str, typer.Option(help="Data set on the hub, or folder <code>/test.tsv.")
    ] = "Davlan/sib200",
    languages: Annotated[
        str, typer.Option(help="Codes with commas between them, all, or every.")
    ] = "all",
    words: Annotated[str, typer.Option(help="Words of a text; commas between.")] = "2,3,5",
    thresholds: Annotated[
        str, typer.Option(help="Values of --mixture-threshold to try; commas between.")
    ] = "0.9,1",
    sentences: Annotated[
        int | None, typer.Option(min=2, help="Of each language. (default: all of the test split)")
    ] = None,
    device: WhichDevice = "auto",
    dtype: WhichDtype = "auto",
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the interval's samples.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Classify the first words of test sentences with prompts mixed, alone, and language told."""
    lengths = parse_sizes(words, "--words")
    shares = parse_shares(thresholds)
    check_writable(out)

    from deploy.bench.mixture import MixtureSettings, bench_mixture
    from deploy.bench.report import mixture_tables, progress
    from prompts.backbone import Backbone
    from serving.config import ServingSettings
    from training.evaluate import choose_languages

    _choose_machine(device, dtype, threads)
    backbone = Backbone.load(model, device=device, dtype=dtype)
    settings = MixtureSettings(
        serving=ServingSettings(models=(model,), store=store),
        data=data,
        languages=choose_languages(backbone, data, languages),
        words=lengths,
        thresholds=shares,
        sentences=sentences,
        task=task,
        seed=seed,
    )
    with progress() as say:
        report = bench_mixture(settings, backbone, say)
    _tell(report, mixture_tables, out, as_json)


def _choose_machine(
    device: Literal["auto", "cpu", "cuda"],
    dtype: Literal["auto", "float32", "bfloat16", "float16"],
    threads: int | None,
) -> tuple[torch.device, torch.dtype]:
    import torch

    from prompts.loading import choose_device, choose_dtype

    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device)
    return where, choose_dtype(dtype, where)


def _choose_models(asked: Sequence[str] | None) -> tuple[str, ...]:
    from deploy.bench.contest import DEFAULT_MODELS
    from prompts.full_size import FULL_SIZE

    named = tuple(dict.fromkeys(asked or DEFAULT_MODELS))
    return tuple(FULL_SIZE) if "all" in named else named


def _tell(
    report: Mapping[str, Any],
    tables: Callable[[Mapping[str, Any]], list[Table]],
    out: Path | None,
    as_json: bool,
) -> None:
    """Write and print what was measured."""
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(report)
        return
    for table in tables(report):
        print_table(table)


def parse_shares(text: str) -> tuple[float, ...]:
    """Thresholds with commas between them, each once, ascending.

    Raises:
        InvalidInput: not numbers above 0 and up to 1.

    >>> parse_shares("1,0.9")
    (0.9, 1.0)
    """
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 < share <= 1 for share in found):
        raise InvalidInput(
            f"--thresholds {text!r}: give numbers above 0 and up to 1, as in 0.9,1 (0, one prompt "
            "a text, is always measured)"
        )
    return tuple(found)
