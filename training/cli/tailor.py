"""`isogloss tailor`. Heavy imports wait until it runs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.console.console import print_json, say
from isogloss.training.cli.options import (
    AsJson,
    Data,
    Languages,
    Levels,
    Machine,
    ModelName,
    MultiLabel,
    NoneWord,
    Store,
    interruptible,
    parse_kind,
    tell_generation,
    to_stderr,
)

if TYPE_CHECKING:
    from isogloss.training.tailor.job import Planned, Tailored
    from isogloss.training.tailor.steps import Told


@as_command
def tailor(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the report, tables and all steps.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    parallel: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Parallel text, for clades without labels: <code>.txt line by line, SIB-200's "
            "<code>/train.tsv, or NTREX-128.",
        ),
    ] = None,
    languages: Languages = "all",
    task: Annotated[str, typer.Option(help="Name of the task the labels belong to.")] = "topic",
    word: Annotated[
        list[str] | None,
        typer.Option(help="label=word: speak a label as this word. Repeat for more labels."),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="What stands around every text, with {text} where it goes."),
    ] = None,
    multi_label: MultiLabel = False,
    levels: Levels = None,
    none_word: NoneWord = None,
    effort: Annotated[
        Literal["quick", "full"],
        typer.Option(help="quick: two seeds, short prompts. full: four seeds, longer ones too."),
    ] = "quick",
    store: Store = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print steps, commands and predicted times; run nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything, and publish nothing.")
    ] = False,
    machine: Machine,
    as_json: AsJson = False,
) -> None:
    """Make prompts of every way that the data allows, choose routes, measure them, publish.

    From labels in one language, some or all, with parallel text or without. Dev chooses, test
    reports. The report says what each language family gets, what that gains, and what to label
    next.

    Interrupted in any way, the same command goes on with what is left.
    """
    from isogloss.prompts.format.template import checked_template, settled_template
    from isogloss.training.cli.in_process import in_process
    from isogloss.training.tailor.job import Request, plan_job
    from isogloss.training.tailor.job import tailor as run_job
    from isogloss.training.tailor.plan import Given, commands
    from isogloss.training.workers.units import kept_loaded

    settled = settled_template(None if template is None else checked_template(template))
    machine = _settled(machine, model, out)
    problem, order = parse_kind(multi_label, levels, none_word)
    words, options = tuple(word or ()), _options(machine)
    given = Given(model, data, task, words, options, problem, order, none_word, settled)
    request = Request(
        given,
        out,
        store,
        tuple(parallel or ()),
        languages,
        effort,
        machine.workers or 1,
        dry_run,
    )
    with kept_loaded():
        backbone, _ = machine.load(model)
        if plan:
            planned = plan_job(backbone, request)
            _tell_plan(planned, as_json, commands(planned.steps))
            return
        with interruptible("finished steps are kept"):
            _report(
                run_job(backbone, request, in_process(request.work / "log.txt"), _Clock().tell),
                as_json,
            )


def _settled(machine: Machine, model: str, out: Path) -> Machine:
    """The precision is chosen once a job: what was made in one is not made again in another."""
    from isogloss.training.files import writable_folder, write_atomically
    from isogloss.training.tailor.cost import faster_dtype
    from isogloss.training.workers.units import ModelSpec

    kept = out / "work" / "dtype"
    if kept.is_file():
        dtype: Any = kept.read_text(encoding="utf-8").strip()
    else:
        dtype = faster_dtype(ModelSpec(model, machine.device, machine.dtype))
        write_atomically(writable_folder(kept.parent) / kept.name, dtype.encode())
    return replace(machine, dtype=dtype) if machine.dtype == "auto" else machine


def _options(machine: Machine) -> tuple[str, ...]:
    """The machine's options, as each step's command takes them."""
    words = [
        *(("--device", machine.device) if machine.device != "auto" else ()),
        *(("--dtype", machine.dtype) if machine.dtype != "auto" else ()),
        *(("--workers", str(machine.workers)) if machine.workers is not None else ()),
        *(("--ray-address", machine.ray_address) if machine.ray_address else ()),
    ]
    return tuple(words)


def _tell_plan(planned: Planned, as_json: bool, text: str) -> None:
    total = sum(step.seconds for step in planned.steps)
    missing = planned.plan.left_out
    if as_json:
        steps = [
            {"name": step.name, "seconds": round(step.seconds, 1), "command": str(step)}
            for step in planned.steps
        ]
        left_out = [asdict(each) for each in missing]
        print_json({"steps": steps, "seconds": round(total, 1), "left_out": left_out})
        return
    say(text)
    for each in missing:
        say(f"# left out: {each.what}: {each.why}; {each.remedy}")
    say(f"# {len(planned.steps)} steps, about {_lasting(total)} on this machine")


class _Clock:
    """Says what is done and how long the rest will take, by how well the plan foretold so far."""

    def __init__(self) -> None:
        self._took = self._foretold = 0.0

    def tell(self, told: Told, planned: Planned) -> None:
        """A line a step."""
        steps = planned.steps
        shown = f"[{told.number}/{len(steps)}] {told.step.name}"
        if told.kept:
            to_stderr(f"==> {shown}: done before")
        elif told.seconds is None:
            left = sum(step.seconds for step in steps[told.number - 1 :])
            ratio = self._took / self._foretold if self._foretold > 10 else 1.0
            to_stderr(f"==> {shown}: {_lasting(ratio * left)} left")
        else:
            self._took += told.seconds
            self._foretold += told.step.seconds


def _lasting(seconds: float) -> str:
    """About how long, in words."""
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _report(done: Tailored, as_json: bool) -> None:
    table = done.table
    if as_json:
        print_json(
            {
                "routes": table.model_dump(mode="json"),
                "generation": done.generation,
                "report": str(done.report),
                "seconds": dict(done.seconds),
                "left_out": [asdict(each) for each in done.plan.left_out],
            }
        )
        return
    say(f"universal: {table.universal}")
    for clade in table.clades:
        say(f"{clade}: {table.clades[clade]}")
    for each in done.plan.left_out:
        to_stderr(f"left out: {each.what}: {each.why}; {each.remedy}")
    say(f"report: {done.report}")
    tell_generation(done.generation)
