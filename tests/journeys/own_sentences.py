"""Our own example sentences, and how many of them a server gets right.

`own_sentences.tsv` was written for this project: news-like sentences on SIB-200's seven topics in
44 of the paper's languages, before any model had seen them. With `isogloss serve` running,

    python -m tests.journeys.own_sentences [--url http://127.0.0.1:8000] [--model pocket-bloom]

asks it for every sentence's topic, naming neither language nor prompt, and prints the share that
is right, per topic and per language, and every sentence that went wrong.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FILE = Path(__file__).with_suffix(".tsv")
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Sentence:
    """One row of the file."""

    code: str
    topic: str
    text: str


@dataclass(frozen=True)
class Answered:
    """A sentence, and what was said of it."""

    sentence: Sentence
    label: str
    detected: str
    prompt: str

    @property
    def right(self) -> bool:
        return self.label == self.sentence.topic


def read() -> list[Sentence]:
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Sentence(row["code"], row["topic"], row["text"]) for row in rows]


def ask(url: str, sentences: Sequence[Sentence], model: str | None) -> list[Answered]:
    """Every sentence's answer over HTTP, in one request as the contract has it."""
    body = {"inputs": [each.text for each in sentences], "model": model}
    answer = httpx.post(f"{url}/v1/classify", json=body, timeout=TIMEOUT_S)
    if answer.is_error:
        raise SystemExit(f"{url}: {answer.status_code} {answer.text}")
    return answered(sentences, answer.json()["results"])


def answered(sentences: Sequence[Sentence], results: Sequence[Mapping[str, Any]]) -> list[Answered]:
    """Put the results of an answer, as JSON, beside their sentences."""
    return [
        Answered(each, said["label"], said["language"]["code"], said["prompt"]["name"])
        for each, said in zip(sentences, results, strict=True)
    ]


def share(answers: Sequence[Answered]) -> float:
    return sum(each.right for each in answers) / len(answers)


def report(answers: Sequence[Answered]) -> str:
    """The share that is right, per topic and per language, and what went wrong."""
    lines = [f"{sum(a.right for a in answers)} of {len(answers)} right: {share(answers):.1%}"]
    lines += ["", *_table(answers, lambda each: each.sentence.topic)]
    lines += ["", *_table(answers, lambda each: each.sentence.code), ""]
    lines += [
        f"{a.sentence.code} {a.sentence.topic}: said {a.label} (as {a.detected}, by {a.prompt})"
        for a in answers
        if not a.right
    ]
    return "\n".join(lines)


def _table(answers: Sequence[Answered], group: Callable[[Answered], str]) -> list[str]:
    groups: dict[str, list[Answered]] = {}
    for each in answers:
        groups.setdefault(group(each), []).append(each)
    return [
        f"{name:20} {sum(own.right for own in owns):3} of {len(owns):3}"
        for name, owns in sorted(groups.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a running server")
    parser.add_argument("--model", help="one that it serves; its default if left out")
    given = parser.parse_args()
    print(report(ask(given.url, read(), given.model)))


if __name__ == "__main__":
    main()
