"""What other detectors share: their labels as languages of the table, and what they are asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from isogloss.prompts.languages import cleaning
from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.languages import UNDETERMINED, Language, labelled
from isogloss.prompts.languages.standards import GENERAL, ISO_639_3, WIKIPEDIA, Standard
from isogloss.serving.detection import han
from isogloss.serving.detection.detection import NOTHING, TOP, Detection

Ranked = Iterable[tuple[str, float]]
"""Labels with their probabilities."""


@functools.cache  # a model's labels are few, and asked for with every text
def language_of(label: str, written: str, standard: Standard = GENERAL) -> Language:
    """Return the table's language for a label, or UNDETERMINED: see `labelled`."""
    return labelled(label, written, standard)


def standard_of(labels: Iterable[str]) -> Standard:
    """Return whose codes labels likely are: Wikipedia's, as those of lid.176 are, or ISO 639-3's.

    Wikipedia's have two letters where a language has a code of two, so that `als` beside `sq`
    cannot be Albanian; and a set that has the ISO code of Alemannic, `gsw`, does not call it `als`.
    """
    names = set(labels)
    short = "gsw" not in names and any(len(name) == 2 for name in names)
    return WIKIPEDIA if short else ISO_639_3


def weigh(ranked: Ranked, written: str, standard: Standard = GENERAL) -> Detection:
    """Turn a detector's labels for one text into a detection.

    Labels of one language add up. So do those that mean none of the table, as UNDETERMINED: what is
    left for the others must not pass for certain.
    """
    chances = _chances(ranked, written, standard)
    best = sorted(chances.items(), key=lambda pair: -pair[1])[:TOP]
    if not best:
        return NOTHING
    language, chance = best[0]
    candidates = tuple((entry.code, chance) for entry, chance in best)
    return Detection(language, 0.0 if language is UNDETERMINED else chance, candidates)


def detect_by_script(
    texts: Sequence[str], rank: Callable[[str], Ranked], standard: Standard = GENERAL
) -> list[Detection]:
    """Detect the language of each text as it is left by `clean`.

    Args:
        texts: those without letters are told without asking.
        rank: a detector's labels for one text, the likeliest first.
        standard: whose codes they are.
    """
    return [
        weigh(rank(text), script, standard) if script else NOTHING
        for text, script in _with_scripts(texts)
    ]


def posteriors_by_script(
    texts: Sequence[str], rank: Callable[[str], Ranked], standard: Standard = GENERAL
) -> list[Mapping[str, float]]:
    """Return each text's posterior by code, as `detect_by_script` reads it, of all its labels."""
    return [
        _by_code(_chances(rank(text), script, standard)) if script else {}
        for text, script in _with_scripts(texts)
    ]


def _chances(ranked: Ranked, written: str, standard: Standard) -> dict[Language, float]:
    chances: dict[Language, float] = {}
    for label, chance in ranked:
        entry = language_of(label, written, standard)
        chances[entry] = min(chances.get(entry, 0.0) + chance, 1.0)
    return chances


def _by_code(chances: Mapping[Language, float]) -> dict[str, float]:
    return {entry.code: chance for entry, chance in chances.items()}


def _with_scripts(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each text cleaned, and the script it is mainly written in; "": it has no letters."""
    cleaned = cleaning.clean(texts)
    for text, number in zip(cleaned, cleaning.main_scripts(cleaned).tolist(), strict=True):
        script = writing.NAMES[number]
        yield text, han.variant(text) if script == "Hani" else script
