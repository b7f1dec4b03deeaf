"""API keys: who may ask, and by which name they are counted.

Only digests are kept, under a key of this process' own, and every one of them is compared each
time: how long that takes tells nothing of which came close.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.config import API_KEYS_VARIABLE, ServingSettings, admin_token

logger = logging.getLogger(__name__)

ADMIN = "admin"
"""What whoever has the admin token is called."""
MOST_FILE_BYTES = 1 << 20

_POLL_S = 1.0
_SALT = os.urandom(32)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[!-+\--~]{1,512}")
_HOW = "write NAME:KEY, the name of A-Z a-z 0-9 . _ -, the key of printable ASCII without commas"

Digests = Mapping[str, bytes]
"""Names of keys -> their digests."""


class ApiKeys:
    """The keys that a server takes; a file of them is read again once it has changed."""

    def __init__(
        self,
        given: Digests,
        file: Path | None = None,
        admin: SecretStr | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = dict(given)
        self._file = file
        self._admin = {ADMIN: _digest(admin.get_secret_value())} if admin else {}
        self._clock = clock
        self._read_s = clock()
        self._version = _version(file)
        self._keys = self._all()

    def name_of(self, headers: Mapping[str, str]) -> str | None:
        """Return the name of the key that a request bears; None where it bears none of ours."""
        self._keep_up()
        found = None
        for secret in _secrets(headers):
            given = _digest(secret)
            for name, digest in self._keys.items():
                right = hmac.compare_digest(given, digest)
                found = name if right and found is None else found
        return found

    def _all(self) -> Digests:
        of_file = {} if self._file is None else _of_file(self._file)
        if twice := sorted(set(self._given) & set(of_file)):
            raise InvalidInput(
                f"{API_KEYS_VARIABLE} and {self._file}: both have a key named {twice[0]}; rename "
                "one of them"
            )
        return {**self._given, **of_file, **self._admin}

    def _keep_up(self) -> None:
        """Read the file again, at most once a second; a broken one changes nothing."""
        if self._file is None or self._clock() - self._read_s < _POLL_S:
            return
        self._read_s = self._clock()
        if (version := _version(self._file)) == self._version:
            return
        self._version = version
        try:
            self._keys = self._all()
        except InvalidInput as error:
            logger.error("the API keys stay as they were: %s", error)
            return
        logger.info("read %d API keys anew from %s", len(self._keys), self._file)


def api_keys(settings: ServingSettings, environ: Mapping[str, str] | None = None) -> ApiKeys | None:
    """The keys of the environment and of the file; None: whoever asks needs none.

    Keys are read where they are checked, and travel through no configuration and no argument.

    Raises:
        InvalidInput: they cannot be read, or one is no key; it is not quoted.
    """
    environ = os.environ if environ is None else environ
    text = environ.get(API_KEYS_VARIABLE, "")
    entries = ((f"{API_KEYS_VARIABLE}: key {n}", e) for n, e in enumerate(text.split(","), start=1))
    given = parsed(entries)
    if not given and settings.api_keys_file is None:
        return None
    return ApiKeys(given, settings.api_keys_file, admin_token())


def parsed(entries: Iterable[tuple[str, str]], called: str = "key") -> Digests:
    """Digests of keys by name.

    Args:
        entries: where each stands, and `name:key`, `name key` or a key alone, which is named by
            its number.
        called: what such a name begins with.

    Raises:
        InvalidInput: one is no key, or is there twice; none is quoted.
    """
    keys: dict[str, bytes] = {}
    for where, entry in entries:
        if not entry.strip():
            continue
        name, key = _split(entry.strip(), f"{called}-{len(keys) + 1}")
        _check(where, name, key)
        digest = _digest(key)
        if name in keys or digest in keys.values():
            what = "name" if name in keys else "key"
            raise InvalidInput(f"{where}: its {what} is there twice; give each once")
        keys[name] = digest
    return keys


def _split(entry: str, name: str) -> tuple[str, str]:
    parts = re.split(r"\s*:\s*|\s+", entry, maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else (name, entry)


def _check(where: str, name: str, key: str) -> None:
    if not _NAME.fullmatch(name) or not _KEY.fullmatch(key):
        wrong = "name" if not _NAME.fullmatch(name) else "key"
        raise InvalidInput(f"{where}: its {wrong} cannot be used; {_HOW}")
    if name == ADMIN:
        raise InvalidInput(
            f"{where}: {ADMIN!r} is the name of the admin token; name the key otherwise"
        )


def _of_file(file: Path) -> Digests:
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"api_keys_file {str(file)!r}: it cannot be read ({error.strerror}); name a file of "
            "lines such as NAME:KEY"
        ) from error
    if len(data) > MOST_FILE_BYTES:
        raise InvalidInput(f"api_keys_file {str(file)!r}: it has over {MOST_FILE_BYTES} bytes")
    keys = parsed(_lines(file, data.decode("utf-8", "replace")), "file")
    if not keys:
        raise InvalidInput(f"api_keys_file {str(file)!r}: there is no key in it; {_HOW}")
    return keys


def _lines(file: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.lstrip().startswith("#"):
            yield f"api_keys_file {str(file)!r}, line {number}", line


def _version(file: Path | None) -> tuple[int, ...] | None:
    """What changes where a file does, or another takes its place."""
    if file is None:
        return None
    try:
        there = file.stat()
    except OSError:
        return None
    return there.st_mtime_ns, there.st_size, there.st_ino


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """What may be a key, in the order in which clients are named by it."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    told = _SECRET_IN[scheme.lower()](token.strip()) if scheme.lower() in _SECRET_IN else ""
    return [each for each in (headers.get("x-api-key", "").strip(), told) if each]


def _password(token: str) -> str:
    """The password of Basic authentication, whoever the user is: some clients know no other."""
    try:
        return base64.b64decode(token, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


_SECRET_IN: Mapping[str, Callable[[str], str]] = {"bearer": str, "basic": _password}
"""What is a secret of an `authorization` header, by its scheme."""


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), key=_SALT).digest()
