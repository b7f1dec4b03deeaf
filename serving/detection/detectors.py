"""Which language a text is in, and how sure we are: the detectors there are, by name.

The default is ours, chosen by measurement (`serving/data/detector.md`); its weights are part of
the installation. `fasttext:PATH` is any fastText language model; `fasttext-iso:PATH`,
`fasttext-flores:PATH` and `fasttext-wikipedia:PATH` say whose codes its labels are, where they do
not tell by themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources

from isogloss.prompts.errors import NotFound
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.languages.standards import FLORES, ISO_639_3, WIKIPEDIA, Standard
from isogloss.serving.detection.detection import Detection, Detector
from isogloss.serving.detection.ngram_detector import DetectorWeights, NgramDetector

__all__ = ["DETECTORS", "Detection", "Detector", "fasttext_file", "load_detector"]

# How the name of a detector begins that is a fastText model, whose path follows; and whose codes
# its labels are; None: as they look.
_FASTTEXT: dict[str, Standard | None] = {
    "fasttext:": None,
    "fasttext-flores:": FLORES,
    "fasttext-iso:": ISO_639_3,
    "fasttext-wikipedia:": WIKIPEDIA,
}


def _own() -> Detector:
    with resources.as_file(resources.files("isogloss.serving") / "data" / "detector.npz") as path:
        return NgramDetector(DetectorWeights.load(path))


def _py3langid() -> Detector:
    from isogloss.serving.detection.py3langid_detector import (
        Py3LangidDetector,  # an optional dependency
    )

    return Py3LangidDetector()


def _fasttext(name: str) -> Detector:
    from isogloss.serving.detection.fasttext_detector import (
        FastTextDetector,  # an optional dependency
    )

    file = fasttext_file(name)
    path = expanded(file, "the detector's file")
    return FastTextDetector(path, standard=_FASTTEXT[name.removesuffix(file)])


def fasttext_file(name: str) -> str:
    """Return the path of the fastText model in a detector's name, "" where it is none."""
    prefix = next((prefix for prefix in _FASTTEXT if name.startswith(prefix)), name)
    return name.removeprefix(prefix)


DETECTORS: dict[str, Callable[[], Detector]] = {"isogloss": _own, "py3langid": _py3langid}


@functools.cache
def load_detector(name: str = "isogloss") -> Detector:
    """Return the detector of this name, loaded once per process.

    Raises:
        NotFound: the name is neither in DETECTORS nor "fasttext:" and a file that there is, or
            its package is not installed.
        InvalidInput: the file is not a fastText language model.
    """
    try:
        if fasttext_file(name):
            return _fasttext(name)
        if name in DETECTORS:
            return DETECTORS[name]()
    except ImportError as error:
        raise NotFound(
            f"detector {name!r} needs a package: {error}; pip install 'isogloss[detect]' brings it"
        ) from error
    names = ", ".join([*sorted(DETECTORS), "fasttext:PATH"])
    raise NotFound(f"unknown detector {name!r}; there are {names}")
