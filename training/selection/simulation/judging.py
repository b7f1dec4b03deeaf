"""The rule's claims against the truth of simulated worlds, and its gains against other rules'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from isogloss.training.selection.choice import Rule, choose
from isogloss.training.selection.simulation.rules import simpler_routes
from isogloss.training.selection.simulation.worlds import World

_ENDS = (0.75, 0.85, 0.95, 1.0)  # of the bins of stated probabilities
ALL = "all"


@dataclass(frozen=True, slots=True)
class Claim:
    """One route: what was stated of it, and what is true. Gains as shares of accuracy."""

    kind: str
    probability: float
    expected: float
    gain: float

    @property
    def true(self) -> bool:
        """Does the route gain at all? One whose prompts are equally good does not."""
        return self.gain > 1e-9


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One row of calibration.csv: routes of worlds of a kind whose stated probability is alike."""

    world: str
    low: float
    high: float
    routes: int
    stated: float  # mean probability of a gain
    true: float  # share of routes that gain
    expected_points: float  # mean gain, as stated
    gain_points: float  # and in truth


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule came to in one world."""

    kind: str
    rule: str
    routes: int
    gain: float  # over the universal prompt, mean over languages
    attainable: float


@dataclass(frozen=True, slots=True)
class GainsRow:
    """One row of rules.csv: means over worlds of a kind, with 95 % intervals."""

    world: str
    rule: str
    worlds: int
    routes: float  # a world
    gain_points: float
    low: float
    high: float
    attainable_points: float


def judge(world: World, kind: str) -> tuple[list[Claim], list[Outcome]]:
    """Every route that the rule makes; and what each rule's routes gain over one prompt alone."""
    choice = choose(world.evidence, Rule())
    universal = choice.universal.prompt
    claims = [
        Claim(kind, d.gain.positive, d.gain.mean, world.gain_in(d.prompt, d.baseline, d.languages))
        for d in choice.decisions
        if d.routed
    ]
    attainable = world.attainable(universal)
    by_rule = {"this rule": choice.routes, **simpler_routes(world.evidence, universal)}
    outcomes = [
        Outcome(kind, rule, len(routes), world.gain(routes, universal), attainable)
        for rule, routes in by_rule.items()
    ]
    return claims, outcomes


def calibration(claims: Sequence[Claim]) -> list[CalibrationRow]:
    """By kind and all together; by bin and over all bins. Bins without routes are left out."""
    rows = []
    for kind in (*sorted({claim.kind for claim in claims}), ALL):
        of_kind = [claim for claim in claims if kind in (claim.kind, ALL)]
        for low, high in (*pairwise(_ENDS), (_ENDS[0], _ENDS[-1])):
            inside = [
                c for c in of_kind if low <= c.probability < high or c.probability == high == 1
            ]
            if inside:
                rows.append(_calibration_row(kind, low, high, inside))
    return rows


def _calibration_row(kind: str, low: float, high: float, claims: Sequence[Claim]) -> CalibrationRow:
    facts = [(c.probability, c.true, 100 * c.expected, 100 * c.gain) for c in claims]
    return CalibrationRow(kind, low, high, len(claims), *map(float, np.mean(facts, axis=0)))


def gains_rows(outcomes: Sequence[Outcome]) -> list[GainsRow]:
    """Every kind's rules."""
    rows = []
    for kind, rule in dict.fromkeys((each.kind, each.rule) for each in outcomes):
        inside = [each for each in outcomes if (each.kind, each.rule) == (kind, rule)]
        gains = 100 * np.array([each.gain for each in inside])
        mean, reach = float(gains.mean()), 1.96 * float(gains.std()) / np.sqrt(len(gains))
        routes = float(np.mean([each.routes for each in inside]))
        attainable = 100 * float(np.mean([each.attainable for each in inside]))
        ends = (mean, mean - reach, mean + reach)
        rows.append(GainsRow(kind, rule, len(inside), routes, *ends, attainable))
    return rows
