"""`isogloss prompts promote` and `trials`, and what `publish` and `rollback` take for trials."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.cli.options import AsJson, Note, RequestId, Store
from isogloss.prompts.console.console import report
from isogloss.prompts.errors import InvalidInput

if TYPE_CHECKING:
    from isogloss.prompts.routing.trials import Trial, TrialLimits
    from isogloss.prompts.store.store import PromptStore
    from isogloss.prompts.store.trial_changes import TrialPlan

_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(%?)")
_PERCENT = 100
_SHARES = ("min_agreement", "max_score_drop")


def promote(
    name: Annotated[str, typer.Argument(help="Name of a prompt that is on trial.")],
    note: Note = "",
    request_id: RequestId = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """End a trial: its candidate answers for the trial's clades from now on."""
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    state = opened.promote(name, note, request_id=request_id)
    generation = state.generation_of(request_id)
    trial = trial_before(opened, generation, name)
    answer = {
        "store": opened.location,
        "generation": generation,
        "promoted": trial.candidate,
        "digest": state.digest_of(trial.candidate),
        "clades": [*trial.clades],
    }
    told = f"generation {generation}: {trial.candidate} answers {', '.join(trial.clades)}"
    report(answer, as_json, told)


def trials(store: Store = None, as_json: AsJson = False) -> None:
    """List what is on trial: where, for which share of the texts, and when it ends by itself."""
    from isogloss.prompts.cli import tables
    from isogloss.prompts.store import listing
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    report(listing.trials(opened, opened.state()), as_json, tables.trials)


def end_trial(
    name: str, note: str, request_id: str | None, store: Path | None, as_json: bool
) -> None:
    """End one trial: `isogloss prompts rollback --trial NAME`."""
    from isogloss.prompts.store.store import open_store

    opened = open_store(store)
    generation = opened.end_trial(name, note, request_id=request_id).generation_of(request_id)
    candidate = trial_before(opened, generation, name).candidate
    answer = {"store": opened.location, "generation": generation, "ended": candidate}
    told = f"generation {generation}: {candidate} is not on trial any more"
    report(answer, as_json, told)


def trial_before(store: PromptStore, generation: int, name: str) -> Trial:
    """Return the trial of a name that a generation ended.

    Raises:
        NotFound: the generation before it is not kept any more.
    """
    from isogloss.prompts.store.trial_changes import trial_named

    return trial_named(store.state(generation - 1), name)


def plan_of(
    canary: str | None,
    shadow: bool,
    share: str | None,
    clades: Sequence[str],
    limits: Mapping[str, str | float | None],
) -> TrialPlan | None:
    """Read the options of a trial; None where there is to be none.

    Raises:
        InvalidInput: they contradict each other, or one cannot be read.
    """
    from isogloss.prompts.store.trial_changes import TrialPlan

    if canary is not None and shadow:
        raise InvalidInput(f"--canary {canary} and --shadow: a trial is one of them")
    if share is not None and not shadow:
        raise InvalidInput(f"--share {share} is for --shadow: a canary's share is --canary SHARE")
    if canary is None and not shadow:
        if given := [name for name, value in limits.items() if value is not None]:
            raise InvalidInput(f"{_option(given[0])} is for a trial: give --canary or --shadow")
        return None
    if canary is not None:
        part = parse_share("--canary", canary)
        return TrialPlan("canary", part, tuple(clades), limits_of(limits))
    part = parse_share("--share", "100%" if share is None else share)
    return TrialPlan("shadow", part, tuple(clades), limits_of(limits))


def limits_of(limits: Mapping[str, str | float | None]) -> TrialLimits | None:
    """Read the limits of a trial by field; None where none is given.

    Raises:
        InvalidInput: one cannot be read or is out of its range, or there is only --min-texts.
    """
    from isogloss.prompts.routing.trials import TrialLimits

    given = {name: value for name, value in limits.items() if value is not None}
    if not given:
        return None
    if set(given) == {"min_texts"}:
        raise InvalidInput(
            f"--min-texts {given['min_texts']} alone ends no trial: give --min-agreement, "
            "--max-score-drop or --max-latency-ratio"
        )
    for name in _SHARES:
        if name in given:
            given[name] = parse_share(_option(name), str(given[name]))
    ratio = given.get("max_latency_ratio", 1.0)
    if not 0 < float(ratio) < float("inf"):
        raise InvalidInput(f"--max-latency-ratio {ratio}: it must be above 0, such as 1.5")
    return TrialLimits.model_validate(given)


def parse_share(option: str, text: str) -> float:
    """Read "5%" or "0.05" as 0.05.

    Raises:
        InvalidInput: it is something else, 0, or more than all.
    """
    given = _SHARE.fullmatch(text.strip())
    share = Decimal(given[1]) / (_PERCENT if given[2] else 1) if given else Decimal(0)
    if not 0 < share <= 1:
        raise InvalidInput(
            f"{option} {text!r} must be a share above 0 and at most 1, such as 5% or 0.05"
        )
    return float(share)


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
