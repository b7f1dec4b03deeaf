"""`isogloss serve` with models that need no weights: STORE MODEL [PORT]."""

from __future__ import annotations

import sys
from pathlib import Path

from prompts.errors import IsoglossError
from serving.launch import run
from tests.fakes import MODEL, fake_classifier, fake_settings


def main(store: str, other: str, port: str = "0") -> int:
    settings = fake_settings(Path(store), models=(MODEL, other), replicas=2, port=int(port))
    try:
        return run(settings, lambda line: print(line, file=sys.stderr), build=fake_classifier)
    except IsoglossError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
