"""The page that a person reads after `isogloss tailor`: one file, nothing beside it, no script."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.training.files import write_atomically
from isogloss.training.tailor.advice import advice_csv, advise
from isogloss.training.tailor.report import words
from isogloss.training.tailor.report.charts import forest, levels
from isogloss.training.tailor.report.reading import read_run
from isogloss.training.tailor.report.tree import families, tree_of

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["write_report"]


def write_report(out: Path) -> Path:
    """Write OUT/report.html and OUT/advice.csv from OUT's other tables; return the page's path.

    Raises:
        InvalidData: a table is missing or damaged.
        InvalidInput: the page cannot be written.
    """
    run = read_run(out)
    advice = advise(run.facts, run.evidence)
    write_atomically(out / "advice.csv", advice_csv(advice))
    page = _template()
    text = page.render(
        run=run,
        facts=run.facts,
        headline=words.headline(run),
        tree=tree_of(run),
        forest=forest(run.gains, {*run.table["clades"], *families(run)}),
        levels=levels(run.languages, run.facts["languages"]),
        advice=advice,
        words=words,
    )
    path = out / "report.html"
    write_atomically(path, text.encode())
    return path


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("isogloss.training.tailor.report").joinpath("report.html.jinja")
    return environment.from_string(source.read_text(encoding="utf-8"))
