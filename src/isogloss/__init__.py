"""Language-tailored soft prompts: train them, route them by language family, serve them.

The folders of the repository's top level are the packages in here; `src/isogloss` links to them, so
that tools which read the source find what an installation has. Importing this imports nothing else:
a program that only asks for the version waits for neither torch nor Ray. `Client` and `AsyncClient`
are imported when they are asked for, and need nothing but the core.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.serving.client.async_client import AsyncClient
    from isogloss.serving.client.client import Client

try:
    __version__ = version("isogloss")
except PackageNotFoundError:  # the source itself on the path, not installed
    __version__ = "0+unknown"

__all__ = ["AsyncClient", "Client", "__version__"]

_LATER = {"Client": "client", "AsyncClient": "async_client"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"isogloss.serving.client.{_LATER[name]}"), name)
