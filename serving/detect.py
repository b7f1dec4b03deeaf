"""Which language a text is in, and how sure we are: the detectors there are, by name.

The default is ours, chosen by measurement (`serving/data/detector.md`); its 3.5 MB of weights are
part of the installation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources

from prompts.errors import NotFound
from serving.detect_ngrams import DetectorWeights, NgramDetector
from serving.detection import Detection, Detector

__all__ = ["DETECTORS", "Detection", "Detector", "load_detector"]


def _own() -> Detector:
    with resources.as_file(resources.files("serving") / "data" / "detector.npz") as path:
        return NgramDetector(DetectorWeights.load(path))


def _py3langid() -> Detector:
    from serving.detect_py3langid import Py3LangidDetector  # an optional dependency

    return Py3LangidDetector()


DETECTORS: dict[str, Callable[[], Detector]] = {"isogloss": _own, "py3langid": _py3langid}


@functools.cache
def load_detector(name: str = "isogloss") -> Detector:
    """Return the detector of this name, loaded once per process.

    Raises NotFound for a name that is not in DETECTORS, or whose package is not installed.
    """
    if name not in DETECTORS:
        raise NotFound(f"unknown detector {name!r}; there are {', '.join(sorted(DETECTORS))}")
    try:
        return DETECTORS[name]()
    except ImportError as error:
        raise NotFound(f"detector {name!r} needs a package: {error}") from error
