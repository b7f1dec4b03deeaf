"""`isogloss train`. Heavy imports wait until it runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from prompts.console import print_json, print_table
from prompts.errors import InvalidInput
from training.config import TrainingConfig
from training.options import (
    AsJson,
    Data,
    Device,
    Dtype,
    ModelName,
    parse_codes,
    parse_shots,
    parse_words,
)

if TYPE_CHECKING:
    from prompts.backbone import Backbone
    from training.runs import Job, Trained

_DEFAULT = TrainingConfig.model_construct()  # defaults are stated once, there


def _left_open(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="What the paper leaves open")


def _this_run(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="This run")


def train(
    out: Annotated[Path, typer.Option(help="Folder for the prompt files.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    source: Annotated[
        str, typer.Option(help="Language codes to learn from, with commas between them.")
    ] = ",".join(_DEFAULT.sources),
    task: Annotated[
        str, typer.Option(help="Name of the task the labels belong to.")
    ] = _DEFAULT.task,
    word: Annotated[
        list[str] | None,
        typer.Option(help="label=word: speak a label as this word. Repeat for more labels."),
    ] = None,
    shots: Annotated[
        str, typer.Option(help="Examples per label and source language, or 'all'.")
    ] = str(_DEFAULT.shots),
    length: Annotated[
        int | None, typer.Option(help="Vectors of the prompt. (default: the paper's per model)")
    ] = None,
    reparameterization: Annotated[
        Literal["none", "residual"], typer.Option(help="residual: train through an MLP.")
    ] = _DEFAULT.reparameterization,
    bottleneck: Annotated[
        int | None, typer.Option(help="Width of the MLP. (default: the paper's per model)")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="One prompt per seed: --seed 0 1 2. (default: 0)")
    ] = None,
    unfrozen: Annotated[
        bool, typer.Option("--unfrozen", help="Train all weights too (the paper's baseline).")
    ] = False,
    epochs: Annotated[int, typer.Option(help="Passes over the examples.")] = _DEFAULT.epochs,
    batch_size: Annotated[int, typer.Option(help="Examples per step.")] = _DEFAULT.batch_size,
    learning_rate: Annotated[
        float | None, typer.Option(help="At its peak. (default: the paper's per model)")
    ] = None,
    validation: Annotated[
        Literal["dev", "train"],
        _left_open(help="Where the k/4 validation samples per label come from."),
    ] = _DEFAULT.validation,
    optimizer: Annotated[
        Literal["adamw", "sgd"], _left_open(help="Optimizer.")
    ] = _DEFAULT.optimizer,
    weight_decay: Annotated[float, _left_open(help="Of the optimizer.")] = _DEFAULT.weight_decay,
    schedule: Annotated[
        Literal["linear", "constant"],
        _left_open(help="linear: the rate falls to zero."),
    ] = _DEFAULT.schedule,
    gradient_clip: Annotated[
        float, _left_open(help="Largest gradient norm; 0: any.")
    ] = _DEFAULT.gradient_clip,
    init: Annotated[
        Literal["vocabulary", "label", "normal"],
        _left_open(help="Start from sampled tokens' embeddings, the labels' tokens, or noise."),
    ] = _DEFAULT.init,
    loss: Annotated[
        Literal["verbalizer", "vocabulary"],
        _left_open(help="Softmax over the labels' tokens, or over the whole vocabulary."),
    ] = _DEFAULT.loss,
    norm_gain: Annotated[
        float,
        _left_open(help="First value of the residual MLP's LayerNorm gain."),
    ] = _DEFAULT.norm_gain,
    max_text_tokens: Annotated[
        int | None,
        _left_open(help="Cut training texts here. (default: where the model cuts them)"),
    ] = None,
    name: Annotated[
        str | None,
        _this_run(help="Name of the files. (default: task-model-kind-length)"),
    ] = None,
    resume: Annotated[
        bool,
        _this_run("--resume", help="Go on with an interrupted run; keep finished seeds."),
    ] = False,
    overwrite: Annotated[
        bool,
        _this_run("--overwrite", help="Replace prompts that were trained with other settings."),
    ] = False,
    state: Annotated[
        bool,
        _this_run(
            "--state/--no-state",
            help="Keep what --resume needs after every epoch (unfrozen: 4 times the weights).",
        ),
    ] = True,
    cache_gb: Annotated[
        float,
        _this_run(help="Memory for encoded texts, in GB; beyond it they are encoded per batch."),
    ] = 4.0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Train one soft prompt per seed on a few labelled texts.

    The defaults are the paper's. Ctrl-C keeps the best prompt so far; --resume goes on.
    """
    choices = {
        "task": task,
        "sources": parse_codes(source),
        "shots": parse_shots(shots),
        "validation": validation,
        "words": parse_words(word or []),
        "length": length,
        "reparameterization": reparameterization,
        "bottleneck": bottleneck,
        "unfrozen": unfrozen,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "gradient_clip": gradient_clip,
        "init": init,
        "loss": loss,
        "norm_gain": norm_gain,
        "max_text_tokens": max_text_tokens,
    }
    if cache_gb < 0:
        raise InvalidInput(f"--cache-gb {cache_gb}: give 0 or more")
    from prompts.backbone import Backbone
    from training.config import configure
    from training.runs import Job

    backbone = Backbone.load(model, device=device, dtype=dtype)
    job = Job(
        data=data,
        out=out,
        config=configure(backbone, choices),
        seeds=tuple(dict.fromkeys(seed or [0])),
        name=name,
        resume=resume,
        overwrite=overwrite,
        keep_state=state,
        cache_bytes=int(cache_gb * 2**30),
    )
    results = _train(backbone, job)
    _report_training(results, job.config, as_json)


def _train(backbone: Backbone, job: Job) -> list[Trained]:
    from training.progress import TrainingBars
    from training.runs import run_job

    with TrainingBars() as bars:
        return list(run_job(backbone, job, bars))


def _report_training(results: list[Trained], config: TrainingConfig, as_json: bool) -> None:
    from training.tables import trained_table

    interrupted = any(result.interrupted for result in results)
    if as_json:
        print_json(
            {
                "settings": config.model_dump(mode="json", exclude={"seed"}),
                "prompts": [_as_json(own) for own in results],
                "interrupted": interrupted,
            }
        )
    else:
        print_table(trained_table(results))
    if interrupted:
        kept = "the best so far is kept" if results[-1].path else "no epoch ended, nothing is kept"
        typer.echo(f"interrupted: {kept}; --resume goes on", err=True)
        raise typer.Exit(130)


def _as_json(result: Trained) -> dict[str, Any]:
    return {**asdict(result), "path": str(result.path) if result.path else None}
