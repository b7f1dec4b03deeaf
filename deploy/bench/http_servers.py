"""Who is measured in `bench http`: how each is started, asked, and what it says of its batches."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.http_peers import ROUTE
from isogloss.deploy.bench.http_workload import Asked, HttpWorkload
from isogloss.deploy.bench.settings import HttpSettings
from isogloss.deploy.load.settings import serve_command
from isogloss.prompts.console.http_client import open_url
from isogloss.prompts.errors import Unavailable

# Between two probabilities: fp32 rounding of log-probabilities (1e-4), and ours to six digits.
TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
_PEERS = "isogloss.deploy.bench.http_peer"
_TIMEOUT_S = 600
_SHOWN_BYTES = 300
_APART = 4  # tolerances that lie between a text's answers under two prompts, at least


@dataclass(frozen=True, slots=True)
class Batches:
    """Forward passes, the texts in them, and how many passes had up to so many texts."""

    batches: float
    texts: float
    up_to: Mapping[int, float] = field(default_factory=dict)
    """Most texts -> passes; where the server says so."""

    def since(self, before: Batches) -> Batches:
        """What was done after an earlier count."""
        up_to = {most: count - before.up_to.get(most, 0) for most, count in self.up_to.items()}
        return Batches(self.batches - before.batches, self.texts - before.texts, up_to)

    @property
    def mean(self) -> float | None:
        """Texts of a pass in the mean; None where there was none."""
        return self.texts / self.batches if self.batches else None

    def sizes(self) -> dict[int, float]:
        """Texts of a pass -> passes, as near as is known.

        The passes counted between two sizes are taken to have the mean of the two, but for those
        of the largest: theirs follows from the number of all texts.
        """
        middles, least, fewer = dict[int, float](), 0, 0.0
        for most, count in sorted(self.up_to.items()):
            if count > fewer:
                middles[(least + 1 + most) // 2] = count - fewer
            least, fewer = most, count
        if not middles:
            return {max(1, round(self.mean)): self.batches} if self.mean else {}
        passes = middles.pop(max(middles))
        rest = self.texts - sum(size * count for size, count in middles.items())
        size = max(1, round(rest / passes))
        return middles | {size: passes + middles.get(size, 0)}


@dataclass(frozen=True, slots=True)
class Contender:
    """One server."""

    name: str
    route: str

    def command(self, work: HttpWorkload, settings: HttpSettings) -> list[str]:
        """Arguments of Python that start it; "{port}" stands for its port."""
        common = ["--model", work.source, "--port", "{port}", "--threads", str(settings.threads)]
        common += ["--device", settings.device, "--dtype", settings.dtype]
        if self is OURS:
            return serve_command(*common, "--store", str(work.store))
        return ["-m", _PEERS, self.name, *common, "--prompts", str(work.prompts)]

    def scores(self, url: str, asked: Asked) -> dict[str, float]:
        """Ask once: label -> probability."""
        body = asked.body().encode()
        request = urllib.request.Request(
            url + self.route, body, {"content-type": "application/json"}
        )
        answer: Any = json.loads(self._read(request))
        result = answer["results"][0] if self is OURS else answer
        return {each["label"]: each["score"] for each in result["scores"]}

    def batches(self, url: str) -> Batches:
        """What it has done so far."""
        path = "/metrics" if self is OURS else "/health"
        said = self._read(urllib.request.Request(url + path)).decode()
        if self is OURS:
            return _batches_of_metrics(said)
        counted = json.loads(said)
        return Batches(counted["batches"], counted["texts"])

    def _read(self, request: urllib.request.Request) -> bytes:
        try:
            with open_url(request, _TIMEOUT_S) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                reason = refusal.read()[:_SHOWN_BYTES].decode(errors="replace")
            raise Unavailable(f"{self.name} answered {refusal.code}: {reason}") from refusal


OURS = Contender("isogloss", "/v1/classify")
FASTAPI = Contender("fastapi", ROUTE)
RAY_SERVE = Contender("ray_serve", ROUTE)
CONTENDERS = (OURS, FASTAPI, RAY_SERVE)


def largest_difference(
    ours: Sequence[Mapping[str, float]],
    theirs: Sequence[Mapping[str, float]],
    name: str,
    dtype: str,
) -> float:
    """How far two contenders' probabilities are apart, if rounding explains it.

    Raises:
        ContendersDisagree: it does not.
    """
    difference = _largest(_apart(a, b) for a, b in zip(ours, theirs, strict=True))
    if not difference <= TOLERANCES[dtype]:
        raise ContendersDisagree(
            f"{name}: its label probabilities differ from ours by {difference:.2g}, more than "
            f"{TOLERANCES[dtype]:g}; nothing is reported"
        )
    return difference


def check_tells_apart(answers: Sequence[Mapping[str, float]], dtype: str) -> None:
    """Require that a text's answers under different prompts differ, or comparing shows nothing.

    Raises:
        ContendersDisagree: two are alike.
    """
    least = min(
        (_apart(a, b) for a, b in itertools.combinations(answers, 2)),
        default=float("inf"),
    )
    if least < _APART * TOLERANCES[dtype]:
        raise ContendersDisagree(
            f"two prompts' answers to one text differ by {least:.2g} only, so equal answers would "
            "not show that prompts were kept apart; take another --seed"
        )


def _apart(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    if a.keys() != b.keys():
        return float("inf")
    return _largest(abs(a[label] - b[label]) for label in a)


def _largest(differences: Iterable[float]) -> float:
    """Of several; not a number where one of them is none, which `max` may pass over."""
    return float(np.max(list(differences)))


def _batches_of_metrics(page: str) -> Batches:
    """Of all replicas."""
    name = "isogloss_batch_texts"
    counted: Counter[str] = Counter()
    up_to: Counter[int] = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == f"{name}_bucket" and sample.labels["le"] != "+Inf":
                up_to[int(float(sample.labels["le"]))] += int(sample.value)
            elif sample.name.startswith(name):
                counted[sample.name] += int(sample.value)
    return Batches(counted[f"{name}_count"], counted[f"{name}_sum"], up_to)
