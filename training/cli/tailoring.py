"""`isogloss tailoring`: what prompts tuned for clades gain over controls, with intervals.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidInput
from isogloss.training.cli.options import AsJson, OnlyModel, to_stderr

if TYPE_CHECKING:
    from isogloss.training.evaluation.candidates import Candidate
    from isogloss.training.evaluation.predictions import Prediction
    from isogloss.training.selection.tailoring import Tailoring, TailoringRow


def tailoring(
    evaluations: Annotated[
        list[Path],
        typer.Option(
            help="Predictions of tuned prompts and their controls, of `isogloss evaluate "
            "--split test`."
        ),
    ],
    prompts: Annotated[
        list[str],
        typer.Option(
            help="Files (or folders) of these prompts, whose cards say which is which. Others "
            "among them do not matter."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for table and figure.")],
    model: OnlyModel = None,
    alpha: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=VALUE",
            help="How uneven a model's languages are (0: even), for three models or more: also "
            "tell how effects grow with it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare prompts tuned on clades' labels with their controls on test.

    So tailoring is not confounded with more training. Controls are the universal prompt that the
    tuning started from, that prompt continued on diverse languages for as many steps, and the other
    clades' prompts. Intervals hold prompt seeds and articles.

    Leaves tailoring.csv, tailoring.svg and tailoring.png in --out.
    """
    from isogloss.prompts.files.tables import record_bytes
    from isogloss.training.evaluation.candidates import load_candidates
    from isogloss.training.files import writable_folder, write_atomically
    from isogloss.training.selection.evidence import read_evidence
    from isogloss.training.selection.tailoring import slope_rows, tailoring_rows
    from isogloss.training.selection.tailoring_figure import save_tailoring

    values = _alpha(alpha or [])
    groups = read_evidence(evaluations, model, "test")
    _check_known(values, {rows[0].model for rows in groups.values()})
    # One at a time: prompts of two models may share a name.
    files = [each for text in prompts for each in load_candidates([text], store=None)]
    writable_folder(out)
    measured = [_measured(predictions, files) for predictions in groups.values()]
    rows = [row for each in measured for row in tailoring_rows(each)]
    slopes, unknown = slope_rows(measured, values) if values else ([], None)
    absent = [f"{each.model}: {said}" for each in measured for said in each.absent]
    rows += slopes
    write_atomically(out / "tailoring.csv", record_bytes(rows))
    save_tailoring(rows, out)
    _report(rows, [*absent, *([unknown] if unknown else [])], out, as_json=as_json)


def _alpha(given: Sequence[str]) -> dict[str, float]:
    """`MODEL=VALUE` each.

    Raises:
        InvalidInput: something else.
    """
    values = {}
    for text in given:
        name, _, value = text.rpartition("=")
        try:
            values[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise InvalidInput(f"--alpha {text!r}: give MODEL=NUMBER, such as pocket-bloom=0.3")
    return values


def _check_known(values: Mapping[str, float], models: set[str]) -> None:
    if unknown := sorted(values.keys() - models):
        raise InvalidInput(
            f"--alpha {unknown[0]}: no such model in --evaluations; there are "
            f"{', '.join(sorted(models))}"
        )


def _measured(predictions: Sequence[Prediction], files: Sequence[Candidate]) -> Tailoring:
    from isogloss.training.selection.arms import controls_of, find_arms
    from isogloss.training.selection.evidence import evidence_of
    from isogloss.training.selection.tailoring import measure

    cards = {each.prompt.digest: each.prompt.card.training for each in files}
    digests = {row.prompt: row.digest for row in predictions}
    arms = find_arms(cards, digests)
    used = {arm.prompt for arm in arms}
    used |= {name for arm in arms for names in controls_of(arms, arm).values() for name in names}
    rows = [row for row in predictions if row.prompt in used]
    evidence, _ = evidence_of(rows)
    return measure(evidence, rows, arms)


def _report(
    rows: Sequence[TailoringRow], absent: Sequence[str], out: Path, *, as_json: bool
) -> None:
    from isogloss.training.selection.tailoring_tables import tailoring_table

    if as_json:
        print_json({"effects": [asdict(r) for r in rows], "absent": absent, "out": str(out)})
        return
    print_table(tailoring_table(rows))
    for said in absent:
        to_stderr(said)
    say(f"table and figure: {out}")
