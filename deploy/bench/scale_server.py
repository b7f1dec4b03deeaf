"""A real server under the loads that the simulation is put beside, and what it did under each."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from isogloss.deploy.bench.http_workload import HttpWorkload
from isogloss.deploy.bench.scale_settings import ScaleSettings
from isogloss.deploy.bench.scale_simulation import Content
from isogloss.deploy.load.clients import ClosedLoop, OpenLoop, Question
from isogloss.deploy.load.processes import replicas, thread_seconds
from isogloss.deploy.load.servers import Running
from isogloss.deploy.load.tally import Tally
from isogloss.deploy.load.wire import classify_request
from isogloss.prompts.console.http_client import open_url
from isogloss.prompts.errors import Unavailable

_SCORING = "isogloss_stage_seconds"
_COUNTED = (_SCORING, "isogloss_batch_cost_ratio", "isogloss_batch_texts")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests, and what each asks."""

    questions: Sequence[Question]
    contents: Sequence[Content]

    @classmethod
    def of(cls, work: HttpWorkload, texts: int) -> Traffic:
        """So many texts a request, all under the prompt that its first one names."""
        around = itertools.cycle(zip(work.asked, work.lengths, strict=True))
        questions, contents = [], []
        for _ in work.asked:
            own = list(itertools.islice(around, texts))
            inputs, prompt = tuple(asked.text for asked, _ in own), own[0][0].prompt
            body = {"inputs": list(inputs), "prompt": prompt}
            questions.append(Question(classify_request(body), inputs))
            tokens = tuple(length + work.prompt_length for _, length in own)
            contents.append(Content(tokens, prompt))
        return cls(questions, contents)


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on the real server, or several of the same kind together."""

    took_s: Sequence[float]
    """Of each request, by the order of the answers."""
    late_s: Sequence[float]
    """How much later than due each was sent, of an open loop."""
    seconds: float
    python_s: float
    """Processor time of all the replica's threads but those that compute."""
    batches: float
    batches_s: float
    ratios: float
    """Seconds of each batch over the cost table's, summed up."""
    texts: float

    @classmethod
    def together(cls, several: Sequence[Measured]) -> Measured:
        """What they came to in all."""
        return cls(
            [took for each in several for took in each.took_s],
            [late for each in several for late in each.late_s],
            sum(each.seconds for each in several),
            sum(each.python_s for each in several),
            sum(each.batches for each in several),
            sum(each.batches_s for each in several),
            sum(each.ratios for each in several),
            sum(each.texts for each in several),
        )

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.took_s) / self.seconds


class Server:
    """Loads on a running server with one replica, each with what it did meanwhile."""

    def __init__(self, server: Running, traffic: Traffic, settings: ScaleSettings) -> None:
        self._url, self._traffic = server.url, traffic
        (self._replica,) = replicas(server.mark)
        self._computing = settings.threads or 1

    def closed(self, clients: int, seconds: float) -> Measured:
        """Have so many clients ask one request after the other."""

        async def load(tally: Tally) -> None:
            loop = ClosedLoop(self._url, self._traffic.questions, clients, tally)
            await loop.for_seconds(seconds)

        return self._measure(load)

    def open(self, per_s: float, gaps_s: Iterator[float], seconds: float) -> Measured:
        """Send requests at a rate, each some seconds after the one before."""

        async def load(tally: Tally) -> None:
            questions = self._traffic.questions
            async with OpenLoop(self._url, questions, per_s, tally, gaps_s=gaps_s).running():
                await asyncio.sleep(seconds)

        return self._measure(load)

    def _measure(self, load: Callable[[Tally], Any]) -> Measured:
        tally, counted, threads = Tally(), self._counted(), thread_seconds(self._replica)
        began_s = time.perf_counter()
        asyncio.run(load(tally))
        seconds = time.perf_counter() - began_s
        if tally.failed or not tally.sent:
            said = json.dumps([failure.shown() for failure in tally.failures[:1]])
            raise Unavailable(f"{tally.failed} of {tally.sent} requests failed: {said}")
        python_s = python_seconds(threads, thread_seconds(self._replica), self._computing)
        did = Counter(self._counted())
        did.subtract(counted)
        return Measured(
            took_s=tally.took_s[200],
            late_s=tally.late_s,
            seconds=seconds,
            python_s=python_s,
            batches=did[f"{_SCORING}_count"],
            batches_s=did[f"{_SCORING}_sum"],
            ratios=did["isogloss_batch_cost_ratio_sum"],
            texts=did["isogloss_batch_texts_sum"],
        )

    def _counted(self) -> dict[str, Any]:
        with open_url(f"{self._url}/metrics", 10) as reply:
            page = reply.read().decode()
        names = {f"{name}_{what}" for name in _COUNTED for what in ("sum", "count")}
        samples = (s for family in text_string_to_metric_families(page) for s in family.samples)
        return {
            sample.name: sample.value
            for sample in samples
            if sample.name in names and sample.labels.get("stage", "score") == "score"
        }


def python_seconds(
    before: Mapping[int, float], after: Mapping[int, float], computing: int
) -> float:
    """Processor time between two readings of a replica's threads but for those that compute.

    Those are so many, and the busiest.

    >>> python_seconds({1: 1.0, 2: 1.0}, {1: 5.0, 2: 1.5, 3: 0.25}, 1)
    0.75
    """
    spent = sorted(seconds - before.get(thread, 0.0) for thread, seconds in after.items())
    return sum(spent[:-computing])
