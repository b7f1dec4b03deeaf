"""`isogloss train`. Heavy imports wait until it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.labels import parse_words
from isogloss.prompts.languages.languages import canonical
from isogloss.training.cli import train_options as given
from isogloss.training.cli.options import (
    AsJson,
    Data,
    Device,
    Dtype,
    ModelName,
    RayAddress,
    Workers,
    parse_languages,
    parse_shots,
    to_stderr,
)
from isogloss.training.tuning.config import TrainingConfig

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.training.tuning.job import Job
    from isogloss.training.tuning.outputs import Trained
    from isogloss.training.workers.units import PoolSpec

_DEFAULT = TrainingConfig.model_construct()  # defaults are stated once, there


def train(
    out: given.Out,
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    task: given.Task = _DEFAULT.task,
    word: given.Word = None,
    unfrozen: given.Unfrozen = False,
    source: given.Source = None,
    shots: given.Shots = None,
    teacher: given.Teacher = None,
    parallel: given.Parallel = None,
    teacher_language: given.TeacherLanguage = None,
    pairs: given.Pairs = None,
    length: given.Length = None,
    reparameterization: given.Reparameterization = None,
    bottleneck: given.Bottleneck = None,
    seed: given.Seed = None,
    epochs: given.Epochs = None,
    batch_size: given.BatchSize = None,
    learning_rate: given.LearningRate = None,
    validation: given.Validation = None,
    optimizer: given.Optimizer = None,
    weight_decay: given.WeightDecay = None,
    schedule: given.Schedule = None,
    gradient_clip: given.GradientClip = None,
    init: given.Init = None,
    loss: given.Loss = None,
    norm_gain: given.NormGain = None,
    max_text_tokens: given.MaxTextTokens = None,
    name: given.Name = None,
    resume: given.Resume = False,
    overwrite: given.Overwrite = False,
    state: given.State = True,
    population: given.PopulationSize = None,
    cache_gb: given.CacheGb = 4.0,
    cache_dir: given.CacheDir = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    workers: Workers = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Train soft prompts on a few labelled texts, or from a teacher and parallel text.

    There is one prompt for each combination of the values given.

    Prompts train side by side over texts that are encoded once. The defaults are the paper's.
    Ctrl-C keeps the best prompts so far; --resume goes on.
    """
    choices: dict[str, Sequence[Any] | None] = {
        "task": [task],
        "words": [parse_words(word or [])],
        "unfrozen": [unfrozen],
        "sources": [parse_languages(codes) for codes in source or []],
        "shots": [parse_shots(count) for count in shots or []],
        "validation": validation,
        "teacher": teacher,
        "teacher_language": [canonical(code) for code in teacher_language or []] or None,
        "parallel": [tuple(parallel)] if parallel else None,
        "pairs": pairs,
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
    from isogloss.training.tuning.grid import expand
    from isogloss.training.tuning.job import Job, default_population
    from isogloss.training.tuning.texts import CacheBudget
    from isogloss.training.workers.units import ModelSpec, load_model

    backbone, shared = load_model(ModelSpec(model, device, dtype), workers, ray_address)
    job = Job(
        data=data,
        out=out,
        configs=expand(backbone, {name: values or () for name, values in choices.items()}),
        name=name,
        resume=resume,
        overwrite=overwrite,
        keep_state=state,
        population=default_population(backbone.device.type) if population is None else population,
        cache=CacheBudget(int(cache_gb * 2**30), cache_dir or out),
    )
    _report_training(_train(backbone, job, shared), job, as_json)


def _train(backbone: Backbone, job: Job, workers: PoolSpec | None) -> list[Trained]:
    from isogloss.training.cli.progress import TrainingBars
    from isogloss.training.tuning.job import run_job

    done: list[Trained] = []
    with TrainingBars() as bars:
        try:
            for result in run_job(backbone, job, bars, workers, to_stderr):
                done.append(result)
                if workers is not None:
                    bars.trained(len(done), len(job.configs))
        except KeyboardInterrupt:  # between populations, or while workers train
            say("interrupted: finished prompts are kept; --resume goes on", err=True)
            raise typer.Exit(130) from None
    return done


def _report_training(results: list[Trained], job: Job, as_json: bool) -> None:
    from isogloss.training.cli.tables import trained_table
    from isogloss.training.tuning.grid import varied

    differing = varied(job.configs)
    interrupted = any(result.interrupted for result in results)
    if as_json:
        shared = job.configs[0].model_dump(mode="json", exclude={"seed", *differing})
        print_json(
            {
                "settings": shared,
                "varied": differing,
                "prompts": [_as_json(result) for result in results],
                "interrupted": interrupted,
            }
        )
    else:
        print_table(trained_table(results))
    if interrupted:
        kept = any(result.path and result.interrupted for result in results)
        said = "the best so far is kept" if kept else "no epoch ended, nothing is kept"
        say(f"interrupted: {said}; --resume goes on", err=True)
        raise typer.Exit(130)
    if broken := [result for result in results if result.failure]:
        raise InvalidInput("; ".join(f"{result.name}: {result.failure}" for result in broken))


def _as_json(result: Trained) -> dict[str, Any]:
    return {**asdict(result), "path": str(result.path) if result.path else None}
