"""`isogloss study`: the paper's experiments on one's own model and data, as one command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.languages import canonical
from isogloss.training.cli.options import (
    AsJson,
    Data,
    Languages,
    Machine,
    ModelName,
    Split,
    interruptible,
    parse_codes,
    to_stderr,
)

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.training.study.plan import Study
    from isogloss.training.study.results import StudyResults
    from isogloss.training.workers.units import PoolSpec


_setting: Callable[..., Any] = partial(typer.Option, rich_help_panel="Settings")


@as_command
def study(
    *,
    out: Annotated[Path, typer.Option(help="Folder for prompts, tables, figures and report.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    only: Annotated[
        str,
        typer.Option(
            help="Parts, with commas between them: figure2, table4, figure3, figure4, figure5, "
            "table1, section4. (default: all)"
        ),
    ] = "",
    unfrozen: Annotated[
        bool,
        typer.Option(
            "--unfrozen/--no-unfrozen", help="Also train all weights, as the paper's baseline."
        ),
    ] = True,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Train every run as the paper's released code does, which differs from its text.",
        ),
    ] = False,
    beside: Annotated[
        Path | None,
        typer.Option(
            help="Folder of another finished study: report and tables show what differs. "
            "(default: none)"
        ),
    ] = None,
    languages: Languages = "all",
    source: Annotated[str, typer.Option(help="The language to learn from.")] = "eng_Latn",
    split: Split = "test",
    seed: Annotated[
        list[int] | None, _setting(help="Seeds of every run: --seed 0 1 2. (default: 0 1 2 3)")
    ] = None,
    shots: Annotated[int, _setting(help="Examples per label, but for Figure 3.")] = 8,
    shot_counts: Annotated[
        list[int] | None, _setting(help="Examples per label of Figure 3. (default: 4 8 16 32)")
    ] = None,
    length: Annotated[
        int | None, _setting(help="Prompt length, but for Figure 4. (default: the paper's)")
    ] = None,
    lengths: Annotated[
        list[int] | None, _setting(help="Lengths of Figure 4. (default: 1 2 5 10 20 30)")
    ] = None,
    epochs: Annotated[int, _setting(help="Passes over the examples.")] = 20,
    learning_rate: Annotated[
        float | None, _setting(help="Of prompts. (default: the paper's per model)")
    ] = None,
    unfrozen_learning_rate: Annotated[
        float | None, _setting(help="Of all weights. (default: the paper's per model)")
    ] = None,
    task: Annotated[str, _setting(help="Name of the task the labels belong to.")] = "topic",
    population: Annotated[
        int | None,
        _setting(help="Prompts that train together at most. (default: 16 on CPU, 64 on a GPU)"),
    ] = None,
    cache_gb: Annotated[
        float, _setting(help="Memory for encoded texts, in GB; what exceeds it goes to a file.")
    ] = 4.0,
    uriel: Annotated[
        Path | None,
        _setting(help="URIEL's distance file (distances2.zip). (default: computed by lang2vec)"),
    ] = None,
    machine: Machine,
    as_json: AsJson = False,
) -> None:
    """Run the paper: Tables 1 and 4, Figures 2 to 5, Section 4, as CSV, plots and one HTML report.

    Interrupted in any way, the same command goes on with what is left.
    """
    from isogloss.training.study.plan import (
        LENGTHS,
        SEEDS,
        SHOTS,
        Study,
        StudyChoices,
        check_parts,
    )
    from isogloss.training.tuning.job import default_population
    from isogloss.training.tuning.texts import CacheBudget

    if cache_gb < 0:
        raise InvalidInput(f"--cache-gb {cache_gb}: give 0 or more")
    choices = StudyChoices(
        parts=check_parts(parse_codes(only)),
        source=canonical(source),
        variant="as published" if as_published else "default",
        seeds=tuple(dict.fromkeys(seed or SEEDS)),
        shots=shots,
        shot_counts=tuple(shot_counts or SHOTS),
        length=length,
        lengths=tuple(lengths or LENGTHS),
        with_unfrozen=unfrozen,
        epochs=epochs,
        learning_rate=learning_rate,
        unfrozen_learning_rate=unfrozen_learning_rate,
        more={"task": task},
    )
    backbone, shared = machine.load(model)
    plan = Study(
        data=data,
        out=out,
        choices=choices,
        languages=languages,
        split=split,
        population=default_population(backbone.device.type) if population is None else population,
        cache=CacheBudget(int(cache_gb * 2**30), out),
        uriel=uriel,
        beside=beside,
    )
    _report(_conduct(backbone, plan, shared), plan, as_json)


def _conduct(backbone: Backbone, plan: Study, workers: PoolSpec | None) -> StudyResults:
    from isogloss.training.cli.progress import StudyBars
    from isogloss.training.study.conduct import conduct

    with interruptible("what is finished is kept"), StudyBars() as bars:
        return conduct(backbone, plan, bars, workers, to_stderr)


def _report(results: StudyResults, plan: Study, as_json: bool) -> None:
    from isogloss.prompts.console.plain_table import PlainTable
    from isogloss.training.study.tables import study_tables

    tables = study_tables(results)
    if as_json:
        print_json(
            {
                "model": results.model,
                "parts": list(results.parts),
                "runs": len(results.runs),
                "languages": list(results.languages),
                "seconds": dict(results.seconds),
                "report": str(plan.out / "report.html"),
                "findings": [asdict(row) for row in tables.findings],
            }
        )
        return
    table = PlainTable(
        "What the study shows", "The paper", "", title=f"{results.model}: {len(results.runs)} runs"
    )
    for row in tables.findings:
        table.add_row(row.sentence, row.paper, row.verdict or "")
    print_table(table)
    say(f"report: {plan.out / 'report.html'}")
