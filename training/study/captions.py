"""What each table and figure shows, and how it came about."""

from __future__ import annotations

from isogloss.training.study.kinship import places
from isogloss.training.study.results import StudyResults
from isogloss.training.study.rows import StudyTables
from isogloss.training.study.words import counted, listing

_SPREAD = "one standard deviation over seeds; small circles: single seeds."


def captions(results: StudyResults, tables: StudyTables) -> dict[str, str]:
    """A caption for each part, from the study's own settings."""
    usual = _usual(results)
    paper = " Hatched: the paper." if any(row.paper_percent for row in tables.figure2) else ""
    marks = " Crosses: the paper." if any(row.paper_percent for row in tables.table4) else ""
    diamonds = (
        " Diamonds: the paper." if any(row.paper_r is not None for row in tables.table1) else ""
    )
    unknown = [row.name for row in tables.figure5 if row.change_percent is None]
    never = f" Not drawn, for plain prompts get none right: {listing(unknown)}." if unknown else ""
    return {
        "table4": f"Accuracy per language ({usual}), with the model frozen and with all weights "
        f"trained.{marks}",
        "figure2": f"Mean accuracy over {counted(len(results.languages), 'language')} ({usual}), "
        f"with and without model freezing. Error bars: {_SPREAD}{paper}",
        "figure3": f"Mean accuracy over languages by examples per label: frozen, plain prompts of "
        f"{counted(results.length, 'token')}. Band: {_SPREAD}",
        "figure4": f"Mean accuracy over languages by prompt length: frozen, plain prompts from "
        f"{counted(results.shots, 'example')} per label. Band: {_SPREAD}",
        "figure5": f"Relative change of accuracy by residual reparameterization against plain "
        f"prompts ({usual}, frozen), by family and there from gain to loss. Lines: 95 % interval "
        "over seeds, each seed compared with itself and plain prompts' mean taken as known; pale "
        f"bars: the interval includes zero; lines that leave the frame are cut.{never}",
        "table1": f"Pearson correlation, over languages, of accuracy ({usual}, mean over seeds) "
        f"with likeness to {places([results.source])[0].name} and with the amount of "
        f"pretraining data. Lines: 95 % interval over languages.{diamonds}",
        "section4": "What one prompt takes, beside all of the model's weights.",
    }


def _usual(results: StudyResults) -> str:
    seeds = sorted({run.seed for setting in ("frozen", "full") for run in results.base(setting)})
    source = places([results.source])[0].name
    return (
        f"{source}, {counted(results.shots, 'example')} per label, prompts of "
        f"{counted(results.length, 'token')}, {_seeds(seeds)}"
    )


def _seeds(seeds: list[int]) -> str:
    if not seeds:
        return "no seed"
    return f"seed{'s' * (len(seeds) > 1)} {listing([str(seed) for seed in seeds])}"
