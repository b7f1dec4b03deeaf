"""`isogloss serve` with models that need no weights: STORE MODEL [PORT [REPLICAS [MOST]]].

The less a test needs, the sooner it starts: without a name there is no second MODEL. Up to MOST
replicas come while anything waits.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isogloss.prompts.errors import IsoglossError
from isogloss.serving.ray.launch import run
from tests.fakes import MODEL, fake_classifier, fake_settings


def main(store: str, other: str, port: str = "0", replicas: str = "2", most: str = "") -> int:
    models = tuple(filter(None, (MODEL, other)))
    settings = fake_settings(
        Path(store),
        models=models,
        replicas=int(replicas),
        max_replicas=int(most) if most else None,
        target_queue_tokens=1,
        port=int(port),
        body_timeout_s=3,
    )
    try:
        return run(settings, lambda line: print(line, file=sys.stderr), build=fake_classifier)
    except IsoglossError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
