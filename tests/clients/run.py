"""Starts a server on the shipped prompts, and runs other systems' clients and a browser at it.

    python -m tests.clients.run CLIENTS_PYTHON [LABEL_STUDIO_PYTHON]

The clients have Pythons of their own: in the environment of the first `requirements.txt` is
installed, in that of the second `label_studio.txt`, which wants other versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from isogloss.deploy.load.servers import running
from isogloss.deploy.load.settings import serve_command

HERE = Path(__file__).parent
APART = HERE / "client_label_studio.py"
TOKEN = "for the clients alone"


def main(python: str, label_studio: str | None = None) -> int:
    """Run all clients; returns pytest's exit status, of the first run that is not 0."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"ISOGLOSS_STORE": f"{folder}/store", "ISOGLOSS_ADMIN_TOKEN": TOKEN}
        command = serve_command("--port", "{port}", "--device", "cpu")
        with running(command, Path(folder) / "server", variables) as server:
            statuses = [_run(python, server.url, str(HERE), f"--ignore={APART}")]
            if label_studio is not None:
                statuses.append(_run(label_studio, server.url, str(APART)))
    return next((status for status in statuses if status), 0)


def _run(python: str, url: str, *what: str) -> int:
    return subprocess.run(
        [str(Path(python).absolute()), "-m", "pytest", "-c", str(HERE / "pytest.ini"), *what],
        cwd=HERE,
        env={**os.environ, "ISOGLOSS_URL": url, "ISOGLOSS_ADMIN_TOKEN": TOKEN},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
