"""Two models without weights behind Ray Serve, patient with nobody: STORE MODEL."""

from __future__ import annotations

import sys
from pathlib import Path

from isogloss.serving.ray.launch import run
from tests.fakes import MODEL, fake_classifier, fake_settings


def main(store: str, other: str) -> int:
    settings = fake_settings(
        Path(store), models=(MODEL, other), replicas=1, port=0, body_timeout_s=3, log_requests="all"
    )
    return run(settings, lambda line: print(line, file=sys.stderr), build=fake_classifier)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
