"""Takes an application off a cluster of others, for a command that was killed: APPLICATION.

Run by `serving.guardian` with the command's environment, in which RAY_ADDRESS names the cluster.
"""

from __future__ import annotations

import logging
import sys


def main(application: str) -> None:
    """Delete one application, and nothing else."""
    import ray
    from ray import serve

    ray.init(namespace="isogloss", log_to_driver=False, logging_level=logging.ERROR)
    serve.delete(application)


if __name__ == "__main__":
    main(*sys.argv[1:])
