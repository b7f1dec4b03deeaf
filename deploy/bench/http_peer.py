"""Runs one peer of `bench http` as a process.

python -m isogloss.deploy.bench.http_peer fastapi|ray_serve --model FOLDER --prompts FOLDER --port N
"""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from isogloss.deploy.bench.http_peers import Options, Scorer, plain_api


def main() -> None:
    """Serve until SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["fastapi", "ray_serve"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    given = vars(parser.parse_args())
    if given.pop("kind") == "ray_serve":
        from isogloss.deploy.bench.http_ray import serve_batched  # Ray is slow to import

        serve_batched(Options(**given))
        return
    options = Options(**given)
    api = plain_api(Scorer(options))
    uvicorn.run(api, port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
