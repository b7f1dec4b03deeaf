"""Who is let in: a ledger without a clock, so every case is a line of a table."""

from __future__ import annotations

import pickle
from contextlib import ExitStack

import pytest

from isogloss.serving.pipeline.admission import CROWD, Admission, Load, QueueFull, Ratio, Stopping

LIMIT = Load(items=100, tokens=1000, characters=10_000)


class Room:
    """An admission whose requests stay until they are told to leave."""

    def __init__(self) -> None:
        self.admission = Admission(LIMIT)
        self.inside = ExitStack()

    def enter(
        self, client: str, items: int, tokens: int, characters: int = 0, within_s: float = 1e9
    ) -> None:
        load = Load(items, tokens, characters)
        self.inside.enter_context(self.admission.admit(client, load, within_s))


@pytest.mark.parametrize(
    ("held", "asked", "reason"),
    [
        ([], ("a", 9999, 9999), None),  # an empty queue takes anything
        ([("a", 1, 1)], ("a", 79, 1), None),
        ([("a", 1, 1)], ("a", 80, 1), "items"),  # 81 of its own are more than 4 times 19
        ([("a", 1, 1)], ("a", 1, 799), None),
        ([("a", 1, 1)], ("a", 1, 800), "tokens"),
        ([("a", 80, 1)], ("a", 1, 1), "items"),  # its share is full ...
        ([("a", 80, 1)], ("b", 16, 1), None),  # ... but a newcomer has 4/5 of what is left
        ([("a", 80, 1)], ("b", 17, 1), "items"),
        ([("a", 44, 1), ("b", 44, 1)], ("a", 1, 1), "items"),  # two of them have 4/9 each
        ([("a", 44, 1), ("b", 44, 1)], ("c", 9, 1), None),
        ([("a", 1, 1, 9000)], ("a", 1, 1), None),  # what is not asked for is not refused
        ([("a", 1, 1, 9000)], ("b", 1, 1, 1600), None),  # let in when it was alone: of what is
        ([("a", 1, 1, 9000)], ("b", 1, 1, 1601), "characters"),  # above 4/5, nothing is counted
        ([("a", 1, 5000)], ("b", 1, 160), None),
        ([("a", 1, 5000)], ("b", 1, 161), "tokens"),
        ([("a", 900, 1)], ("b", 16, 1), None),
        ([("a", 900, 1)], ("b", 17, 1), "items"),
        ([("a", 1, 5000)], ("a", 1, 1), "tokens"),  # but all of it against its own next request
        ([("a", 20, 1)], ("b", 999, 1), None),  # a fifth is taken: room for a whole request,
        ([("a", 20, 1)], ("a", 999, 1), "items"),  # of who holds nothing
        ([("a", 21, 1)], ("b", 999, 1), "items"),
        ([("a", 20, 1), ("b", 999, 1)], ("c", 999, 1), "items"),  # one at a time
        ([("a", 80, 1), ("b", 16, 1), ("c", 3, 1)], ("d", 1, 1), None),  # full: who holds nothing
        ([("a", 80, 1), ("b", 16, 1), ("c", 3, 1)], ("d", 2, 1), "items"),  # is let in with little
        ([("a", 80, 1), ("b", 16, 1), ("c", 3, 1), ("d", 1, 1)], ("d", 1, 1), "items"),
    ],
)
def test_who_is_let_in(
    held: list[tuple[str, int, int]], asked: tuple[str, int, int], reason: str | None
) -> None:
    room = Room()
    for each in held:
        room.enter(*each)
    before = room.admission.held
    if reason is None:
        room.enter(*asked)
    else:
        with pytest.raises(QueueFull, match=f"{reason} are waiting") as refused:
            room.enter(*asked)
        assert refused.value.reason == reason
        assert room.admission.held == before  # all or none
    room.inside.close()
    assert (room.admission.held, room.admission.requests, room.admission.clients) == (Load(), 0, 0)


def test_one_client_leaves_room_for_however_many_come_after_it() -> None:
    room = Room()
    for _ in range(80):
        room.enter("greedy", 1, 10)
    with pytest.raises(QueueFull):
        room.enter("greedy", 1, 10)
    for n in range(8):
        room.enter(f"modest-{n}", 1, 10)


def test_a_request_is_counted_by_its_tokens_once_they_are_known() -> None:
    admission = Admission(LIMIT)
    with admission.admit("a", Load(2, 800, 5000)) as place:
        admission.settle("a", place, Load(2, 300))
        assert admission.held == Load(2, 300, 0)
    assert admission.held == Load()


def settled(admission: Admission, client: str, guess: Load, load: Load) -> ExitStack:
    """Let a request in by a guess, and replace that by what it holds."""
    inside = ExitStack()
    place = inside.enter_context(admission.admit(client, guess))
    admission.settle(client, place, load)
    return inside


def test_what_was_guessed_too_low_is_counted_up_to_the_share_of_whoever_holds_it() -> None:
    admission = Admission(LIMIT)
    with settled(admission, "a", Load(1, 10, 10), Load(1, 5000)):
        assert admission.held.tokens == 5000
        with admission.admit("b", Load(1, 160)), pytest.raises(QueueFull):  # 4/5 of what is left
            admission.admit("a", Load(1, 1)).__enter__()


def test_several_clients_whose_tokens_were_guessed_too_low_keep_nobody_else_out() -> None:
    admission, inside = Admission(LIMIT), ExitStack()
    with inside:
        for client in "abcdefgh":
            inside.enter_context(settled(admission, client, Load(1, 1, 1), Load(1, 5000)))
        inside.enter_context(admission.admit("next", Load(1, 7)))
        with pytest.raises(QueueFull):
            inside.enter_context(admission.admit("next", Load(1, 1)))
    assert (admission.held, admission.requests, admission.clients) == (Load(), 0, 0)


def test_little_is_let_in_up_to_a_crowd() -> None:
    admission, inside = Admission(Load(1000, 10**9, 0)), ExitStack()
    with inside:
        inside.enter_context(admission.admit("greedy", Load(5000, 1)))
        for n in range(CROWD - 1):
            inside.enter_context(admission.admit(f"modest-{n}", Load(1000 // CROWD, 1)))
        with pytest.raises(QueueFull):
            inside.enter_context(admission.admit("one too many", Load(1, 1)))


@pytest.mark.parametrize(("rate", "seconds"), [(None, 1), (1000.0, 1), (10.0, 25), (0.1, 60)])
def test_when_to_try_again_follows_the_measured_speed(rate: float | None, seconds: int) -> None:
    room = Room()
    room.admission.tokens_per_s.value = rate
    room.enter("a", 1, 800)
    with pytest.raises(QueueFull) as refused:
        room.enter("a", 1, 200)  # there is room once 250 tokens are worked off: 750 <= 4 * 250
    assert refused.value.retry_after_s == seconds


@pytest.mark.parametrize(
    ("rate", "within_s", "refused"),
    [
        (None, 0.001, False),  # nothing measured yet
        (100.0, 10.1, False),  # a's 600 wait, but b goes first with no more than its own 200
        (100.0, 9.9, True),  # expected to take 4.0, which is more than 0.4 of it
        (1e9, 0.001, False),
    ],
)
def test_what_cannot_be_answered_in_time_is_refused_at_once(
    rate: float | None, within_s: float, refused: bool
) -> None:
    room = Room()
    room.admission.tokens_per_s.value = rate
    room.enter("a", 1, 600)
    if refused:
        with pytest.raises(QueueFull, match=r"about 4\.0 s, too near to the 9\.9 s") as error:
            room.enter("b", 1, 200, within_s=within_s)
        assert error.value.reason == "deadline"
    else:
        room.enter("b", 1, 200, within_s=within_s)
        assert room.admission.requests == 2


def test_a_replica_that_stops_lets_nobody_in() -> None:
    room = Room()
    room.admission.stopping = True
    with pytest.raises(Stopping):
        room.enter("a", 1, 1)


def test_a_refusal_may_travel_between_processes() -> None:
    there = pickle.loads(pickle.dumps(QueueFull("full", 7, "items")))
    assert (str(there), there.retry_after_s, there.reason) == ("full", 7, "items")


def test_a_ratio_follows_its_newest_measurements() -> None:
    ratio = Ratio()
    ratio.observe(100, 1)
    assert ratio.value == 100
    for _ in range(60):
        ratio.observe(10, 1)
    assert ratio.value == pytest.approx(10, rel=0.05)


def test_a_ratio_is_unknown_until_both_sides_were_measured() -> None:
    ratio = Ratio()
    ratio.observe(0, 1)
    ratio.observe(1, 0)
    assert ratio.value is None
