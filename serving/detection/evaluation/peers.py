"""The detectors that can be measured: those that serve, and one that is only compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from isogloss.prompts.errors import NotFound
from isogloss.prompts.languages.standards import CLD
from isogloss.serving.detection.detection import Detection, Detector
from isogloss.serving.detection.detectors import fasttext_file, load_detector
from isogloss.serving.detection.labels import detect_by_script, posteriors_by_script

_COMPARED_ONLY = "pycld2"
_PACKAGES = {"py3langid": "py3langid", "pycld2": "pycld2"}


class Cld2Detector:
    """pycld2 (Apache-2.0), which names no more than one language."""

    def __init__(self) -> None:
        import pycld2

        self._pycld2 = pycld2

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order."""
        return detect_by_script(texts, self._rank, CLD)

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """Return the named language and how sure it is, by code."""
        return posteriors_by_script(texts, self._rank, CLD)

    def _rank(self, text: str) -> list[tuple[str, float]]:
        printable = "".join(letter for letter in text if letter.isprintable())
        _, _, details = self._pycld2.detect(printable, bestEffort=True)
        return [(details[0][1], details[0][2] / 100)]


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
    file = fasttext_file(name)
    return name.removesuffix(file) + Path(file).name if file else name


def _version(name: str) -> str:
    if fasttext_file(name):
        return f"fasttext-predict {metadata.version('fasttext-predict')}"
    return metadata.version(_PACKAGES[name]) if name in _PACKAGES else "this commit"
