"""`isogloss serve` and `classify`. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from isogloss.prompts.console.console import print_json, say
from isogloss.serving.cli.detect import DetectorName, detect
from isogloss.serving.cli.texts import AsJson, Texts, read_texts
from isogloss.serving.cli.trials import trials

if TYPE_CHECKING:
    from isogloss.serving.config import ServingSettings

Model = Annotated[
    str | None,
    typer.Option(
        help="Hub id, folder in the hub's layout, or pocket model. (default: pocket-bloom)"
    ),
]
Store = Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto: CUDA where there is one.")
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "int8", "fp8"],
    typer.Option(
        help="Precision of the frozen model; auto: bfloat16 on GPUs and on processors that are "
        "faster in it, else float32; int8 (processors) and fp8 (GPUs): weights and activations."
    ),
]
MixtureThreshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Mix the likeliest prompts' scores where the language is less certain than this; 0: "
        "never. (default: 0.9)",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    for command in (serve, classify, detect, trials):
        app.command()(command)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to serve; may be given several times: requests that name none take the "
            "first. (default: pocket-bloom)"
        ),
    ] = None,
    store: Store = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    device: Device = "auto",
    dtype: Dtype = "auto",
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Of each model. (default: one a GPU, else one)")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of a replica. (default: all, shared)")
    ] = None,
    haproxy: Annotated[
        bool | None,
        typer.Option(help="Take requests in through HAProxy. (default: where it is installed)"),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of one batch. (default: auto, measured on this machine)"),
    ] = None,
    detector: DetectorName = "isogloss",
    mixture_threshold: MixtureThreshold = None,
) -> None:
    """Answer HTTP requests with Ray Serve until Ctrl-C."""
    from isogloss.serving.ray.launch import run

    given: dict[str, Any] = {"host": host, "port": port, "replicas": replicas, "threads": threads}
    given |= {"device": device, "dtype": dtype, "detector": detector}
    given |= {"budget_tokens": budget_tokens}
    settings = _settings(model or None, store, mixture_threshold, **given)
    raise typer.Exit(run(settings, lambda line: say(line, err=True), haproxy=haproxy))


def classify(
    texts: Texts,
    model: Model = None,
    store: Store = None,
    task: Annotated[str | None, typer.Option(help="Label set by name. (default: topic)")] = None,
    language: Annotated[
        str | None, typer.Option(help="Code such as fra_Latn; overrides detection.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="name or name@version; overrides routing.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Show the best K labels only.")] = None,
    abstain: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Mark answers whose best score is less as abstained."),
    ] = None,
    detector: DetectorName = "isogloss",
    mixture_threshold: MixtureThreshold = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Classify texts in this process: the same answer as the HTTP endpoint, without a server."""
    from isogloss.serving.cli.text_answers import classify_texts, print_answers

    given = read_texts(texts, _stdin())
    chosen = {"device": device, "dtype": dtype, "detector": detector}
    settings = _settings([model] if model else None, store, mixture_threshold, **chosen)
    options = {
        "model": model, "task": task, "language": language, "prompt": prompt, "top_k": top_k,
        "abstain": abstain,
    }  # fmt: skip
    answers = classify_texts(settings, given, options)
    for line in answers.complaints():
        say(line, err=True)
    if as_json:
        print_json(answers.as_json(), indent=None)
    else:
        print_answers(given, answers)


def _stdin() -> IO[bytes] | None:
    return None if sys.stdin is None else sys.stdin.buffer


def _settings(
    models: Sequence[str] | None,
    store: Path | None,
    mixture_threshold: float | None,
    **given: Any,
) -> ServingSettings:
    """Settings of what was given; what was not is left to its default."""
    from isogloss.serving.config import ServingSettings

    optional = {
        "models": tuple(models) if models else None,
        "mixture_threshold": mixture_threshold,
    }
    chosen = {name: value for name, value in optional.items() if value is not None}
    return ServingSettings.model_validate({**chosen, "store": store, **given})
