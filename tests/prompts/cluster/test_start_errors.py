"""What Ray raises, as sentences."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from isogloss.prompts.cluster.address import Address
from isogloss.prompts.cluster.start_errors import start_error

OWN = Address("local", "")
THERE = Address("head:6379", "RAY_ADDRESS")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "address", "said"),
    [
        (
            OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes"),
            OWN,
            "set RAY_TMPDIR to a short one",
        ),
        (
            ConnectionError("Could not find any running Ray instance. Please specify the one"),
            Address("auto", "RAY_ADDRESS"),
            "RAY_ADDRESS auto: no connection: no Ray runs on this machine; start it with `ray",
        ),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.0"),
            THERE,
            "another version of Ray or Python; install the same ones",
        ),
        (
            caused(
                ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"),
                RuntimeError("No node info found matching attributes: ''"),
            ),
            THERE,
            "this machine is none of that cluster's; run the command on one that is",
        ),
        (
            ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"),
            THERE,
            "RAY_ADDRESS head:6379: no connection: it does not answer",
        ),
        (RuntimeError("AuthenticationError: no token"), THERE, "the cluster wants its token"),
        (
            Exception("The current node timed out during startup. This could happen because"),
            OWN,
            "its processes did not come up in time; see why there, or try again",
        ),
        (
            ValueError("The object store needs more of /dev/shm than the 64 MB it has"),
            OWN,
            "`docker run --shm-size=1g`",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/tmp/isogloss-0/ray/session"),
            OWN,
            "/tmp/isogloss-0/ray/session: Read-only file system; set RAY_TMPDIR",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/tmp/x"),
            OWN,
            "/tmp/x: No space left on device; set RAY_TMPDIR to a folder with room",
        ),
        (AssertionError(), OWN, "Ray did not start on this machine: AssertionError; its logs"),
        (Exception("\n\n strange \n more\n"), OWN, "on this machine: strange; its logs are in /r/"),
        (KeyError("x" * 9999), THERE, "no connection: 'xxx"),
    ],
)
def test_a_sentence_with_the_remedy(error: Exception, address: Address, said: str) -> None:
    sentence = start_error(error, address, Path("/r") if address.local else None)
    assert said in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400
    assert sentence.endswith("/r/session_latest/logs") == address.local
