"""py3langid (BSD-3) as an alternative detector: 140 labels, of which the table has most.

It is optional (`pip install isogloss[detect]`) and kept for comparison: it knows fewer African
languages than ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isogloss.serving.detection.detection import TOP, Detection
from isogloss.serving.detection.labels import detect_by_script, weigh


class Py3LangidDetector:
    """py3langid behind the Detector interface. Raises ImportError where it is not installed."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        return detect_by_script(texts, self._one)

    def _one(self, text: str, written: str) -> Detection:
        return weigh(self._identifier.rank(text)[: 2 * TOP], written)
