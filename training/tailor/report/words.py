"""Sentences and numbers of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.training.data.clades import name_of
from isogloss.training.tailor.report.reading import Gain, Run


def headline(run: Run) -> str:
    """What is routed where, and what that gains, in a sentence or two."""
    clades = list(run.table["clades"])
    universal = run.table["universal"]
    if not clades:
        said = f"Every language is answered by one prompt, {universal}: no clade can be shown to "
        said += "do better with another."
    else:
        said = f"{listed(clades)} get prompts of their own; all else is answered by {universal}."
    if run.overall is None:
        return f"{said} Without a test split nothing can be said of what that gains."
    if not clades:
        return said
    return f"{said} On test, routes gain {told(run.overall)} over the universal prompt."


def short(model: str) -> str:
    """A model's name without its folder or owner."""
    return model.rstrip("/").rpartition("/")[2] or model


def told(gain: Gain) -> str:
    """A gain with its interval."""
    return f"{gain.points:+.1f} points (95 %: {gain.low:.1f} to {gain.high:.1f})"


def listed(names: Sequence[str]) -> str:
    """Some names, as a person lists them."""
    shown = [name.replace("_", " ") for name in names[:5]]
    more = len(names) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def names(codes: Sequence[str]) -> str:
    """Languages by name."""
    return ", ".join(name_of(code) for code in codes)


def lasting(seconds: float) -> str:
    """A duration, in the unit that one would say it in."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def percent(share: str | float | None) -> str:
    """A share of 1 in percent; nothing where there is none."""
    return f"{100 * float(share):.1f}" if share not in (None, "") else ""


def spared(facts: Mapping[str, Any]) -> str:
    """How long the job took, beside what the plan foretold."""
    predicted = sum(step["predicted_seconds"] for step in facts["steps"])
    took = sum(step["seconds"] for step in facts["steps"])
    return f"{len(facts['steps'])} steps in {lasting(took)} ({lasting(predicted)} predicted)"


def hardly_known(facts: Mapping[str, Any]) -> list[str]:
    """Languages that the model read next to nothing of."""
    return [
        language["name"] for language in facts["languages"].values() if language["hardly_known"]
    ]
