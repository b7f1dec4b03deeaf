"""How trials begin, are promoted and end: from one generation to the next.

Everything here is pure, as in `prompts.store.state`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.routing.routes import RouteTable, check_name
from isogloss.prompts.routing.trials import Trial, TrialKind, TrialLimits, trial_of
from isogloss.prompts.store.changes import published
from isogloss.prompts.store.checks import check_candidate
from isogloss.prompts.store.state import StoreState


@dataclass(frozen=True)
class TrialPlan:
    """What a trial is to be: see `Trial`. Without clades, or limits, `begun` says which.

    Raises:
        InvalidInput: the kind or the share is none.
    """

    kind: TrialKind
    share: float
    clades: tuple[str, ...] = ()
    limits: TrialLimits | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(TrialKind):
            raise InvalidInput(f"kind {self.kind!r}: a trial is a canary or a shadow")
        if not 0 < self.share <= 1:
            raise InvalidInput(
                f"share {self.share!r}: a trial takes more than 0 and at most 1 (100 %) of texts"
            )


def begun(
    state: StoreState,
    name: str,
    prompt: Prompt,
    plan: TrialPlan,
    prompt_of: Callable[[str], Prompt],
    note: str,
    now: datetime,
) -> StoreState:
    """Return the next generation, with a prompt as a version of a name, on trial, not current.

    Without clades it is on trial for those it is on trial for already, else for those whose route
    takes the bare name: the ones that a publish of it would change. A name has one trial: the same
    content again changes what is given (and keeps clades, limits and `started_at` where nothing
    is), other content takes its place.

    Raises:
        InvalidInput: the name is malformed; there is no route table for the prompt's model and
            task; a clade has no route, none is named, or it is the candidate's or another trial's.
        InvalidPrompt: the prompt does not fit the table, or does not follow the text.
    """
    entry = state.holding(name, prompt.digest, now)
    candidate = f"{name}@{entry.number_of(prompt.digest)}"
    table = _table_for(state, name, prompt)
    same = next((trial for trial in state.trials if trial.candidate == candidate), None)
    trial = Trial(
        name=name,
        candidate=candidate,
        fingerprint=table.model.fingerprint,
        task=table.task,
        kind=plan.kind,
        share=plan.share,
        clades=_clades(table, name, plan.clades or (same.clades if same else ())),
        limits=plan.limits or (same.limits if same else None),
        started_at=same.started_at if same else now,
    )
    others = tuple(other for other in state.trials if other.name != name)
    _check_free(trial, others)
    following = state.followed_by(
        note, now, prompts={**state.prompts, name: entry}, trials=(*others, trial)
    )
    _check_not_answering(trial, table, following.digest_of)
    check_candidate(table, trial, following.digest_of, prompt_of)
    return following


def promoted(
    state: StoreState,
    name: str,
    prompt_of: Callable[[str], Prompt],
    note: str,
    now: datetime,
) -> StoreState:
    """Return the next generation, in which a candidate answers for its clades, its trial over.

    It becomes what the bare name means, and its clades take the bare name. Only where a route
    outside the trial takes that too, it keeps its meaning, for nobody has tried the candidate
    there, and the trial's clades take `name@version`. What was measured with the prompts that
    answered before is forgotten.

    Raises:
        NotFound: the name is not on trial.
        InvalidPrompt: a prompt of the route table does not fit it.
    """
    trial = trial_named(state, name)
    tables = {table.key: table for table in state.routes}
    elsewhere = any(
        table.key != trial.key or clade not in trial.clades
        for table in state.routes
        for clade in table.answered_by({name})
    )
    reference = trial.candidate if elsewhere else name
    digests = {} if elsewhere else {name: state.digest_of(trial.candidate)}
    table = tables[trial.key].with_routes(reference, trial.clades)
    # Published routes that the candidate answers end its trial.
    return published(state, digests, [table], prompt_of, note, now)


def ended(
    state: StoreState,
    name: str,
    candidate: str | None,
    note: str,
    now: datetime,
    begun_at: datetime | None = None,
) -> StoreState:
    """Return the next generation without a name's trial; its version stays.

    Given a candidate (`name@version`) that is not on trial, or not since `begun_at`, return `state`
    itself: in a store that was restored, it may be another prompt's.

    Raises:
        NotFound: no candidate is given, and the name is not on trial.
    """
    if candidate is not None and not any(
        trial.candidate == candidate and begun_at in (None, trial.started_at)
        for trial in state.trials
    ):
        return state
    over = trial_named(state, name)
    left = tuple(trial for trial in state.trials if trial != over)
    return state.followed_by(note, now, trials=left)


def trial_named(state: StoreState, name: str) -> Trial:
    """Return the trial of a name.

    Raises:
        InvalidInput: the name is malformed.
        NotFound: it has none.
    """
    for trial in state.trials:
        if trial.name == check_name(name):
            return trial
    running = ", ".join(trial.candidate for trial in state.trials) or "nothing"
    raise NotFound(
        f"prompt {check_name(name)!r} is not on trial in generation {state.generation}; on trial: "
        f"{running}"
    )


def _table_for(state: StoreState, name: str, prompt: Prompt) -> RouteTable:
    card = prompt.card
    table = state.routes_for(card.model.fingerprint, card.task)
    if table is None:
        raise InvalidInput(
            f"there is no route table for {card.model.id} and task {card.task!r}, so nothing "
            f"answers beside which {name!r} could be tried: publish it with --route universal"
        )
    return table


def _clades(table: RouteTable, name: str, clades: Sequence[str]) -> tuple[str, ...]:
    """Return the clades of a trial, in the table's order."""
    routes = table.by_clade
    known = f"{table.model.id}, task {table.task!r}, has routes for {', '.join(routes)}"
    for clade in clades:
        if clade not in routes:
            raise InvalidInput(
                f"clade {clade!r} has no route of its own to try a prompt on; {known}: give one of "
                "these, or first route it to the prompt that answers it now"
            )
    named = clades or table.answered_by({name})
    if not named:
        raise InvalidInput(
            f"no route takes {name!r} yet: give --route for each clade of its trial; {known}"
        )
    return tuple(clade for clade in routes if clade in named)


def _check_free(trial: Trial, others: Sequence[Trial]) -> None:
    for clade in trial.clades:
        if other := trial_of(others, *trial.key, clade):
            raise InvalidInput(
                f"clade {clade!r} has {other.candidate!r} on trial, and one at a time: `isogloss "
                f"prompts promote {other.name}` or `isogloss prompts rollback --trial "
                f"{other.name}` ends that"
            )


def _check_not_answering(trial: Trial, table: RouteTable, digest_of: Callable[[str], str]) -> None:
    digest = digest_of(trial.candidate)
    same = [clade for clade in trial.clades if digest_of(table.by_clade[clade]) == digest]
    if same:
        raise InvalidInput(
            f"{trial.candidate!r} is already what answers for {', '.join(same)}: there is nothing "
            "to try; give another file, or other clades with --route"
        )
