"""Takes our application off a cluster of others, for a command that was killed: ADDRESS.

Run by `serving.ray.guardian`, with the command's environment.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from isogloss.serving.ray.joined import APPLICATION


def farewell_to(address: str) -> Sequence[str]:
    """The command that does it."""
    return (sys.executable, "-P", "-m", "isogloss.serving.ray.farewell", address)


def main(address: str) -> None:
    """Delete one application, and nothing else."""
    import ray
    from ray import serve

    ray.init(address, namespace=APPLICATION, log_to_driver=False, logging_level=logging.ERROR)
    serve.delete(APPLICATION)


if __name__ == "__main__":
    main(*sys.argv[1:])
