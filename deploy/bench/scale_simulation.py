"""Replicas under load in simulated time: what waits, what is batched together, who is refused.

What decides in a server decides here: `BatchQueue` cuts the batches, `Pricing` prices their texts
and sizes them, `Admission` lets requests in. Simulated are the clock, the arrivals and four things
that take time:

- the balancer, HAProxy's `leastconn`, takes none; it sends each request where fewest are under way;
- a replica's Python, one thing at a time: `step_s` before a request's texts are queued, planning
  included, and `step_s` once they are scored; `wake_s` more for the first thing after a rest, and
  `plan_s` for those that are planned together, in a thread, for they are not alone;
- its worker runs one batch at a time, for the cost table's seconds and one of `extras_s`, drawn. It
  stands still while Python is busy: between any two of the model's operations it needs the
  interpreter, of which there is one;
- what is left of a request, sockets and proxy, delays it alone, by `delay_s`.

So a replica never does two things at once, however many cores there are. Cores are taken to
suffice: one for the worker's every thread and one for Python, with nothing else on them.
"""

from __future__ import annotations

import itertools
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from isogloss.deploy.bench.scale_balancer import LeastConnections
from isogloss.deploy.bench.scale_stations import Clock, Loop, Worker
from isogloss.serving.batching.costs import CostTable, Pricing
from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.admission import Admission, Load, QueueFull

_CLIENT = ""  # all requests are one client's: whoever shares the room may hold no less of it


@dataclass(frozen=True, slots=True)
class Costs:
    """What a request costs one replica."""

    table: CostTable
    step_s: float = 0.0
    """Of its Python, before a request's texts are queued and again once they are scored."""
    wake_s: float = 0.0
    """Of its Python besides, for the first thing after a rest."""
    extras_s: Sequence[float] = (0.0,)
    """A batch takes one of these longer than the table says; below zero, less long."""
    delay_s: float = 0.0
    """Of each request, elsewhere."""
    plan_s: float = 0.0
    """Of its Python besides, to have requests planned in a thread: all but one that is alone."""


@dataclass(frozen=True, slots=True)
class Content:
    """What one request asks."""

    tokens: Sequence[int]
    """Of each text, prompts included."""
    prompt: str = ""
    """Whose line the texts wait in."""


@dataclass(slots=True, eq=False)
class Request:
    """One request of some texts."""

    number: int
    content: Content
    began_s: float
    left: int = 0
    """Texts that are not scored yet."""
    room: ExitStack = field(default_factory=ExitStack)
    """What it holds of the admission's."""


@dataclass(slots=True, eq=False)
class Text:
    """One text in a replica's queue."""

    request: Request
    tokens: int
    cost: int
    flow: str
    abandoned: bool = False
    arrived_s: float = 0.0
    waits: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of all requests."""

    sent: int = 0
    refused: int = 0
    took_s: array[float] = field(default_factory=lambda: array("d"))
    """Of each answered request, by the order of the answers,"""
    numbers: array[int] = field(default_factory=lambda: array("q"))
    """and which one it was."""
    ended_s: float = 0.0
    """When the last one was answered; the first arrived after 0."""
    texts: int = 0
    batches: int = 0
    batches_s: float = 0.0
    """Workers were busy for so long in all,"""
    ratios: float = 0.0
    """and their batches took so many times as long as the table says, summed up."""
    loops_s: float = 0.0
    """The replicas' Python was busy for so long in all."""

    def settled_s(self, skipped: float = 0.1) -> list[float]:
        """Seconds of the answered requests but the first: the queues were empty then."""
        first = skipped * self.sent
        return [took for took, n in zip(self.took_s, self.numbers, strict=True) if n >= first]


class Replica:
    """One replica's admission, Python, queue and worker."""

    def __init__(
        self,
        costs: Costs,
        settings: ServingSettings,
        clock: Clock,
        outcome: Outcome,
        draw: random.Random,
        over: Callable[[Replica, Request, bool], None],
    ) -> None:
        self._costs, self._settings, self._clock, self._outcome = costs, settings, clock, outcome
        self._draw, self._over = draw, over
        """Told of each request that was answered, or refused (False)."""
        self._pricing = Pricing.of(settings, costs.table)
        self._queue: BatchQueue[Text] = BatchQueue(
            self._pricing.budget, settings.deadline_s, self._pricing.patience_s
        )
        self._admission = Admission(
            Load(settings.max_queue_items, settings.max_queue_tokens, settings.max_queue_chars)
        )
        self._worker = Worker(clock)
        self._loop = Loop(clock, costs.wake_s, self._worker)
        self._coming = self._inside = 0
        self._planned: list[Request] = []

    def receive(self, request: Request) -> None:
        """Take a request from the balancer."""
        self._coming += 1
        self._loop.do(self._costs.step_s, partial(self._came, request))

    @property
    def loop_s(self) -> float:
        """For how long its Python was busy."""
        return self._loop.busy_s

    def _came(self, request: Request) -> None:
        if not self._admit(request):
            self._coming -= 1
            self._over(self, request, False)
            return
        self._inside += 1
        self._planned.append(request)
        if self._inside == 1:
            self._enqueue()
        elif len(self._planned) == 1:
            self._loop.do(self._costs.plan_s, self._enqueue)

    def _admit(self, request: Request) -> bool:
        load = Load(len(request.content.tokens), sum(request.content.tokens))
        timeout_s = self._settings.request_timeout_s
        try:
            request.room.enter_context(self._admission.admit(_CLIENT, load, timeout_s))
        except QueueFull:
            return False
        return True

    def _enqueue(self) -> None:
        price, flow = self._pricing.price, self._pricing.flow
        for request in self._planned:
            prompt, tokens = request.content.prompt, request.content.tokens
            texts = [Text(request, each, price(each), flow(prompt, each)) for each in tokens]
            request.left = len(texts)
            self._queue.add(texts, self._clock.now_s, _CLIENT)
        self._coming -= len(self._planned)
        self._planned.clear()
        self._cut()

    def _answer(self, request: Request) -> None:
        self._inside -= 1
        request.room.close()
        self._over(self, request, True)

    def _cut(self) -> None:
        """Start the next batch if one is due, as `Batcher` does, or look again when it is."""
        if self._worker.busy:
            return
        batch = self._queue.take_due(self._clock.now_s, self._coming)
        if not batch:
            if (due_s := self._queue.due_s(self._coming)) is not None:
                self._clock.at(due_s, self._cut)
            return
        predicted_s = self._costs.table.batch_s(text.tokens for text in batch)
        extra_s = self._draw.choice(self._costs.extras_s)
        self._worker.start(predicted_s + extra_s, partial(self._scored, batch, predicted_s))

    def _scored(self, batch: Sequence[Text], predicted_s: float) -> None:
        took_s = self._clock.now_s - self._worker.began_s
        self._admission.tokens_per_s.observe(sum(text.tokens for text in batch), took_s)
        self._outcome.batches += 1
        self._outcome.texts += len(batch)
        self._outcome.batches_s += took_s
        self._outcome.ratios += took_s / predicted_s
        self._cut()
        for text in batch:
            text.request.left -= 1
            if not text.request.left:
                self._loop.do(self._costs.step_s, partial(self._answer, text.request))


class Fleet:
    """Some replicas behind a balancer, for one run.

    Args:
        costs: of a request, at each replica.
        replicas: how many.
        contents: the requests', in order and without end.
        settings: the limits of a replica's queue and batches.
        seed: of what is drawn.
    """

    def __init__(
        self,
        costs: Costs,
        replicas: int,
        contents: Iterator[Content],
        settings: ServingSettings | None = None,
        seed: int = 0,
    ) -> None:
        settings = settings or ServingSettings()
        self.outcome, self._clock = Outcome(), Clock()
        draw = random.Random(seed)
        self._fleet = [
            Replica(costs, settings, self._clock, self.outcome, draw, self._over)
            for _ in range(replicas)
        ]
        self._balancer = LeastConnections(self._fleet)
        self._contents, self._delay_s = contents, costs.delay_s
        self._again = 0

    def open_loop(self, gaps_s: Iterator[float], requests: int) -> Outcome:
        """Send requests, each some seconds after the one before, however long answers take."""
        left = itertools.islice(gaps_s, requests)

        def arrive() -> None:
            self._send()
            if (gap_s := next(left, None)) is not None:
                self._clock.at(self._clock.now_s + gap_s, arrive)

        self._clock.at(next(left), arrive)
        return self._run()

    def closed_loop(self, clients: int, requests: int) -> Outcome:
        """Have so many clients ask again as soon as they are answered."""
        self._again = requests - clients
        for _ in range(clients):
            self._send()
        return self._run()

    def _run(self) -> Outcome:
        self._clock.run()
        self.outcome.loops_s = sum(replica.loop_s for replica in self._fleet)
        return self.outcome

    def _send(self) -> None:
        request = Request(self.outcome.sent, next(self._contents), self._clock.now_s)
        self.outcome.sent += 1
        self._balancer.choose().receive(request)

    def _over(self, replica: Replica, request: Request, answered: bool) -> None:
        self._balancer.leave(replica)
        at_s = self._clock.now_s + self._delay_s
        if answered:
            self.outcome.took_s.append(at_s - request.began_s)
            self.outcome.numbers.append(request.number)
        else:
            self.outcome.refused += 1
        self.outcome.ended_s = max(self.outcome.ended_s, at_s)
        if self._again > 0:
            self._again -= 1
            self._clock.at(at_s, self._send)
