"""What `serving.pipeline.admission` promises after any sequence of requests, settled or not."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from isogloss.serving.pipeline.admission import (
    CROWD,
    SHARE,
    UNITS,
    Admission,
    Admitted,
    Load,
    QueueFull,
)

# Of one legal request: above some limits, below others.
LARGEST = Load(items=256, tokens=70_000, characters=300_000)
CLIENTS = st.integers(0, CROWD + 20).map("client-{}".format) | st.sampled_from("abc")
LIMITS = st.builds(Load, st.integers(1, 5000), st.integers(1, 100_000), st.integers(1, 1_000_000))


def amounts(largest: int) -> st.SearchStrategy[int]:
    """Of a unit, small and large ones alike."""
    return st.integers(0, 30).map(lambda power: min(largest, 2**power)) | st.integers(1, largest)


LOADS = st.builds(
    Load, amounts(LARGEST.items), amounts(LARGEST.tokens), amounts(LARGEST.characters)
)


@dataclass(eq=False)
class Inside:
    """One request that was let in."""

    client: str
    admitted: Admitted
    guess: Load
    settled: bool = False
    leave: ExitStack = field(default_factory=ExitStack)


class Ledger(RuleBasedStateMachine):
    """Requests come, are settled and leave in any order."""

    inside = Bundle("inside")

    def __init__(self) -> None:
        super().__init__()
        self.open(Load(1, 1, 1))

    @initialize(limit=LIMITS)
    def open(self, limit: Load) -> None:
        self.limit = limit
        self.admission = Admission(limit)
        self.requests: list[Inside] = []

    @rule(target=inside, client=CLIENTS, load=LOADS)
    def come(self, client: str, load: Load) -> object:
        by_share = self.is_within_share(client, load)
        leave = ExitStack()
        try:
            admitted = leave.enter_context(self.admission.admit(client, load))
        except QueueFull:
            assert not by_share
            return multiple()
        one = Inside(client, admitted, load, leave=leave)
        self.requests.append(one)
        return one

    @rule(one=inside, tokens=amounts(LARGEST.tokens))
    def settle(self, one: Inside, tokens: int) -> None:
        if not one.settled:
            one.settled = True
            items = one.admitted.load.items
            self.admission.settle(one.client, one.admitted, Load(items, tokens))

    @rule(one=consumes(inside))
    def leave(self, one: Inside) -> None:
        self.requests.remove(one)
        one.leave.close()

    def is_within_share(self, client: str, load: Load) -> bool:
        """Whether dynamic thresholds over all that is held would let it in: never less is."""
        free = self.limit - self.admission.held - load
        own = self.of(client) + load
        return all(
            getattr(own, unit) <= SHARE * getattr(free, unit)
            for unit in UNITS
            if getattr(load, unit)
        )

    def of(self, client: str) -> Load:
        own = [each.admitted.load for each in self.requests if each.client == client]
        return sum(own, Load())

    def lets_in(self, client: str, load: Load) -> bool:
        before = self.admission.held
        try:
            with self.admission.admit(client, load):
                return True
        except QueueFull:
            return False
        finally:
            assert self.admission.held == before

    @invariant()
    def all_is_written_down(self) -> None:
        assert self.admission.held == sum((each.admitted.load for each in self.requests), Load())
        assert self.admission.requests == len(self.requests)
        clients = {each.client for each in self.requests if each.admitted.load != Load()}
        assert self.admission.clients == len(clients)

    @invariant()
    def a_newcomer_is_let_in_with_little(self) -> None:
        if self.admission.clients >= min(
            CROWD, self.limit.items, self.limit.tokens, self.limit.characters
        ):
            return
        little = Load(*(max(1, getattr(self.limit, unit) // CROWD) for unit in UNITS))
        assert self.lets_in("newcomer", little)

    @invariant()
    def one_client_leaves_a_fifth(self) -> None:
        if self.admission.clients > 1:
            return
        left = Load(*(getattr(self.limit, unit) * 4 // 25 for unit in UNITS))
        assert self.lets_in("newcomer", left)

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        for unit in UNITS:
            held = sum(
                min(getattr(each.admitted.load, unit), getattr(each.guess, unit))
                for each in self.requests
            )  # but for what was guessed too low, of tokens alone
            assert held <= 2 * getattr(self.limit, unit) + getattr(LARGEST, unit)


Ledger.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_the_ledger = Ledger.TestCase
