"""What was measured, as CSV files and for a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.durable import create_folder, write_atomically
from isogloss.prompts.files.tables import table_bytes
from isogloss.serving.detection.evaluation.measure import BATCH, Measured, Part
from isogloss.serving.detection.evaluation.scores import FINEST, ROUTE_TABLES

Row = Sequence[object]


def write(measured: Sequence[Measured], folder: Path) -> list[Path]:
    """Write everything under a folder, each file in one step; return the files.

    `summary.csv` (averages), `languages.csv`, `confusion.csv` and `reliability.csv` are of all
    detectors, `predictions.csv` of the first: one line for each text of the 52 languages.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    tables: Mapping[str, Iterable[Row]] = {
        "summary": _summary(measured),
        "languages": _languages(measured),
        "confusion": _confusion(measured),
        "reliability": _reliability(measured),
        "predictions": _predictions(measured[0]),
    }
    try:
        create_folder(folder)
        for name, (columns, *lines) in tables.items():
            write_atomically(folder / f"{name}.csv", table_bytes(columns, lines, ".4f"))
    except OSError as error:
        raise InvalidInput(
            f"--out: {folder} cannot be written ({error.strerror or error}); choose another --out"
        ) from error
    return [folder / f"{name}.csv" for name in tables]


def _summary(measured: Sequence[Measured]) -> Iterator[Row]:
    yield (
        *("detector", "version", "texts", "languages", "number_of_languages", "number_of_texts"),
        *("right_language", *(f"right_clade ({table})" for table in ROUTE_TABLES)),
        *("worst_language", "worst_right_clade", "ece_language", "ece_candidates", "ece_clade"),
        *("us_in_batches", "us_alone"),
    )
    for one in measured:
        for part in one.parts:
            score = part.score
            yield (
                *(one.detector, one.version, part.kind, part.languages),
                *(score.languages, score.examples, score.language, *score.clade.values()),
                *score.worst[FINEST],
                *(each.error for each in part.reliability),
                *(round(one.batch_us), round(one.single_us)),
            )


def _languages(measured: Sequence[Measured]) -> Iterator[Row]:
    clades = (f"right_clade ({table})" for table in ROUTE_TABLES)
    yield ("detector", "texts", "language", "number_of_texts", "right_language", *clades)
    for one in measured:
        for kind, scores in one.by_language.items():
            for each in scores:
                right = (each.language, *each.clade.values())
                yield (one.detector, kind, each.code, each.examples, *right)


def _confusion(measured: Sequence[Measured]) -> Iterator[Row]:
    yield ("detector", "texts", "true_clade", "detected_clade", "number_of_texts")
    for one in measured:
        for kind, counts in one.confusion.items():
            for (true, detected), number in sorted(counts.items()):
                yield (one.detector, kind, true, detected, number)


def _reliability(measured: Sequence[Measured]) -> Iterator[Row]:
    yield (
        *("detector", "texts", "languages", "claim", "bin", "number_of_claims"),
        *("mean_confidence", "share_right"),
    )
    for one in measured:
        for part in one.parts:
            for curve in part.reliability:
                for each in curve.bins:
                    yield (
                        *(one.detector, part.kind, part.languages, curve.claim),
                        *(f"{each.low:.1f}", each.answers, each.confidence, each.accuracy),
                    )


def _predictions(measured: Measured) -> Iterator[Row]:
    yield ("texts", "language", "index", "detected", "confidence")
    for kind, answers in measured.answers.items():
        for answer in answers:
            example, found = answer.example, answer.detection
            chance = f"{found.confidence:.3f}"
            yield (kind, example.code, example.number, found.language.code, chance)


COLUMNS = (
    *("texts", "languages", "detector", "language"),
    *(f"clade of {name}" for name in ROUTE_TABLES),
    *(f"worst of {FINEST}", "calibration error"),
)
"""What `rows` shows. Calibration error: of the language, of all candidates, and of the clade."""


def rows(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Return the averages as text: COLUMNS of every kind of text, detectors side by side."""
    return [
        _shown(one, part)
        for parts in zip(*(one.parts for one in measured), strict=True)
        for one, part in zip(measured, parts, strict=True)
    ]


def times(measured: Sequence[Measured]) -> list[str]:
    """Return a line for each detector."""
    return [
        f"{one.detector} ({one.version}): {one.batch_us:.0f} us a text in batches of {BATCH}, "
        f"{one.single_us:.0f} us alone"
        for one in measured
    ]


def _shown(one: Measured, part: Part) -> tuple[str, ...]:
    score = part.score
    code, share = score.worst[FINEST]
    return (
        part.kind,
        f"{part.languages} ({score.languages})",
        one.detector,
        f"{score.language:.1%}",
        *(f"{right:.1%}" for right in score.clade.values()),
        f"{share:.1%} {code}",
        ", ".join(f"{each.error:.3f}" for each in part.reliability),
    )


def as_json(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the averages as what `--json` prints."""
    return {
        "detectors": [
            {
                "detector": one.detector,
                "version": one.version,
                "batch_us": round(one.batch_us, 1),
                "single_us": round(one.single_us, 1),
                "parts": [_part(part) for part in one.parts],
            }
            for one in measured
        ]
    }


def _part(part: Part) -> dict[str, Any]:
    score = part.score
    return {
        "texts": part.kind,
        "languages": part.languages,
        "number_of_languages": score.languages,
        "number_of_texts": score.examples,
        "right_language": round(score.language, 4),
        "right_clade": {name: round(share, 4) for name, share in score.clade.items()},
        "worst": {name: [code, round(share, 4)] for name, (code, share) in score.worst.items()},
        "calibration_error": {one.claim: round(one.error, 4) for one in part.reliability},
    }
