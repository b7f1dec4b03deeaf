"""An S3 server of its own process: `python -m tests.prompts.s3_server PORT`.

moto looks before it writes, so two requests at once could both find a name free. Real stores decide
at one place; so does this server, by answering one request at a time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

BUCKET = "prompts"


@contextlib.contextmanager
def running(log: Path) -> Iterator[str]:
    """Start a server with an empty bucket and yield its address; it is gone afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.prompts.s3_server", str(port)],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        _make_bucket(address, server, log)
        yield address
    finally:
        server.kill()
        server.wait()


def _make_bucket(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    give_up_s = time.monotonic() + 60
    while True:
        try:
            request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > give_up_s:
                raise AssertionError(f"the S3 server did not start: {log.read_text()}") from None
            time.sleep(0.05)


def serve(port: int) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    application = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, application, threaded=False)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
