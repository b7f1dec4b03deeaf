"""One base model of the ladder, and what `isogloss tailor` left for it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidData, NotFound
from isogloss.prompts.files.tables import Layout, read_table
from isogloss.prompts.format.prompt import Prompt, load_prompt
from isogloss.training.evaluation.candidates import Candidate, prompt_files
from isogloss.training.evaluation.predictions import Prediction, read_predictions
from isogloss.training.selection.evidence import Evidence, evidence_of
from isogloss.training.selection.routing import find_origins

_NAME = re.compile(r"pocket-(?P<architecture>[a-z]+)-(?:alpha(?P<alpha>[0-9.]+)-)?(?P<which>.+)")
TEST_ANSWERS = "ladder-test"
EVEN_TODAY = "even-today"


@dataclass(frozen=True, slots=True)
class Rung:
    """A base model's place on the ladder, its candidates and where their answers are."""

    name: str
    architecture: str
    alpha: float
    which: str  # "seed0", "ship" (more steps), "even-today" (what ships today)
    folder: Path
    facts: Mapping[str, Any]  # of plan.json
    prompts: Mapping[str, Prompt]

    @property
    def seeded(self) -> bool:
        """Whether it is one of the ladder's own, that differ in alpha and pretraining seed only."""
        return self.which.startswith("seed")

    @property
    def known(self) -> dict[str, float]:
        """Pretraining text of each language, of the best-fed one's."""
        told = {code: facts["known"] for code, facts in self.facts["languages"].items()}
        return {code: float(share) for code, share in told.items() if share is not None}

    def dev(self) -> list[Prediction]:
        """Every candidate's answers on dev."""
        return _rows(self.folder / "work", "dev")

    def test(self) -> list[Prediction]:
        """Answers on test, of the run's shortlist and of what was read since; the same once."""
        found: dict[str, list[Prediction]] = {}
        for rows in (_rows(self.folder / "work", "test"), *map(read_predictions, self._later())):
            by_prompt: dict[str, list[Prediction]] = {}
            for row in rows:
                by_prompt.setdefault(row.prompt, []).append(row)
            found = by_prompt | found
        return [row for rows in found.values() for row in rows]

    def _later(self) -> list[Path]:
        return sorted((self.folder / "work").glob(f"{TEST_ANSWERS}*.csv"))

    def evidence(self, rows: list[Prediction]) -> Evidence:
        """Aligned answers of all candidates; dev's or test's."""
        files = [Candidate(name, prompt) for name, prompt in self.prompts.items()]
        return evidence_of(rows, find_origins(rows, None, files))[0]


def read_rung(folder: Path) -> Rung:
    """Read a finished run's facts and prompts.

    Raises:
        NotFound: no finished run is there.
        InvalidData: its model's name does not tell its rung.
    """
    plan = folder / "plan.json"
    if not (plan.is_file() and (folder / "report.html").is_file()):
        raise NotFound(f"--runs {folder}: no finished run of `isogloss tailor`; wait for it")
    facts = json.loads(plan.read_bytes())
    name = Path(facts["model"]).name
    told = _NAME.fullmatch(name)
    if told is None:
        raise InvalidData(
            f"{plan}: model {name!r} names no rung; call it pocket-ARCHITECTURE-alphaA-seedS"
        )
    read = {row["prompt"] for row in _table(folder / "candidates.csv")}
    files = {
        n: p
        for step in sorted((folder / "work").iterdir())
        if step.is_dir()
        for n, p in prompt_files(step).items()
        if n in read
    }
    prompts = {n: load_prompt(path) for n, path in sorted(files.items())}
    alpha = float(told["alpha"] or 0)
    return Rung(name, told["architecture"], alpha, told["which"], folder, facts, prompts)


def _table(path: Path) -> list[dict[str, str]]:
    return [row.cells for row in read_table(path, Layout(("prompt",), ",", filled=False))]


def _rows(work: Path, split: str) -> list[Prediction]:
    """Answers of the newest finished evaluations of a split: all candidates, then clades'."""
    rows: list[Prediction] = []
    for step in (split, f"{split}-clades"):
        done = sorted(
            (path.stat().st_mtime, path) for path in work.glob(f"{step}-????????/done.json")
        )
        if done:
            rows += read_predictions(done[-1][1].with_name("predictions.csv"))
    if not rows:
        raise NotFound(f"{work}: no finished evaluation on {split}; run `isogloss tailor` again")
    return rows


def among(evidence: Evidence, names: Collection[str]) -> Evidence:
    """The answers of these candidates only.

    Raises:
        InvalidData: one was not evaluated.
    """
    if lacking := sorted(set(names) - set(evidence.prompts)):
        raise InvalidData(f"prompt {lacking[0]!r} has no answers here; let test read it first")
    kept = [n for n, name in enumerate(evidence.prompts) if name in names]
    return replace(
        evidence,
        prompts=tuple(evidence.prompts[n] for n in kept),
        correct=evidence.correct[kept],
        leads=None if evidence.leads is None else evidence.leads[kept],
    )
