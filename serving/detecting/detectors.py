"""Which language a text is in, and how sure we are: the detectors there are, by name.

The default is ours, chosen by measurement (`serving/data/detector.md`); its weights are part of
the installation. `fasttext:PATH` is any fastText language model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources

from prompts.errors import NotFound
from prompts.given_paths import expanded
from serving.detecting.detection import Detection, Detector
from serving.detecting.ngram_detector import DetectorWeights, NgramDetector

__all__ = ["DETECTORS", "FASTTEXT", "Detection", "Detector", "load_detector"]

FASTTEXT = "fasttext:"
"""How the name of a detector begins that is a fastText model; its path follows."""


def _own() -> Detector:
    with resources.as_file(resources.files("serving") / "data" / "detector.npz") as path:
        return NgramDetector(DetectorWeights.load(path))


def _py3langid() -> Detector:
    from serving.detecting.py3langid_detector import Py3LangidDetector  # an optional dependency

    return Py3LangidDetector()


def _fasttext(path: str) -> Detector:
    from serving.detecting.fasttext_detector import FastTextDetector  # an optional dependency

    return FastTextDetector(expanded(path, "the detector's file"))


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
        if name.startswith(FASTTEXT):
            return _fasttext(name.removeprefix(FASTTEXT))
        if name in DETECTORS:
            return DETECTORS[name]()
    except ImportError as error:
        raise NotFound(
            f"detector {name!r} needs a package: {error}; pip install 'isogloss[detect]' brings it"
        ) from error
    names = ", ".join([*sorted(DETECTORS), f"{FASTTEXT}PATH"])
    raise NotFound(f"unknown detector {name!r}; there are {names}")
