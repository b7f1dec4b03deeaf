"""py3langid (BSD-3) as an alternative detector: 140 labels, of which the table has most.

It is optional (`pip install isogloss[detect]`) and kept for comparison: it knows fewer African
languages than ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.prompts.languages.standards import CLD
from isogloss.serving.detection.detection import TOP, Detection
from isogloss.serving.detection.labels import detect_by_script, posteriors_by_script


class Py3LangidDetector:
    """py3langid behind the Detector interface. Raises ImportError where it is not installed."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        return detect_by_script(texts, lambda text: self._rank(text)[: 2 * TOP], CLD)

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """Return each text's posterior by code, in order."""
        return posteriors_by_script(texts, self._rank, CLD)

    def _rank(self, text: str) -> list[tuple[str, float]]:
        return [(str(label), float(chance)) for label, chance in self._identifier.rank(text)]
