"""Waiting until every replica serves what was published: the very generation, or a later one."""

from __future__ import annotations

import time
from dataclasses import replace

from isogloss.prompts.errors import StoreError, Unavailable
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.registry.replicas import Reporter, Wanted

_RETRY_S = 0.1


def wait_until_served(
    store: PromptStore, reporter: Reporter, generation: GenerationId, limit_s: float
) -> None:
    """Return once every replica serves a generation, or a later one of the same history.

    Raises:
        Unavailable: a replica does not in time, or the store does not hold the generation any more.
    """
    reporter.poll()
    give_up_s = time.monotonic() + limit_s
    wanted, behind = Wanted(generation), ["no replica has said what it serves"]
    while behind:
        wanted, behind = _wait(store, reporter, wanted, max(0.0, give_up_s - time.monotonic()))
        if behind and time.monotonic() > give_up_s:
            raise Unavailable(
                f"generation {generation.number} is published, but after {limit_s:g} s "
                f"{'; '.join(behind)}; the others serve it; look at its log, or roll back"
            )


def _wait(
    store: PromptStore, reporter: Reporter, wanted: Wanted, limit_s: float
) -> tuple[Wanted, list[str]]:
    """Return what is known by now, and who does not serve it, as far as the board tells."""
    try:
        behind = reporter.board.wait_for(wanted, limit_s)
        wanted = _looked_up(store, wanted, wanted.unknown(behind))
        return wanted, [str(each) for each in wanted.behind(behind)]
    except StoreError as unread:
        problem = str(unread)
    except _Gone:
        raise
    except Unavailable as silent:
        problem = str(silent)
    time.sleep(_RETRY_S)
    return wanted, [problem]


class _Gone(Unavailable):
    """What was published is not in the store any more."""


def _looked_up(store: PromptStore, wanted: Wanted, higher: frozenset[GenerationId]) -> Wanted:
    """Find out which of these generations come after the one that is wanted, in one history.

    Raises:
        StoreError: the store cannot be read.
    """
    if not higher:
        return wanted
    if not store.generations.holds(wanted.generation):
        raise _Gone(
            f"{wanted.generation} was published, but prompt store {store.location} was replaced "
            "since and does not hold it; look at what it holds, and publish again"
        )
    later = frozenset(each for each in higher if store.generations.holds(each))
    return replace(
        wanted, later=wanted.later | later, strangers=wanted.strangers | (higher - later)
    )
