"""The Ray Serve peer of `bench http`: one deployment, `@serve.batch`, Serve's own proxy.

Annotations are evaluated here, for FastAPI has to find the types of a class's methods after Ray has
taken the class apart.
"""

import contextlib
import logging
import signal
import threading

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.schema import LoggingConfig

from isogloss.deploy.bench.http_peers import ROUTE, Answer, Batches, Options, Request, Scorer
from isogloss.prompts.cluster.import_path import job_config

_BATCH = 32
_WAIT_S = 0.0  # Serve waits 10 ms by default, which costs this peer half its rate with one caller
_MAX_ONGOING_REQUESTS = 1000

api = FastAPI()


@serve.deployment(
    max_ongoing_requests=_MAX_ONGOING_REQUESTS,
    logging_config=LoggingConfig(log_level="WARNING", enable_access_log=False),
)
@serve.ingress(api)
class Batched:
    """Collects texts into batches."""

    def __init__(self, options: Options) -> None:
        self._scorer = Scorer(options)

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=_WAIT_S)
    async def score(self, asked: list[Request]) -> list[Answer]:
        """One batch; the event loop is the replica's own for its user's code."""
        return self._scorer.score(asked)

    @api.post(ROUTE)
    async def classify(self, asked: Request) -> Answer:
        """One text."""
        return await self.score(asked)

    @api.get("/health")
    async def health(self) -> Batches:
        """What was done so far."""
        return self._scorer.done


def serve_batched(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        job_config=job_config(),
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": options.port},
            logging_config=LoggingConfig(log_level="ERROR", enable_access_log=False),
        )
        serve.run(Batched.bind(options), route_prefix="/")  # type: ignore[attr-defined]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
