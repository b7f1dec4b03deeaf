"""`isogloss detect`: the language of texts, or how well detectors tell it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isogloss.prompts.console.console import print_json, say
from isogloss.serving.cli.language_options import LanguagesOption, parse_languages
from isogloss.serving.cli.texts import AsJson, print_table, read_texts, shorten

if TYPE_CHECKING:
    from isogloss.serving.detection.detection import Detection
    from isogloss.serving.schemas import Languages

_WHICH = (
    "isogloss, py3langid, or fasttext:PATH for any fastText language model (fasttext-iso:PATH, "
    "fasttext-flores:PATH or fasttext-wikipedia:PATH where its labels do not tell whose codes they "
    "are)."
)
DetectorName = Annotated[str | None, typer.Option(help=f"{_WHICH} (default: isogloss)")]


def detect(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts; - reads them from standard input, one a line."),
    ] = None,
    languages: LanguagesOption = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{_WHICH} To evaluate, several may be given, and pycld2. (default: isogloss)"
        ),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            help="Measure detectors on the texts of a folder in SIB-200's layout instead: whole "
            "sentences, and their first five words."
        ),
    ] = None,
    headlines: Annotated[
        Path | None,
        typer.Option(help="Evaluate on headlines too: those of this folder of NTREX-128."),
    ] = None,
    split: Annotated[
        Literal["dev", "test"], typer.Option(help="Which of SIB-200's splits to evaluate on.")
    ] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the evaluation's tables, as CSV.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Detect the language of texts: its code, how sure we are, and its lineage."""
    from isogloss.prompts.errors import InvalidInput

    names = detector or ["isogloss"]
    if evaluate is not None:
        if texts:
            raise InvalidInput("--evaluate takes its texts from its folder: give no others")
        if languages is not None:
            raise InvalidInput("--languages is for texts, not for --evaluate: leave it out")
        _evaluate(names, evaluate, headlines, split, out, as_json)
        return
    if headlines or out or len(names) > 1:
        raise InvalidInput(
            "--headlines, --out and several --detector are for --evaluate: give its folder, or "
            "leave them out"
        )
    if not texts:
        raise InvalidInput("there is no text: give one, or - for those of standard input")
    stdin = None if sys.stdin is None else sys.stdin.buffer
    given = read_texts(texts, stdin)
    bounded = parse_languages(languages)
    _detect([each.text for each in given], names[0], bounded, as_json)


def _detect(texts: Sequence[str], detector: str, among: Languages | None, as_json: bool) -> None:
    found = _found(texts, detector, among)
    if as_json:
        print_json({"results": [_row(each) for each in found]}, indent=None)
        return
    print_table(
        ("text", "code", "language", "confidence", "lineage"),
        [
            (
                shorten(text),
                each.language.code,
                each.language.name,
                f"{each.confidence:.3f}",
                _branch(each.language.lineage),
            )
            for text, each in zip(texts, found, strict=True)
        ],
    )


def _found(texts: Sequence[str], detector: str, among: Languages | None) -> list[Detection]:
    from isogloss.serving.detection.bounds import bounds_of, within
    from isogloss.serving.detection.detectors import load_detector

    if among is None:
        return load_detector(detector).detect(texts)
    bounds = bounds_of(among)
    return [within(each, bounds) for each in load_detector(detector).posteriors(texts)]


def _row(found: Detection) -> dict[str, object]:
    return {
        "code": found.language.code,
        "name": found.language.name,
        "confidence": round(float(found.confidence), 6),
        "lineage": found.language.lineage,
    }


def _branch(lineage: Sequence[str]) -> str:
    """Root and tip of a lineage, for a table."""
    return " > ".join(lineage if len(lineage) <= 3 else (lineage[0], "…", lineage[-1]))


def _evaluate(
    names: Sequence[str],
    sib200: Path,
    headlines: Path | None,
    split: str,
    out: Path | None,
    as_json: bool,
) -> None:
    from isogloss.serving.detection.evaluation import results
    from isogloss.serving.detection.evaluation.measure import measure
    from isogloss.serving.detection.evaluation.peers import load_peer
    from isogloss.serving.detection.evaluation.texts import read_texts

    texts = read_texts(sib200, headlines, split)
    peers = [load_peer(name) for name in names]  # all of them first: one may be missing
    measured = []
    for name, version, detector in peers:
        say(f"measuring {name}", err=True)
        measured.append(measure(name, version, detector, texts))
    if out is not None:
        for path in results.write(measured, out):
            say(f"wrote {path}", err=True)
    if as_json:
        print_json(results.as_json(measured))
        return
    print_table(results.COLUMNS, results.rows(measured))
    for line in results.times(measured):
        say(line)
