"""The detectors that can be measured: those that serve, and one that is only compared with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from prompts import ngrams
from prompts.errors import NotFound
from serving.detecting.detection import NOTHING, Detection, Detector
from serving.detecting.detectors import FASTTEXT, load_detector
from serving.detecting.labels import language_of

_COMPARED_ONLY = "pycld2"
_PACKAGES = {"py3langid": "py3langid", "pycld2": "pycld2"}


class Cld2Detector:
    """pycld2 (Apache-2.0), which names no more than one language."""

    def __init__(self) -> None:
        import pycld2

        self._pycld2 = pycld2

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        scripts = ngrams.extract(texts).scripts.tolist()
        return [self._one(text, script) for text, script in zip(texts, scripts, strict=True)]

    def _one(self, text: str, script: int) -> Detection:
        printable = "".join(letter for letter in text if letter.isprintable())
        _, _, details = self._pycld2.detect(printable, bestEffort=True)
        found = language_of(details[0][1], script)
        if found is None:
            return NOTHING
        chance = details[0][2] / 100
        return Detection(found, chance, ((found.code, chance),))


def load_peer(name: str) -> tuple[str, str, Detector]:
    """Return what to call a detector of this name, its version, and it.

    Raises:
        NotFound: there is no such detector, or its package or file is missing.
    """
    detector = _cld2() if name == _COMPARED_ONLY else load_detector(name)
    return _short(name), _version(name), detector


def _cld2() -> Detector:
    try:
        return Cld2Detector()
    except ImportError as error:
        raise NotFound(f"detector 'pycld2' needs a package: {error}") from error


def _short(name: str) -> str:
    """Leave out the folder that a fastText model is in."""
    return FASTTEXT + Path(name).name if name.startswith(FASTTEXT) else name


def _version(name: str) -> str:
    if name.startswith(FASTTEXT):
        return f"fasttext-predict {metadata.version('fasttext-predict')}"
    return metadata.version(_PACKAGES[name]) if name in _PACKAGES else "this commit"
