"""`isogloss prompts promote` and `trials`, and what `publish` and `rollback` take for trials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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
_LIMITS = ("min_agreement", "max_score_drop", "max_latency_ratio", "min_texts")
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


@dataclass(frozen=True)
class TrialOptions:
    """What `publish` takes to put a prompt on trial."""

    canary: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Only try it: it answers this share, such as 5%, of the texts of each --route (by "
            "default: of those that take the name).",
        ),
    ] = None
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Only try it: it is scored beside what answers those texts."),
    ] = False
    share: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Of the texts, for --shadow; by default 100%."),
    ] = None
    min_agreement: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", help="Servers end the trial if the prompts agree on fewer labels."
        ),
    ] = None
    max_score_drop: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="... if its best scores lie further below, on average."),
    ] = None
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(metavar="RATIO", help="... if its texts take more than this times as long."),
    ] = None
    min_texts: Annotated[
        int | None,
        typer.Option(min=1, help="... but after this many texts of a clade (200)."),
    ] = None

    def plan(self, clades: Sequence[str]) -> TrialPlan | None:
        """What a person wants tried; None where nothing is to be.

        Raises:
            InvalidInput: the options contradict each other, or one cannot be read.
        """
        from isogloss.prompts.store.trial_changes import TrialPlan

        canary, share = self.canary, self.share
        if canary is not None and self.shadow:
            raise InvalidInput(f"--canary {canary} and --shadow: a trial is one of them")
        if share is not None and not self.shadow:
            raise InvalidInput(
                f"--share {share} is for --shadow: a canary's share is --canary SHARE"
            )
        if canary is not None:
            part = parse_share("--canary", canary)
            return TrialPlan("canary", part, tuple(clades), self.limits())
        if self.shadow:
            part = parse_share("--share", "100%" if share is None else share)
            return TrialPlan("shadow", part, tuple(clades), self.limits())
        if given := self._limits_given():
            raise InvalidInput(
                f"{_option(next(iter(given)))} is for a trial: give --canary or --shadow"
            )
        return None

    def limits(self) -> TrialLimits | None:
        """When servers end the trial by themselves; None where no limit is given.

        Raises:
            InvalidInput: one cannot be read or is out of its range, or there is only --min-texts.
        """
        from isogloss.prompts.routing.trials import TrialLimits

        given = self._limits_given()
        if not given:
            return None
        if set(given) == {"min_texts"}:
            raise InvalidInput(
                f"--min-texts {self.min_texts} alone ends no trial: give --min-agreement, "
                "--max-score-drop or --max-latency-ratio"
            )
        for name in _SHARES:
            if name in given:
                given[name] = parse_share(_option(name), str(given[name]))
        ratio = given.get("max_latency_ratio", 1.0)
        if not 0 < float(ratio) < float("inf"):
            raise InvalidInput(f"--max-latency-ratio {ratio}: it must be above 0, such as 1.5")
        return TrialLimits.model_validate(given)

    def _limits_given(self) -> dict[str, str | float]:
        return {name: value for name in _LIMITS if (value := getattr(self, name)) is not None}


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
