"""Any fastText language model as a detector: `fasttext:PATH`, such as GlotLID's or OpenLID's.

Reading `.bin` and `.ftz` files takes fasttext-predict (MIT), which is optional
(`pip install isogloss[detect]`). A file is trusted like a program: fastText checks little of it, so
take it from where you would take software.

Labels are codes of languages, of any standard (`__label__eng_Latn`, `__label__en`, `__label__cmn`).
Those of languages that the table lacks count as undetermined. Where one code is two languages' in
two standards, the other labels tell which is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.languages.languages import UNDETERMINED
from isogloss.prompts.languages.standards import Standard
from isogloss.serving.detection.detection import TOP, Detection
from isogloss.serving.detection.labels import (
    Ranked,
    detect_by_script,
    language_of,
    posteriors_by_script,
    standard_of,
)

_PREFIX = "__label__"
_ASKED = 4 * TOP  # labels per text, since some are of languages that the table lacks
_EVERY = -1  # fastText's word for all labels
_FLOOR = 1.001e-5  # fastText adds so much to every label's probability, lest it take a log of 0


class FastTextDetector:
    """A fastText model behind the Detector interface.

    Args:
        path: a supervised model, `.bin` or `.ftz`.
        standard: whose codes its labels are; None: as they look.

    Raises:
        ImportError: fasttext-predict is not installed.
        NotFound: there is no such file.
        InvalidInput: it is no fastText model, or none of its labels is a language of the table.
    """

    def __init__(self, path: Path, *, standard: Standard | None = None) -> None:
        import fasttext

        if not path.is_file():
            raise NotFound(
                f"detector 'fasttext:{path}': there is no such file; give the path of a fastText "
                "model (.bin or .ftz)"
            )
        try:
            self._model: Any = fasttext.load_model(str(path))
            labels = self._model.predict("", _EVERY)[0]
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InvalidInput(
                f"detector 'fasttext:{path}': not a fastText classifier ({error}); download the "
                "file again, or give another"
            ) from error
        names = [label.removeprefix(_PREFIX) for label in labels]
        self._standard = standard or standard_of(names)
        if all(language_of(name, "", self._standard) is UNDETERMINED for name in names):
            raise InvalidInput(
                f"detector 'fasttext:{path}': none of its {len(labels)} labels "
                f"({', '.join(labels[:3])}, ...) is a language of the table; labels such as "
                "__label__eng_Latn or __label__en are"
            )

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        return detect_by_script(texts, partial(self._rank, most=_ASKED), self._standard)

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """Return each text's posterior by code, in order."""
        return posteriors_by_script(texts, self._rank_all, self._standard)

    def _rank_all(self, text: str) -> Ranked:
        held = ((name, chance - _FLOOR) for name, chance in self._rank(text, _EVERY))
        return [(name, chance) for name, chance in held if chance > 0]

    def _rank(self, text: str, most: int) -> Ranked:
        # One line, as fastText reads it, and no lone surrogates, which have no UTF-8.
        line = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
        labels, chances = self._model.predict(line, most)
        names = [label.removeprefix(_PREFIX) for label in labels]
        return zip(names, map(float, chances), strict=True)
