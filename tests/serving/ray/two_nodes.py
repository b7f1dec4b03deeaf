"""`isogloss serve` on a Ray cluster of two nodes on this machine: STORE MODEL PORT REPLICAS.

Each node holds one replica of each model. Ray's own utility for tests starts the nodes; what is
served is as in `tests.serving.fake_server`.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from typing import Any

from tests.serving import fake_server

_ROOM = {"num_cpus": 2, "object_store_memory": 100 << 20}


def main(*arguments: str) -> int:
    cluster = _head()
    try:
        cluster.add_node(wait=False, **_ROOM)  # the command waits for room
        os.environ["RAY_ADDRESS"] = cluster.address
        return fake_server.main(*arguments)
    finally:
        cluster.shutdown()


def _head() -> Any:
    """The first node; Ray Serve spreads replicas where it can, which is not always enough."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray import serve
        from ray.cluster_utils import Cluster
    one_a_node: Any = functools.partial(serve.deployment, max_replicas_per_node=1)
    serve.deployment = one_a_node
    quiet = {"include_dashboard": False, "include_log_monitor": False}
    return Cluster(initialize_head=True, head_node_args={**_ROOM, **quiet})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
