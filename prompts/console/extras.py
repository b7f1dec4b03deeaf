"""Which extra brings what a command could not import."""

from __future__ import annotations

from isogloss.prompts.errors import InvalidInput

_EXTRAS = {
    "isogloss.training.cli.study": "study",
    "isogloss.training": "train",
    "isogloss.deploy.bench": "bench",
    "isogloss": "serve",
}
"""By where a command is defined; the first that fits."""


def extra_missing(error: ModuleNotFoundError, module: str) -> InvalidInput:
    """Say what to install for a command that is defined in `module`.

    Raises:
        ModuleNotFoundError: the error itself, where a module of our own is missing.
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", "isogloss"):
        raise error
    extra = next(extra for begin, extra in _EXTRAS.items() if module.startswith(begin))
    return InvalidInput(
        f"this command needs {package}, which is not installed; run pip install 'isogloss[{extra}]'"
    )
