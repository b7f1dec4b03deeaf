"""A server with two tasks, one of which has more routes than one, behind every dialect."""

from __future__ import annotations

from pathlib import Path

from isogloss.prompts.format.soft_prompt import SoftPrompt
from tests.fakes import expected_scores, route_table, soft_prompt
from tests.serving.api_server import Server

LEVELS = ("low", "medium", "high")
URGENCY = soft_prompt(0.5, task="urgency", labels=LEVELS)
TOPIC = soft_prompt(1.0)
ROMANCE = soft_prompt(2.0, length=5)


def server_of(folder: Path) -> Server:
    server = Server(folder)
    server.store.publish({"urgency": URGENCY}, [route_table("urgency", task="urgency")])
    return server


def expected(text: str, prompt: SoftPrompt = TOPIC, *labels: str) -> list[float]:
    """What the labels must have, in this order; none: in alphabetical order."""
    scores = expected_scores(text, prompt)
    return [scores[label] for label in labels or sorted(scores)]
