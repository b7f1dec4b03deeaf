"""`isogloss train`. Heavy imports wait until it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    RayAddress,
    Workers,
    parse_codes,
    parse_shots,
    parse_words,
    to_stderr,
)

if TYPE_CHECKING:
    from prompts.backbone import Backbone
    from training.run import Trained
    from training.runs import Job
    from training.work.jobs import ModelSpec, Pool

_DEFAULT = TrainingConfig.model_construct()  # defaults are stated once, there


def _setting(*, help: str, metavar: str | None = None) -> Any:
    panel = "Settings (each takes several values)"
    return typer.Option(help=help, metavar=metavar, rich_help_panel=panel)


def _left_open(*, help: str, metavar: str | None = None) -> Any:
    panel = "What the paper leaves open (several values, too)"
    return typer.Option(help=help, metavar=metavar, rich_help_panel=panel)


def _this_run(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="This run")


def train(
    out: Annotated[Path, typer.Option(help="Folder for the prompt files.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    task: Annotated[
        str, typer.Option(help="Name of the task the labels belong to.")
    ] = _DEFAULT.task,
    word: Annotated[
        list[str] | None,
        typer.Option(help="label=word: speak a label as this word. Repeat for more labels."),
    ] = None,
    unfrozen: Annotated[
        bool, typer.Option("--unfrozen", help="Train all weights too (the paper's baseline).")
    ] = False,
    source: Annotated[
        list[str] | None,
        _setting(help="Language codes to learn from, with commas between them. (default: English)"),
    ] = None,
    shots: Annotated[
        list[str] | None,
        _setting(help="Examples per label and source language, or 'all'. (default: 8)"),
    ] = None,
    length: Annotated[
        list[int] | None,
        _setting(help="Vectors of the prompt. (default: the paper's per model)"),
    ] = None,
    reparameterization: Annotated[
        list[str] | None,
        _setting(metavar="[none|residual]", help="residual: train through an MLP. (default: none)"),
    ] = None,
    bottleneck: Annotated[
        list[int] | None, _setting(help="Width of the MLP. (default: the paper's per model)")
    ] = None,
    seed: Annotated[
        list[int] | None, _setting(help="One prompt per seed: --seed 0 1 2. (default: 0)")
    ] = None,
    epochs: Annotated[
        list[int] | None, _setting(help="Passes over the examples. (default: 20)")
    ] = None,
    batch_size: Annotated[
        list[int] | None, _setting(help="Examples per step. (default: 8)")
    ] = None,
    learning_rate: Annotated[
        list[float] | None, _setting(help="At its peak. (default: the paper's per model)")
    ] = None,
    validation: Annotated[
        list[str] | None,
        _left_open(
            metavar="[dev|train]",
            help="Where the k/4 validation samples per label come from. (default: dev)",
        ),
    ] = None,
    optimizer: Annotated[
        list[str] | None, _left_open(metavar="[adamw|sgd]", help="Optimizer. (default: adamw)")
    ] = None,
    weight_decay: Annotated[
        list[float] | None, _left_open(help="Of the optimizer. (default: 0)")
    ] = None,
    schedule: Annotated[
        list[str] | None,
        _left_open(
            metavar="[linear|constant]", help="linear: the rate falls to zero. (default: linear)"
        ),
    ] = None,
    gradient_clip: Annotated[
        list[float] | None, _left_open(help="Largest gradient norm; 0: any. (default: 1)")
    ] = None,
    init: Annotated[
        list[str] | None,
        _left_open(
            metavar="[vocabulary|label|normal]",
            help="Start from sampled tokens' embeddings, the labels' tokens, or noise. "
            "(default: vocabulary)",
        ),
    ] = None,
    loss: Annotated[
        list[str] | None,
        _left_open(
            metavar="[verbalizer|vocabulary]",
            help="Softmax over the labels' tokens, or over the whole vocabulary. "
            "(default: verbalizer)",
        ),
    ] = None,
    norm_gain: Annotated[
        list[float] | None,
        _left_open(help="First value of the residual MLP's LayerNorm gain. (default: 1)"),
    ] = None,
    max_text_tokens: Annotated[
        list[int] | None,
        _left_open(help="Cut training texts here. (default: where the model cuts them)"),
    ] = None,
    name: Annotated[
        str | None,
        _this_run(help="Name of the files. (default: task-model-kind-length)"),
    ] = None,
    resume: Annotated[
        bool,
        _this_run("--resume", help="Go on with an interrupted run; keep finished prompts."),
    ] = False,
    overwrite: Annotated[
        bool,
        _this_run("--overwrite", help="Replace prompts that were trained with other settings."),
    ] = False,
    state: Annotated[
        bool,
        _this_run(
            "--state/--no-state",
            help="Keep what --resume needs while training (unfrozen: 4 times the weights).",
        ),
    ] = True,
    population: Annotated[
        int | None,
        _this_run(help="Prompts that train together at most. (default: 16 on CPU, 64 on a GPU)"),
    ] = None,
    cache_gb: Annotated[
        float,
        _this_run(help="Memory for encoded texts, in GB; what exceeds it goes to a file."),
    ] = 4.0,
    cache_dir: Annotated[
        Path | None, _this_run(help="Folder of that file. (default: --out)")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    workers: Workers = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Train soft prompts on a few labelled texts: one for each combination of the values given.

    Prompts train side by side over texts that are encoded once. The defaults are the paper's.
    Ctrl-C keeps the best prompts so far; --resume goes on.
    """
    choices: dict[str, Sequence[Any] | None] = {
        "task": [task],
        "words": [parse_words(word or [])],
        "unfrozen": [unfrozen],
        "sources": [parse_codes(own) for own in source or []],
        "shots": [parse_shots(own) for own in shots or []],
        "validation": validation,
        "reparameterization": reparameterization,
        "bottleneck": bottleneck,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "gradient_clip": gradient_clip,
        "init": init,
        "loss": loss,
        "norm_gain": norm_gain,
        "max_text_tokens": max_text_tokens,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "length": length,
        "seed": seed,
    }
    if cache_gb < 0:
        raise InvalidInput(f"--cache-gb {cache_gb}: give 0 or more")
    from training.grid import expand
    from training.runs import Job, default_population
    from training.texts import CacheBudget
    from training.work.jobs import ModelSpec, Pool, load_here

    pool = Pool.of(workers, ray_address)
    backbone, shared = load_here(ModelSpec(model, device, dtype), pool)
    job = Job(
        data=data,
        out=out,
        configs=expand(backbone, {own: values or () for own, values in choices.items()}),
        name=name,
        resume=resume,
        overwrite=overwrite,
        keep_state=state,
        population=default_population(backbone.device.type) if population is None else population,
        cache=CacheBudget(int(cache_gb * 2**30), cache_dir or out),
    )
    _report_training(_train(backbone, job, shared), job, as_json)


def _train(backbone: Backbone, job: Job, workers: tuple[ModelSpec, Pool] | None) -> list[Trained]:
    from training.progress import TrainingBars
    from training.runs import run_job

    done: list[Trained] = []
    with TrainingBars() as bars:
        try:
            for result in run_job(backbone, job, bars, workers, to_stderr):
                done.append(result)
                if workers is not None:
                    bars.trained(len(done), len(job.configs))
        except KeyboardInterrupt:  # between populations, or while workers train
            typer.echo("interrupted: finished prompts are kept; --resume goes on", err=True)
            raise typer.Exit(130) from None
    return done


def _report_training(results: list[Trained], job: Job, as_json: bool) -> None:
    from training.grid import varied
    from training.tables import trained_table

    differing = varied(job.configs)
    interrupted = any(result.interrupted for result in results)
    if as_json:
        shared = job.configs[0].model_dump(mode="json", exclude={"seed", *differing})
        prompts = [_as_json(own) for own in results]
        print_json(
            {
                "settings": shared,
                "varied": differing,
                "prompts": prompts,
                "interrupted": interrupted,
            }
        )
    else:
        print_table(trained_table(results))
    if interrupted:
        kept = any(result.path and result.interrupted for result in results)
        said = "the best so far is kept" if kept else "no epoch ended, nothing is kept"
        typer.echo(f"interrupted: {said}; --resume goes on", err=True)
        raise typer.Exit(130)
    if broken := [result for result in results if result.failure]:
        raise InvalidInput("; ".join(f"{own.name}: {own.failure}" for own in broken))


def _as_json(result: Trained) -> dict[str, Any]:
    return {**asdict(result), "path": str(result.path) if result.path else None}
