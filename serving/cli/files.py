"""`isogloss classify FILE --column NAME --out OUT`: a file's rows, in process or of a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from isogloss.prompts.console.console import report, say
from isogloss.prompts.console.progress import RowsBar
from isogloss.prompts.console.refusals import printable
from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.serving.cli.text_answers import Ask, in_process
from isogloss.serving.client.answering import ClassifyOptions
from isogloss.serving.config import ServingSettings
from isogloss.serving.files.formats import Format, format_of, open_table
from isogloss.serving.files.part import Part, digest_of
from isogloss.serving.files.rows import Table, names_added
from isogloss.serving.files.run import Work, answer_rows

_TOLD_ROWS = 20
_PATIENCE_S = 600.0
"""A server may restart meanwhile."""
_RETRIES = 1000
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class FileJob:
    """What was asked of one file."""

    path: Path
    out: Path
    column: str
    format: Format | None
    prefix: str
    restart: bool
    url: str | None
    concurrency: int
    settings: ServingSettings
    options: ClassifyOptions

    @property
    def kept_options(self) -> Mapping[str, Any]:
        """What answers depend on; an address is none of it, for a server may move."""
        named = {"column": self.column, "prefix": self.prefix, "format": self.format}
        here = None if self.url else self.settings.model_dump(mode="json", exclude_defaults=True)
        return {**named, **self.options, "in_process": here}


def file_of(texts: Sequence[str], column: str | None, out: Path | None) -> Path | None:
    """The file that is to be answered; None: texts are.

    Raises:
        InvalidInput: what was given does not go together.
    """
    if column is None and out is None:
        return None
    if column is None or out is None:
        raise InvalidInput(
            f"{'--column' if column is None else '--out'}: missing; a file takes both, --column "
            "NAME for its texts and --out OUT for the answers"
        )
    if len(texts) != 1 or texts[0] == "-":
        raise InvalidInput(
            f"--column: it goes with one file, and {' '.join(texts)[:80]!r} is none; give the path "
            "of one file, or texts without --column and --out"
        )
    path = Path(texts[0]).expanduser()
    if path.exists() and out.exists() and path.samefile(out):
        raise InvalidInput(f"--out {out}: this is the file that is read; name another one")
    return path


def classify_file(job: FileJob, as_json: bool) -> None:
    """Answer a file's rows, from where an earlier run stopped.

    Raises:
        IsoglossError: it cannot go on; what is done is kept.
    """
    form = format_of(job.path, job.out, job.format)
    if job.options.get("top_k") is not None:
        raise InvalidInput("--top-k: a file's rows get their best label alone; leave it out")
    options: ClassifyOptions = {**job.options, "top_k": 1}
    work = Work(options, job.concurrency if job.url else 1)
    table = open_table(job.path, job.column, form, names_added(work.abstain), job.prefix)
    with Part(
        job.out, digest_of(job.path, job.kept_options), table.head(), restart=job.restart
    ) as part:
        first = part.progress.rows
        with _telling_how_to_go_on(part), _Watch(table.total, first) as watch:
            asyncio.run(_run(job, table, part, work, watch))
        part.finish(table.finish)
    _report(job, part, first, as_json)


async def _run(job: FileJob, table: Table, part: Part, work: Work, watch: _Watch) -> None:
    async with _asking(job) as ask:
        await answer_rows(table, part, ask, work, watch)


@contextlib.asynccontextmanager
async def _asking(job: FileJob) -> AsyncIterator[Ask]:
    if job.url is None:
        async with in_process(job.settings) as answers:
            yield answers.classify
    else:
        from isogloss.serving.client.async_client import AsyncClient  # nobody else needs httpx

        async with AsyncClient(
            job.url, timeout_s=_PATIENCE_S, retries=_RETRIES, concurrency=job.concurrency
        ) as client:
            yield client.ask


class _Watch(RowsBar):
    """The bar, and the first rows that have no answer."""

    def __init__(self, total: int, rows: int) -> None:
        super().__init__(total, rows)
        self._refused = 0

    def refused(self, place: str, error: IsoglossError) -> None:
        """Name a row, or say that there are more."""
        self._refused += 1
        if self._refused <= _TOLD_ROWS:
            self.say(printable(f"not answered: {place}: {error}"))
        elif self._refused == _TOLD_ROWS + 1:
            self.say("not answered: more rows, each with its reason in the file's error")


@contextlib.contextmanager
def _telling_how_to_go_on(part: Part) -> Any:
    try:
        yield
    except KeyboardInterrupt:
        _say_how(part)
        raise typer.Exit(_INTERRUPTED) from None
    except IsoglossError:
        if part.progress.rows:
            _say_how(part)
        raise


def _say_how(part: Part) -> None:
    rows = part.progress.rows
    say(f"stopped after {rows:,} rows; the same command goes on from there", err=True)


def _report(job: FileJob, part: Part, first: int, as_json: bool) -> None:
    done = part.progress
    answer = {
        "out": str(job.out),
        "rows": done.rows,
        "not_answered": done.refused,
        "resumed_after": first,
    }
    told = f"{done.rows:,} rows in {job.out}"
    if done.refused:
        told += f", {done.refused:,} of them without an answer (see error)"
    report(answer, as_json, told)
