"""The hub of models: its cache on this machine, and whether it can be reached."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from isogloss.deploy.doctor.finding import Asked, Finding, gib, ok
from isogloss.deploy.doctor.weights import hub_cache
from isogloss.prompts.console.http_client import open_url, route_to

TIMEOUT_S = 3.0
_MOST_FILES = 20_000


def cache(asked: Asked) -> Finding:
    """Where downloads lie, and how much they take."""
    folder = hub_cache(os.environ)
    if not folder.is_dir():
        return ok("hub cache", f"{folder} is not there yet: nothing was downloaded (HF_HOME)")
    size, many = size_of(folder)
    return ok("hub cache", f"{gib(size)}{' and more' if many else ''} in {folder} (HF_HOME)")


def size_of(folder: Path) -> tuple[int, bool]:
    """Bytes of the first files below a folder, links aside; and whether there are more files."""
    size = count = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if (count := count + 1) > _MOST_FILES:
                return size, True
            size += os.lstat(os.path.join(path, name)).st_size
    return size, False


def hub(asked: Asked) -> Finding:
    """Offline is fine: folders, pocket models and what was downloaded work without it."""
    url, problem = address(), why_unreachable()
    if not problem:
        return ok("hub", f"{url} answers")
    return ok("hub", f"offline ({problem}): models come from folders and the cache alone")


def address() -> str:
    """The hub's address."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or "https://huggingface.co"


def why_unreachable() -> str:
    """Ask the hub for nothing but a head; empty: it answers."""
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set, so it is not asked"
    try:
        with open_url(urllib.request.Request(address(), method="HEAD"), TIMEOUT_S):
            return ""
    except urllib.error.HTTPError:
        return ""  # it answers
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"{route_to(address())} cannot be reached: {reason}"
