"""The README's words hold: its commands exist with these options, its answer is the real one."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from isogloss.deploy.cli import app
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import http_client
from tests.some import some

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
COMMANDS = [line for line in SHELL.splitlines() if re.search(r"(^|\| )isogloss ", line)]
SHIPPED = ROOT / "prompts" / "shipped"


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_these_options(line: str) -> None:
    words = shlex.split(line.split("isogloss ", 1)[1])
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word for word in words if word.startswith("--")}
    assert used <= known


def test_make_targets_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in some(re.findall(r"^make (\w+)", SHELL, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for link in some(re.findall(r"\]\(([\w./-]+)\)", README)):
        assert (ROOT / link).exists(), link


def test_the_first_request_gets_the_answer_that_is_printed() -> None:
    request, answer = _first_exchange()
    found = asyncio.run(_ask(request))
    assert found["model"] == answer["model"]
    for printed, real in zip(answer["results"], found["results"], strict=True):
        for field in ("label", "route", "prompt", "tokens", "truncated"):
            assert real[field] == printed[field], field
        confidence = pytest.approx(printed["language"]["confidence"], abs=0.001)
        assert real["language"] == {**printed["language"], "confidence": confidence}
        scores = {score["label"]: score["score"] for score in real["scores"]}
        for score in printed["scores"]:
            assert scores[score["label"]] == pytest.approx(score["score"], abs=0.01)


def _first_exchange() -> tuple[dict[str, Any], dict[str, Any]]:
    body = re.search(r"-d '(\{.*?\})'", SHELL)
    answer = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert body is not None
    assert answer is not None
    return json.loads(body[1]), json.loads(answer[1])


async def _ask(request: dict[str, Any]) -> dict[str, Any]:
    settings = ServingSettings(store=SHIPPED, device="cpu")
    classifier = build_classifier(settings)
    async with http_client(classifier, PromptStore.open(SHIPPED), settings) as client:
        response = await client.post("/v1/classify", json=request)
        assert response.status_code == 200, response.text
        return dict(response.json())
