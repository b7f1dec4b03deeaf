"""Replicas under load in simulated time: what waits, what is batched together, who is refused.

What decides in a server decides here: `BatchQueue` cuts the batches, `Pricing` prices their texts
and sizes them, `Admission` lets requests in. Simulated are the clock, the arrivals and four things
that take time:

- the balancer, HAProxy's `leastconn`, takes none; it sends each request where fewest are under way;
- a replica's event loop works on one request at a time: half of `loop_s` before its texts are
  queued, planning included, and half once they are scored;
- its worker runs one batch at a time, for the cost table's seconds times `slowdown`;
- while both are busy each takes longer, by `contention`: they share an interpreter and cores;
- what is left of a request, sockets and proxy, delays it alone: one of `delays_s`, drawn.
"""

from __future__ import annotations

import heapq
import itertools
import random
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from isogloss.deploy.bench.scale_stations import Clock, Station
from isogloss.serving.batching.costs import CostTable, Pricing
from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.admission import Admission, Load, QueueFull

Tokens = Sequence[int]
"""Of each text of one request, prompts included."""
_CLIENT = ""  # all requests are one client's: whoever shares the room may hold no less of it


@dataclass(frozen=True, slots=True)
class Costs:
    """What a request costs one replica."""

    table: CostTable
    slowdown: float = 1.0
    """Seconds of a batch over the table's, while the event loop has nothing to do."""
    contention: float = 0.0
    """By how much of itself a batch takes longer while the event loop is busy."""
    loop_s: float = 0.0
    """Of the event loop for each request, while the worker has nothing to do."""
    loop_contention: float = 0.0
    """By how much of itself that takes longer while the worker is busy."""
    delays_s: Sequence[float] = (0.0,)


@dataclass(slots=True, eq=False)
class Request:
    """One request of some texts."""

    number: int
    tokens: Tokens
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
    """Event loops were busy for so long in all."""

    def settled_s(self, skipped: float = 0.1) -> list[float]:
        """Seconds of the answered requests but the first: the queues were empty then."""
        first = skipped * self.sent
        return [took for took, n in zip(self.took_s, self.numbers, strict=True) if n >= first]


class Replica:
    """One replica's admission, event loop, queue and worker."""

    def __init__(
        self,
        costs: Costs,
        settings: ServingSettings,
        clock: Clock,
        outcome: Outcome,
        over: Callable[[Replica, Request, bool], None],
    ) -> None:
        self._costs, self._settings, self._clock, self._outcome = costs, settings, clock, outcome
        self._over = over
        """Told of each request that was answered, or refused (False)."""
        self._pricing = Pricing.of(settings, costs.table)
        self._queue: BatchQueue[Text] = BatchQueue(
            self._pricing.budget, settings.deadline_s, self._pricing.patience_s
        )
        self._admission = Admission(
            Load(settings.max_queue_items, settings.max_queue_tokens, settings.max_queue_chars)
        )
        self._loop = Station(clock, costs.loop_contention)
        self._worker = Station(clock, costs.contention)
        self._loop.neighbour, self._worker.neighbour = self._worker, self._loop
        self._steps: deque[tuple[Request, bool]] = deque()  # came (True), or is scored
        self._coming = 0

    def receive(self, request: Request) -> None:
        """Take a request from the balancer."""
        self._next_step(request, True)

    def _next_step(self, request: Request, came: bool) -> None:
        self._steps.append((request, came))
        if not self._loop.busy:
            self._step()

    def _step(self) -> None:
        """Begin what the event loop does next; what is not let in takes no time."""
        while self._steps:
            request, came = self._steps.popleft()
            if came and not self._admit(request):
                self._over(self, request, False)
                continue
            self._coming += came
            self._loop.start(self._costs.loop_s / 2, partial(self._stepped, request, came))
            return

    def _admit(self, request: Request) -> bool:
        load = Load(len(request.tokens), sum(request.tokens))
        timeout_s = self._settings.request_timeout_s
        try:
            request.room.enter_context(self._admission.admit(_CLIENT, load, timeout_s))
        except QueueFull:
            return False
        return True

    def _stepped(self, request: Request, came: bool) -> None:
        self._outcome.loops_s += self._clock.now_s - self._loop.began_s
        if came:
            self._coming -= 1
            price, flow = self._pricing.price, self._pricing.flow
            texts = [Text(request, each, price(each), flow("", each)) for each in request.tokens]
            request.left = len(texts)
            self._queue.add(texts, self._clock.now_s, _CLIENT)
        else:
            request.room.close()
            self._over(self, request, True)
        self._step()
        self._cut()

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
        then = partial(self._scored, batch, predicted_s)
        self._worker.start(predicted_s * self._costs.slowdown, then)

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
                self._next_step(text.request, False)


class LeastConnections:
    """HAProxy's `leastconn`: where fewest requests are; of several, where none came for longest."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._turns = itertools.count()
        self._places = {each: (0, next(self._turns), n) for n, each in enumerate(replicas)}
        self._heap = sorted(self._places.values())

    def choose(self) -> Replica:
        """Choose a replica for a request, and count it there."""
        while True:
            place = self._heap[0]
            replica = self._replicas[place[2]]
            if self._places[replica] == place:
                self._move(replica, 1)
                return replica
            heapq.heappop(self._heap)

    def leave(self, replica: Replica) -> None:
        """Count a request there no more."""
        self._move(replica, -1)

    def _move(self, replica: Replica, by: int) -> None:
        requests, _, index = self._places[replica]
        self._places[replica] = place = (requests + by, next(self._turns), index)
        heapq.heappush(self._heap, place)


class Fleet:
    """Some replicas behind a balancer, for one run.

    Args:
        costs: of a request, at each replica.
        replicas: how many.
        texts: the requests' texts, in order and without end.
        settings: the limits of a replica's queue and batches.
        seed: of the delays.
    """

    def __init__(
        self,
        costs: Costs,
        replicas: int,
        texts: Iterator[Tokens],
        settings: ServingSettings | None = None,
        seed: int = 0,
    ) -> None:
        settings = settings or ServingSettings()
        self.outcome, self._clock = Outcome(), Clock()
        self._balancer = LeastConnections(
            [
                Replica(costs, settings, self._clock, self.outcome, self._over)
                for _ in range(replicas)
            ]
        )
        self._texts, self._delays_s, self._draw = texts, costs.delays_s, random.Random(seed)
        self._again = 0

    def open_loop(self, gaps_s: Iterator[float], requests: int) -> Outcome:
        """Send requests, each some seconds after the one before, however long answers take."""
        left = itertools.islice(gaps_s, requests)

        def arrive() -> None:
            self._send()
            if (gap_s := next(left, None)) is not None:
                self._clock.at(self._clock.now_s + gap_s, arrive)

        self._clock.at(next(left), arrive)
        self._clock.run()
        return self.outcome

    def closed_loop(self, clients: int, requests: int) -> Outcome:
        """Have so many clients ask again as soon as they are answered."""
        self._again = requests - clients
        for _ in range(clients):
            self._send()
        self._clock.run()
        return self.outcome

    def _send(self) -> None:
        request = Request(self.outcome.sent, next(self._texts), self._clock.now_s)
        self.outcome.sent += 1
        self._balancer.choose().receive(request)

    def _over(self, replica: Replica, request: Request, answered: bool) -> None:
        self._balancer.leave(replica)
        at_s = self._clock.now_s + self._draw.choice(self._delays_s)
        if answered:
            self.outcome.took_s.append(at_s - request.began_s)
            self.outcome.numbers.append(request.number)
        else:
            self.outcome.refused += 1
        self.outcome.ended_s = max(self.outcome.ended_s, at_s)
        if self._again > 0:
            self._again -= 1
            self._clock.at(at_s, self._send)
