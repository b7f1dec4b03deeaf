"""What Ray raises where it does not start, as one sentence with the remedy.

Ray names most of it in the text alone: under `Exception`, or under an OSError of its own making.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from isogloss.prompts.cluster.address import Address

_SHOWN_CHARS = 200
_FOLDERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT)
_KNOWN = (
    (
        r"AF_UNIX path",
        "the path of its folder is too long for sockets; set RAY_TMPDIR to a short one, such as "
        "/tmp",
    ),
    (
        r"Could not find any running Ray instance",
        "no Ray runs on this machine; start it with `ray start --head`, or leave the address out "
        "to have Ray started for this command alone",
    ),
    (
        r"[Vv]ersion mismatch",
        "the cluster runs another version of Ray or Python; install the same ones on all machines",
    ),
    (
        r"(?i)authenticat|auth.token",
        "the cluster wants its token; set RAY_AUTH_MODE and RAY_AUTH_TOKEN as on its machines",
    ),
    (
        r"No node info found|node to connect to",
        "this machine is none of that cluster's; run the command on one that is, or make it one "
        "with `ray start --address=<head>:6379`",
    ),
    (
        r"(?i)/dev/shm|shared memory",
        "there is too little shared memory; free some of /dev/shm, or give a container more with "
        "`docker run --shm-size=1g`",
    ),
    (
        r"timed out during startup|(?i:not up|start\w*) within",
        "its processes did not come up in time; see why there, or try again when the machine is "
        "less busy",
    ),
    (
        r"(?i)failed to connect to ray cluster|connection.*refused|unavailable|GCS|timed? ?out",
        "it does not answer; see whether it runs with `ray status`",
    ),
)


def start_error(error: BaseException, address: Address, folder: Path | None) -> str:
    """Say why Ray did not start, and what to do.

    Args:
        error: what Ray raised.
        address: the cluster that was asked for.
        folder: where Ray on this machine keeps its files, if it was to be started.
    """
    where = "Ray did not start on this machine" if address.local else f"{address}: no connection"
    logs = f"; its logs are in {folder / 'session_latest' / 'logs'}" if folder else ""
    return f"{where}: {_reason(error)}{logs}"


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in _FOLDERS and error.filename:
        said = os.strerror(error.errno)
        return (
            f"{error.filename}: {said}; set RAY_TMPDIR to a folder with room that you can write to"
        )
    said = "\n".join(str(each) for each in _chain(error))
    for pattern, sentence in _KNOWN:
        if re.search(pattern, said):
            return sentence
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_SHOWN_CHARS]


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what caused it."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    return chain
