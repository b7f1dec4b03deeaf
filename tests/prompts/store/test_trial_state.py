"""Whatever is published, tried, promoted, rolled back and deleted, trials stay what they say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.routing.trials import Trial, still_on_trial
from isogloss.prompts.store.changes import published, rolled_back, without
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.trial_changes import TrialPlan, begun, ended, promoted, trial_named
from tests.prompts import samples

MOOD = samples.card(task="mood")
PROMPTS = [
    *(samples.prompt(seed) for seed in (1, 2, 3, 4, 5)),
    *(samples.prompt(seed, of_card=MOOD) for seed in (6, 7)),
]
MOODY = PROMPTS[-1]
OF_DIGEST = {prompt.digest: prompt for prompt in PROMPTS}
NAMES = st.sampled_from(["a", "b", "c"])
CLADES = st.lists(st.sampled_from(["universal", "Romance", "Bantu"]), unique=True, max_size=2)
REFERENCES = st.sampled_from(["a", "b", "c", "a@1", "b@2"])
PLACES = st.integers(0, 2)
GIVEN = st.sampled_from(PROMPTS)

Change = Callable[[StoreState, datetime], StoreState]
Routed = dict[tuple[str, str], str]


def publish(name: str, prompt: SoftPrompt) -> Change:
    return lambda state, now: published(
        state, {name: prompt.digest}, (), OF_DIGEST.__getitem__, "", now
    )


def route(task: str, universal: str, clades: dict[str, str]) -> Change:
    table = RouteTable(model=samples.MODEL, task=task, universal=universal, clades=clades)
    return lambda state, now: published(state, {}, [table], OF_DIGEST.__getitem__, "", now)


def begin(name: str, prompt: SoftPrompt, share: float, clades: list[str]) -> Change:
    plan = TrialPlan("canary", share, tuple(clades))

    def change(state: StoreState, now: datetime) -> StoreState:
        following = begun(state, name, prompt, plan, OF_DIGEST.__getitem__, "", now)
        assert following.answering == state.answering
        trial = trial_named(following, name)
        assert following.digest_of(trial.candidate) == prompt.digest
        assert not clades or set(trial.clades) == set(clades)
        return following

    return change


def promote(place: int) -> Change:
    def change(state: StoreState, now: datetime) -> StoreState:
        trial = running(state, place)
        following = promoted(state, trial.name, OF_DIGEST.__getitem__, "", now)
        taken = {(trial.task, clade) for clade in trial.clades}
        candidate = state.digest_of(trial.candidate)
        before, after = routed(state), routed(following)
        assert after == {**before, **dict.fromkeys(taken, candidate)}
        assert following.trials == tuple(own for own in state.trials if own != trial)
        return following

    return change


def end(place: int) -> Change:
    def change(state: StoreState, now: datetime) -> StoreState:
        following = ended(state, running(state, place).name, None, "", now)
        assert following.answering == state.answering
        assert following.prompts == state.prompts
        return following

    return change


def running(state: StoreState, place: int) -> Trial:
    if not state.trials:
        raise NotFound("nothing is on trial")
    return state.trials[place % len(state.trials)]


def delete(name: str) -> Change:
    return lambda state, now: without(state, name, "", now)


CHANGES = st.one_of(
    st.builds(publish, NAMES, GIVEN),
    st.builds(
        route,
        st.sampled_from(["topic", "mood"]),
        REFERENCES,
        st.dictionaries(st.sampled_from(["Romance", "Bantu"]), REFERENCES),
    ),
    st.builds(begin, NAMES, GIVEN, st.sampled_from([0.05, 0.5, 1.0]), CLADES),
    st.builds(begin, NAMES, GIVEN, st.just(0.2), CLADES),
    st.builds(promote, PLACES),
    st.builds(end, PLACES),
    st.builds(delete, NAMES),
    st.integers(0, 20),  # how far to roll back
)


def routed(state: StoreState) -> Routed:
    """What answers for each task and clade."""
    return {
        (table.task, clade): state.digest_of(own)
        for table in state.routes
        for clade, own in table.by_clade.items()
    }


def check(state: StoreState) -> None:
    assert still_on_trial(state.trials, state.routes, state.digest_of) == state.trials
    names = [trial.name for trial in state.trials]
    assert names == sorted(set(names))
    taken = [(*trial.key, clade) for trial in state.trials for clade in trial.clades]
    assert len(set(taken)) == len(taken)
    assert all(trial.candidate.startswith(f"{trial.name}@") for trial in state.trials)
    assert state.format_version == (3 if state.trials else 2 if state.deleted else 1)
    assert StoreState.model_validate_json(state.to_json()) == state


@settings(max_examples=200, deadline=None)
@given(st.lists(CHANGES, min_size=12, max_size=40))
def test_trials_stay_what_they_say(changes: list[Change | int]) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    states = [StoreState(generation=0)]
    # Something to begin with: two tables, three names.
    begin_with = [publish(n, p) for n, p in zip("abc", [*PROMPTS[:2], MOODY], strict=True)]
    begin_with += [route("topic", "a", {"Romance": "b", "Bantu": "b"}), route("mood", "c", {})]
    for change in [*begin_with, *changes]:
        now += timedelta(seconds=1)
        try:
            states.append(changed(states, change, now))
        except (InvalidInput, NotFound):
            continue
        check(states[-1])


def changed(states: list[StoreState], change: Change | int, now: datetime) -> StoreState:
    if not isinstance(change, int):
        return change(states[-1], now)
    following = rolled_back(states[-1], states[-1 - change % len(states)], "", now)
    assert following.trials == ()
    return following
