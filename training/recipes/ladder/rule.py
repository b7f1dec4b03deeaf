"""Which rung of the ladder ships, decided on dev.

The rule, written down before test was looked at:

1. Take the largest alpha at which English and the ten best-fed languages are not under today's even
   model, and the routed mean over the model's own languages is no more than 6 points under it.
2. If its gain over the best single prompt is not surely above zero, take the smallest alpha at
   which it is, as long as no language of the model is under 30 %.
3. If none is, the even models stay.

"Not under" is not surely under: the paired interval reaches zero. English and the mean of the ten
are asked each. Both sides answer as served, with ensembles and label priors. The gain is
cross-fitted over articles (`served_dev`): routes are measured where they were not chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

MOST_UNDER = 6.0  # points
LEAST_PERCENT = 30.0
_DECIMALS = 6  # so that the last bits of a mean of nothing but zeros decide nothing


@dataclass(frozen=True, slots=True)
class Difference:
    """Points of accuracy on dev, with a paired 95 % interval."""

    points: float
    low: float
    high: float

    @property
    def surely_under(self) -> bool:
        """Below zero with its whole interval."""
        return self.high < 0

    def __str__(self) -> str:
        return f"{self.points:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


@dataclass(frozen=True, slots=True)
class DevRung:
    """What the rule asks of one alpha."""

    alpha: float
    english: Difference  # over today's even model
    ten_best_fed: Difference
    own_languages: Difference
    gain: Difference  # routes over the best single prompt, cross-fitted
    weakest: str
    weakest_percent: float

    @property
    def serves_well(self) -> bool:
        """The rule's first sentence."""
        well_fed = not (self.english.surely_under or self.ten_best_fed.surely_under)
        return well_fed and self.own_languages.points >= -MOST_UNDER

    @property
    def gains(self) -> bool:
        """Surely above zero."""
        return round(self.gain.low, _DECIMALS) > 0

    @property
    def leaves_nobody(self) -> bool:
        """No language of the model is under 30 %."""
        return self.weakest_percent >= LEAST_PERCENT


Step = Literal["largest that serves well", "smallest that gains", "even models stay"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The rung that ships, or None; and by which of the rule's sentences."""

    alpha: float | None
    step: Step


def decide(rungs: Sequence[DevRung]) -> Decision:
    """Apply the rule to one architecture's ladder; rungs with alpha 0 are even models."""
    fed = sorted((rung for rung in rungs if rung.alpha > 0), key=lambda rung: rung.alpha)
    well = [rung for rung in fed if rung.serves_well]
    if well and well[-1].gains:
        return Decision(well[-1].alpha, "largest that serves well")
    gaining = [rung for rung in fed if rung.gains and rung.leaves_nobody]
    if gaining:
        return Decision(gaining[0].alpha, "smallest that gains")
    return Decision(None, "even models stay")


_COLUMNS: dict[str, Callable[[DevRung], str]] = {
    "alpha": lambda rung: f"{rung.alpha:g}",
    "English": lambda rung: str(rung.english),
    "ten best-fed": lambda rung: str(rung.ten_best_fed),
    "own languages": lambda rung: str(rung.own_languages),
    "gain over best single": lambda rung: str(rung.gain),
    "weakest": lambda rung: f"{rung.weakest} {rung.weakest_percent:.1f} %",
    "serves well": lambda rung: "yes" if rung.serves_well else "no",
    "gains": lambda rung: "yes" if rung.gains else "no",
}


def explained(architecture: str, rungs: Sequence[DevRung]) -> str:
    """The decision with its numbers, as Markdown."""
    decision = decide(rungs)
    ships = "the even model" if decision.alpha is None else f"alpha {decision.alpha:g}"
    rows = [
        "| " + " | ".join(cell(rung) for cell in _COLUMNS.values()) + " |"
        for rung in sorted(rungs, key=lambda rung: rung.alpha)
    ]
    header = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    return "\n".join([f"{architecture}: {ships} ({decision.step})", "", *header, *rows])
