"""Compare language detectors on SIB-200 test, side by side.

    python -m serving.detect_evaluate --data ../shared/data/sib200 [--json]

For each detector: how often it names the language, and the clade by which a request would be
routed, for whole sentences and for their first five words; macro-averaged over languages, over the
52 of the soft-prompt paper and over all of SIB-200. A clade is judged under three route tables,
since what counts as a miss depends on what a table tells apart. Times are
the processor's, not the wall's, for batches of 32 texts and for one text at a time.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from prompts import ngrams
from prompts.languages import Language, deepest_clade, languages
from serving.detect import load_detector
from serving.detect_py3langid import language_of
from serving.detection import NOTHING, Detection, Detector

_NOT_IN_PAPER = frozenset(
    ["lug_Latn", "nya_Latn", "pan_Guru", "run_Latn", "sot_Latn", "tsn_Latn", "tso_Latn", "zho_Hant"]
)
PAPER_52 = tuple(
    entry.code
    for entry in languages().values()
    if (entry.in_bloom or entry.in_xglm) and entry.code not in _NOT_IN_PAPER
)
_ROOTS = frozenset(entry.lineage[0] for entry in languages().values() if entry.lineage)
_BRANCHES = frozenset(
    ["Romance", "Germanic", "Slavic", "Indo-Aryan", "Iranian", "Narrow_Bantu", "Semitic"]
)
ROUTE_TABLES: Mapping[str, frozenset[str]] = {
    "families": _ROOTS,
    "branches": _ROOTS | _BRANCHES,
    # As fine as a table made from the 52 can be: every clade above any of them.
    "all clades": frozenset(clade for code in PAPER_52 for clade in languages()[code].lineage),
}


@dataclass(frozen=True, slots=True)
class Score:
    """One detector on one set of languages; every rate is a macro average in 0..1.

    `calibration_error`: how far confidence is from being right, in ten bins (ECE, over sentences).
    `clade` and `worst`: per route table, the share of sentences in the right clade and the
    language with the smallest such share.
    """

    languages: int
    language: float
    calibration_error: float
    clade: dict[str, float]
    worst: dict[str, tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Report:
    """All that is measured of one detector; times in microseconds of processor per text."""

    detector: str
    version: str
    paper: Score
    paper_five_words: Score
    sib200: Score
    batch_us: float
    single_us: float


class Cld2Detector:
    """pycld2 (Apache-2.0), measured for comparison only."""

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        scripts = ngrams.extract(texts).scripts.tolist()
        return [_cld2(text, script) for text, script in zip(texts, scripts, strict=True)]


def _cld2(text: str, script: int) -> Detection:
    import pycld2  # only compared with, never used to serve

    printable = "".join(letter for letter in text if letter.isprintable())
    _, _, details = pycld2.detect(printable, bestEffort=True)
    found = language_of(details[0][1], script)
    return NOTHING if found is None else Detection(found, details[0][2] / 100)


DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "isogloss": load_detector,
    "py3langid": lambda: load_detector("py3langid"),
    "pycld2": Cld2Detector,
}


def read_split(data: Path, code: str, split: str = "test") -> list[str]:
    """Return the texts of one SIB-200 file."""
    with (data / code / f"{split}.tsv").open(encoding="utf-8", newline="") as rows:
        return [row["text"] for row in csv.DictReader(rows, delimiter="\t")]


def first_words(text: str, words: int = 5) -> str:
    """Return a text's first words; of one written without spaces, the first 15 characters."""
    parts = text.split()
    return " ".join(parts[:words]) if len(parts) > words else text[:15]


def score(texts: Mapping[str, Sequence[str]], detector: Detector) -> Score:
    """Score a detector on texts by language code."""
    known = languages()
    named: list[float] = []
    confidence: list[float] = []
    correct: list[bool] = []
    clades: dict[str, dict[str, float]] = {table: {} for table in ROUTE_TABLES}
    for code, sentences in texts.items():
        detections = detector.detect(sentences)
        found = [detection.language for detection in detections]
        right = [entry.code == code for entry in found]
        named.append(float(np.mean(right)))
        confidence += [detection.confidence for detection in detections]
        correct += right
        for table, routed in ROUTE_TABLES.items():
            clades[table][code] = same_clade(known[code], found, routed)
    return Score(
        languages=len(texts),
        language=float(np.mean(named)),
        calibration_error=calibration_error(confidence, correct),
        clade={table: float(np.mean(list(rates.values()))) for table, rates in clades.items()},
        worst={t: min(rates.items(), key=lambda pair: pair[1]) for t, rates in clades.items()},
    )


def calibration_error(confidence: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the expected calibration error over ten equal bins of confidence."""
    sure, right = np.array(confidence), np.array(correct, float)
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = np.bincount(bins, sure - right, 10)  # a bin's size times its mean gap
    return float(np.abs(gaps).sum() / len(sure))


def same_clade(truth: Language, found: Sequence[Language], routed: frozenset[str]) -> float:
    """Return the share of detections that a route table sends where the true language goes."""
    right = deepest_clade(truth.lineage, routed)
    return float(np.mean([deepest_clade(entry.lineage, routed) == right for entry in found]))


def measure(name: str, data: Path) -> Report:
    """Measure one detector on all of SIB-200 test."""
    detector = DETECTORS[name]()
    sib200 = {code: read_split(data, code) for code in languages()}
    paper = {code: sib200[code] for code in PAPER_52}
    short = {code: [first_words(text) for text in texts] for code, texts in paper.items()}
    mixed = [texts[k] for k in range(20) for texts in paper.values()]
    return Report(
        detector=name,
        version=metadata.version(name) if name != "isogloss" else "this commit",
        paper=score(paper, detector),
        paper_five_words=score(short, detector),
        sib200=score(sib200, detector),
        batch_us=_microseconds(detector, mixed, 32),
        single_us=_microseconds(detector, mixed, 1),
    )


def _installed(name: str) -> bool:
    return name == "isogloss" or importlib.util.find_spec(name) is not None


def _microseconds(detector: Detector, texts: Sequence[str], batch: int) -> float:
    """Return the best of three rounds, since others may be using the machine."""
    rounds = []
    for _ in range(3):
        start = time.process_time()
        for at in range(0, len(texts), batch):
            detector.detect(texts[at : at + batch])
        rounds.append(time.process_time() - start)
    return min(rounds) / len(texts) * 1e6


def markdown(reports: Sequence[Report]) -> str:
    """Return the reports as a table, a column for each detector."""
    lines = [("", *(f"{report.detector} ({report.version})" for report in reports))]
    for title, part in (
        ("52 languages", "paper"),
        ("52 languages, first 5 words", "paper_five_words"),
        ("SIB-200", "sib200"),
    ):
        scores: list[Score] = [getattr(report, part) for report in reports]
        lines.append((f"{title}: language", *(f"{s.language:.1%}" for s in scores)))
        error = (f"{s.calibration_error:.3f}" for s in scores)
        lines.append((f"{title}: calibration error", *error))
        for table in ROUTE_TABLES:
            cells = (
                f"{s.clade[table]:.1%}; {s.worst[table][0]} {s.worst[table][1]:.1%}" for s in scores
            )
            lines.append((f"{title}: clade of *{table}*; worst", *cells))
    lines.append(("us per text, batches of 32", *(f"{r.batch_us:.0f}" for r in reports)))
    lines.append(("us per text, one at a time", *(f"{r.single_us:.0f}" for r in reports)))
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="Compare language detectors on SIB-200 test.")
    parser.add_argument("--data", type=Path, required=True, help="SIB-200: a folder per language")
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = arguments.detectors.split(",")
    if absent := [name for name in names if not _installed(name)]:
        parser.error(f"not installed: {', '.join(absent)}; leave them out of --detectors")
    reports = [measure(name, arguments.data) for name in names]
    if arguments.json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print(markdown(reports))


if __name__ == "__main__":
    main()
