"""Any fastText language model as a detector: `fasttext:PATH`, such as GlotLID's or OpenLID's.

Reading `.bin` and `.ftz` files takes fasttext-predict (MIT), which is optional
(`pip install isogloss[detect]`). A file is trusted like a program: fastText checks little of it, so
take it from where you would take software.

Labels are the table's codes (`__label__eng_Latn`) or ISO 639 codes (`__label__en`, `__label__eng`);
those that the table lacks are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prompts import writing
from prompts.errors import InvalidInput, NotFound
from prompts.languages import Language, languages
from serving.detecting.detection import NOTHING, TOP, Detection
from serving.detecting.labels import detect_by_script, language_of

_PREFIX = "__label__"
_ASKED = 4 * TOP  # labels per text, since some are of languages that the table lacks
_EVERY = -1  # fastText's word for all labels


class FastTextDetector:
    """A fastText model behind the Detector interface.

    Args:
        path: a supervised model, `.bin` or `.ftz`.

    Raises:
        ImportError: fasttext-predict is not installed.
        NotFound: there is no such file.
        InvalidInput: it is no fastText model, or none of its labels is a language of the table.
    """

    def __init__(self, path: Path) -> None:
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
        if not any(_known(label) for label in labels):
            raise InvalidInput(
                f"detector 'fasttext:{path}': none of its {len(labels)} labels "
                f"({', '.join(labels[:3])}, ...) is a language of the table; labels such as "
                "__label__eng_Latn or __label__en are"
            )

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        return detect_by_script(texts, self._one)

    def _one(self, text: str, script: int) -> Detection:
        # One line, as fastText reads it, and no lone surrogates, which have no UTF-8.
        line = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
        labels, chances = self._model.predict(line, _ASKED)
        found: dict[Language, float] = {}
        for label, chance in zip(labels, chances, strict=True):
            if entry := _language(label, script):
                found[entry] = found.get(entry, 0.0) + min(float(chance), 1.0)
        best = sorted(found.items(), key=lambda pair: -pair[1])[:TOP]
        if not best:
            return NOTHING
        candidates = tuple((entry.code, min(chance, 1.0)) for entry, chance in best)
        return Detection(best[0][0], candidates[0][1], candidates)


def _language(label: str, script: int) -> Language | None:
    name = label.removeprefix(_PREFIX)
    return languages().get(name) or language_of(name, script)


def _known(label: str) -> bool:
    return any(_language(label, script) for script in range(1, len(writing.NAMES)))
