"""Language-tailored soft prompts: train them, route them by language family, serve them.

The folders of the repository's top level are the packages in here; `src/isogloss` links to them, so
that tools which read the source find what an installation has. Importing this imports nothing else:
a program that only asks for the version waits for neither torch nor Ray.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("isogloss")
except PackageNotFoundError:  # the source itself on the path, not installed
    __version__ = "0+unknown"
