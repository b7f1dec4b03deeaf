"""`isogloss serve` and `classify`. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from isogloss.prompts.console.console import print_json, say
from isogloss.prompts.errors import InvalidInput
from isogloss.serving.cli.detect import DetectorName, detect
from isogloss.serving.cli.language_options import LanguagesOption, parse_languages
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
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option(help="auto: CUDA where there is one. (default: auto)"),
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "int8"] | None,
    typer.Option(
        help="Precision of the frozen model; auto: bfloat16 on GPUs and on processors that are "
        "faster in it, else float32; int8 (processors): weights and activations. "
        "(default: auto)"
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
    host: Annotated[
        str | None, typer.Option(help="0.0.0.0 lets other machines in. (default: 127.0.0.1)")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0: any free one. (default: 8000)")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
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
    detector: DetectorName = None,
    mixture_threshold: MixtureThreshold = None,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            help="File of API keys, NAME:KEY a line; whoever asks must send one. (default: none)"
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin whose pages may ask from a browser, or *; may be given several times."
        ),
    ] = None,
) -> None:
    """Answer HTTP requests with Ray Serve until Ctrl-C.

    Each setting may stand in the environment instead, as ISOGLOSS_PORT or ISOGLOSS_LOG_FORMAT does.
    """
    from isogloss.serving.ray.launch import run

    given: dict[str, Any] = {"host": host, "port": port, "replicas": replicas, "threads": threads}
    given |= {"device": device, "dtype": dtype, "detector": detector}
    given |= {"budget_tokens": budget_tokens, "api_keys_file": api_keys}
    given |= {"cors_origins": tuple(cors_origin or ()) or None}
    settings = _settings(model or None, store, mixture_threshold, **given)
    raise typer.Exit(run(settings, lambda line: say(line, err=True), haproxy=haproxy))


def classify(
    texts: Texts,
    column: Annotated[
        str | None,
        typer.Option(help="Answer the rows of a file, whose column or field of texts this is."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File of the same rows with their answers, for --column.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Ask this server. (default: answer in this process)")
    ] = None,
    file_format: Annotated[
        Literal["csv", "tsv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="Of the file. (default: as its name ends)"),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Before the names of what is added to a row.")] = "",
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin a file again, and replace what is there.")
    ] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Requests at a time that the server gets for a file.")
    ] = 4,
    model: Model = None,
    store: Store = None,
    task: Annotated[str | None, typer.Option(help="Label set by name. (default: topic)")] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Code such as fra_Latn or fr, or a name; overrides detection."),
    ] = None,
    languages: LanguagesOption = None,
    prompt: Annotated[
        str | None, typer.Option(help="name or name@version; overrides routing.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Show the best K labels only.")] = None,
    abstain: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Mark answers whose best score is less as abstained."),
    ] = None,
    detector: DetectorName = None,
    mixture_threshold: MixtureThreshold = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Classify texts, or the rows of a file, in this process or by a server: the same answers.

    A file (CSV, TSV, JSON Lines, Parquet) may have any size; stopped in any way, the same command
    goes on.
    """
    from isogloss.serving.cli import files, text_answers
    from isogloss.serving.client.answering import ClassifyOptions

    chosen = {"device": device, "dtype": dtype, "detector": detector}
    settings = _settings([model] if model else None, store, mixture_threshold, **chosen)
    if url is not None:
        _check_remote({**chosen, "store": store, "mixture_threshold": mixture_threshold})
    options = ClassifyOptions(
        model=model,
        task=task,
        language=language,
        languages=parse_languages(languages),
        prompt=prompt,
        top_k=top_k,
        abstain=abstain,
    )
    path = files.file_of(texts, column, out)
    if path is not None and column is not None and out is not None:
        job = files.FileJob(
            path, out, column, file_format, prefix, restart, url, concurrency, settings, options
        )
        files.classify_file(job, as_json)
        return
    given = read_texts(texts, _stdin())
    answers = text_answers.classify_texts(settings, given, options, url)
    for line in answers.complaints():
        say(line, err=True)
    if as_json:
        print_json(answers.as_json(), indent=None)
    else:
        text_answers.print_answers(given, answers)


def _check_remote(given: Mapping[str, object]) -> None:
    """Require that nothing is asked that only a server's own start decides."""
    if named := [name for name, value in given.items() if value is not None]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise InvalidInput(f"{options}: a server has its own; leave it out with --url")


def _stdin() -> IO[bytes] | None:
    return None if sys.stdin is None else sys.stdin.buffer


def _settings(
    models: Sequence[str] | None,
    store: Path | None,
    mixture_threshold: float | None,
    **given: Any,
) -> ServingSettings:
    """Settings of what was given; what was not is left to the environment and to its default."""
    from isogloss.serving.environment import settings_from, warn_of_unknown

    warn_of_unknown(partial(say, err=True))
    named = {"models": tuple(models) if models else None, "mixture_threshold": mixture_threshold}
    return settings_from({**named, "store": store, **given})
