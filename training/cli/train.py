"""`isogloss train`. Heavy imports wait until it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidInput
from isogloss.training.cli.options import AsJson, Data, Machine, ModelName, to_stderr
from isogloss.training.cli.train_options import Choices

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.training.tuning.job import Job
    from isogloss.training.tuning.outputs import Trained
    from isogloss.training.workers.units import PoolSpec


_this_run: Callable[..., Any] = partial(typer.Option, rich_help_panel="This run")


@as_command
def train(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the prompt files.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    choices: Choices,
    published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Settings of the paper's released code, which differs from its text; any that is "
            "given wins.",
        ),
    ] = False,
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
    machine: Machine,
    as_json: AsJson = False,
) -> None:
    """Train soft prompts on a few labelled texts, or from a teacher and parallel text.

    There is one prompt for each combination of the values given.

    Prompts train side by side over texts that are encoded once. The defaults are the paper's.
    Ctrl-C keeps the best prompts so far; --resume goes on.
    """
    values = _values(choices, published)
    if cache_gb < 0:
        raise InvalidInput(f"--cache-gb {cache_gb}: give 0 or more")
    from isogloss.training.tuning.grid import expand
    from isogloss.training.tuning.job import Job, default_population
    from isogloss.training.tuning.texts import CacheBudget

    backbone, shared = machine.load(model)
    job = Job(
        data=data,
        out=out,
        configs=expand(backbone, values),
        name=name,
        resume=resume,
        overwrite=overwrite,
        keep_state=state,
        population=default_population(backbone.device.type) if population is None else population,
        cache=CacheBudget(int(cache_gb * 2**30), cache_dir or out),
    )
    _report_training(_train(backbone, job, shared), job, as_json)


def _values(choices: Choices, published: bool) -> dict[str, Sequence[Any]]:
    from isogloss.training.tuning.published import as_published

    values = choices.values()
    if published and values["teacher"]:
        raise InvalidInput("--as-published: the paper has no teacher; leave --teacher out")
    return as_published(values) if published else values


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
