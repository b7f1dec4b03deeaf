"""What other detectors share: their labels as languages of the table, and what they are asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from isogloss.prompts.languages import cleaning
from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.languages import UNDETERMINED, Language, labelled
from isogloss.serving.detection import han
from isogloss.serving.detection.detection import NOTHING, TOP, Detection

Ranked = Iterable[tuple[str, float]]
"""Labels with their probabilities."""


@functools.cache  # a model's labels are few, and asked for with every text
def language_of(label: str, written: str, *, wikipedia: bool = False) -> Language:
    """Return the table's language for a label, or UNDETERMINED: see `labelled`."""
    return labelled(label, written, wikipedia=wikipedia)


def uses_wikipedia_codes(labels: Iterable[str]) -> bool:
    """Whether labels are likelier Wikipedia's codes than ISO 639-3's, as those of lid.176 are.

    Those have two letters where a language has a code of two, so that `als` beside `sq` cannot be
    Albanian; and a set that has the ISO code of Alemannic, `gsw`, does not call it `als`.
    """
    names = set(labels)
    return "gsw" not in names and any(len(name) == 2 for name in names)


def weigh(ranked: Ranked, written: str, *, wikipedia: bool = False) -> Detection:
    """Turn a detector's labels for one text into a detection.

    Labels of one language add up. So do those that mean none of the table, as UNDETERMINED: what is
    left for the others must not pass for certain.
    """
    chances: dict[Language, float] = {}
    for label, chance in ranked:
        entry = language_of(label, written, wikipedia=wikipedia)
        chances[entry] = min(chances.get(entry, 0.0) + chance, 1.0)
    best = sorted(chances.items(), key=lambda pair: -pair[1])[:TOP]
    if not best:
        return NOTHING
    language, chance = best[0]
    candidates = tuple((entry.code, chance) for entry, chance in best)
    return Detection(language, 0.0 if language is UNDETERMINED else chance, candidates)


def detect_by_script(texts: Sequence[str], one: Callable[[str, str], Detection]) -> list[Detection]:
    """Ask `one` about each text as it is left by `clean`, and the script it is mainly written in.

    A text without letters is told without asking.
    """
    cleaned = cleaning.clean(texts)
    scripts = [writing.NAMES[script] for script in cleaning.main_scripts(cleaned).tolist()]
    return [
        one(text, han.variant(text) if script == "Hani" else script) if script else NOTHING
        for text, script in zip(cleaned, scripts, strict=True)
    ]
