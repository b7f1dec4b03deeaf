"""What serving does to scores: the label prior is taken off, then the temperature divides.

Priors come from unlabelled text, and dev decides for each route whether its priors are used: where
they make more answers right, by a paired bootstrap over articles. Half of a prior may be taken
off instead: texts are not spread evenly over the labels, and what a prompt rightly says often is
worth keeping. Temperatures are fitted after them. Dev itself is judged by what the other folds
decided and fitted.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.routing.routes import UNIVERSAL, RouteEvidence, RouteTable
from isogloss.training.calibration.priors import Learned, flat
from isogloss.training.calibration.temperatures import Answers, Floats, fit, with_temperatures
from isogloss.training.data.clades import lineages_of

FOLDS = 5
MIN_PROBABILITY = 0.75
STRENGTHS = (0.5, 1.0)
"""How much of a prior may be taken off: some prompts gain most by all of it, some by half."""
_DRAWS = 4000
_AT_ONCE = 100  # draws: bounds the memory
_TIE = 1e-9


@dataclass(frozen=True, eq=False, slots=True)
class Scaling:
    """What is done to each row's scores."""

    priors: Floats  # (rows, labels), taken off
    temperatures: Floats  # (rows,), divide

    @classmethod
    def none(cls, answers: Answers) -> Self:
        """Scores as the model gives them."""
        return cls(np.zeros(answers.log_probs.shape), np.ones(len(answers.gold)))

    @classmethod
    def served(cls, answers: Answers, table: RouteTable) -> Self:
        """What serving would do by this table."""
        lineages = lineages_of(set(answers.languages.tolist()))
        routes = {code: table.route(lineage, code) for code, lineage in lineages.items()}
        priors = {
            code: [(route.prior or {}).get(label, 0.0) for label in answers.labels]
            for code, route in routes.items()
        }
        codes = answers.languages.tolist()
        return cls(
            np.array([priors[code] for code in codes]).reshape(answers.log_probs.shape),
            np.array([routes[code].temperature for code in codes]),
        )

    def where(self, chosen: NDArray[Any]) -> Scaling:
        """That of some of the rows."""
        return Scaling(self.priors[chosen], self.temperatures[chosen])

    def log_probs(self, answers: Answers) -> Floats:
        """Scaled log-probabilities: (rows, labels)."""
        return answers.without(self.priors).scaled(self.temperatures)


@dataclass(frozen=True, slots=True)
class PriorRule:
    """Learned priors, and how probable it must be that they make more answers of a route right."""

    learned: Learned
    min_probability: float = MIN_PROBABILITY


@dataclass(frozen=True, slots=True)
class PriorDecision:
    """Whether a route's priors are used, and why. Accuracies, gains: shares; languages alike."""

    route: str
    used: bool
    strength: float  # of those tried, the one with most right answers
    languages: tuple[str, ...]
    sentences: int
    without: float
    with_prior: float
    gain: float
    interval: tuple[float, float]  # 95 %, of the gain
    probability: float  # that the gain is above zero


def fitted(
    answers: Answers, table: RouteTable, rule: PriorRule | None
) -> tuple[RouteTable, tuple[PriorDecision, ...]]:
    """The table with the priors that dev accepts, and with temperatures fitted after them.

    Args:
        answers: on dev, each by the prompt that the table routes its language to.
        table: the routes; without a rule, the priors that it has stay.
        rule: what to choose priors from; those that the table has go.
    """
    decisions = () if rule is None else decide(answers, table, rule)
    if rule is not None:
        used = {decision.route: decision.strength for decision in decisions if decision.used}
        table = _with_priors(table, rule.learned, used)
    rest = answers.without(Scaling.served(answers, table).priors)
    return with_temperatures(table, fit(rest, table)), decisions


def cross_fitted(answers: Answers, table: RouteTable, rule: PriorRule | None = None) -> Scaling:
    """What is done to each row by what the other folds chose and fitted.

    A sentence is in one fold with its translations and its article, so that none is judged by what
    it taught.
    """
    fold = np.array([zlib.crc32(name.encode()) % FOLDS for name in answers.articles.tolist()])
    scaling = Scaling.none(answers)
    for number in range(FOLDS):
        judged, rest = answers.where(fold == number), answers.where(fold != number)
        if len(judged.gold) and len(rest.gold):
            served = Scaling.served(judged, fitted(rest, table, rule)[0])
            scaling.priors[fold == number] = served.priors
            scaling.temperatures[fold == number] = served.temperatures
    return scaling


def decide(answers: Answers, table: RouteTable, rule: PriorRule) -> tuple[PriorDecision, ...]:
    """Ask dev about each route that there are priors of and answers by."""
    lineages = lineages_of(set(answers.languages.tolist()))
    route_of = {code: table.route(line).clade or UNIVERSAL for code, line in lineages.items()}
    routes = np.array([route_of[code] for code in answers.languages.tolist()])
    learned = rule.learned.priors
    priors = Scaling.served(
        answers, _with_priors(table, rule.learned, dict.fromkeys(learned, 1.0))
    ).priors
    return tuple(
        _decide(route, answers.where(chosen), priors[chosen], rule.min_probability)
        for route in learned
        if (chosen := routes == route).any()
    )


def _decide(route: str, before: Answers, priors: Floats, min_probability: float) -> PriorDecision:
    codes, language, counts = np.unique(before.languages, return_inverse=True, return_counts=True)
    share = 1 / counts[language] / len(codes)  # (rows,): each language weighs the same
    right = {each: before.without(each * priors).correct.astype(float) for each in STRENGTHS}
    strength = max(STRENGTHS, key=lambda each: share @ right[each])
    changes = share * (right[strength] - before.correct)
    _, article = np.unique(before.articles, return_inverse=True)
    by_article: Floats = np.bincount(article, changes).astype(np.float64)
    drawn = _bootstrap(by_article)
    gain = float(changes.sum())
    probability = float((drawn > _TIE).mean() + (np.abs(drawn) <= _TIE).mean() / 2)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return PriorDecision(
        route=route,
        used=gain > _TIE and probability >= min_probability,
        strength=strength,
        languages=tuple(codes.tolist()),
        sentences=len(before.gold),
        without=float(share @ before.correct),
        with_prior=float(share @ right[strength]),
        gain=gain,
        interval=(low, high),
        probability=probability,
    )


def _bootstrap(by_article: Floats) -> Floats:
    """The gain in draws of as many articles with replacement: (draws,)."""
    count, draw = len(by_article), np.random.default_rng(0)
    shares = np.full(count, 1 / count)
    batches = (draw.multinomial(count, shares, _AT_ONCE) for _ in range(_DRAWS // _AT_ONCE))
    return np.concatenate([batch @ by_article for batch in batches])


def _with_priors(table: RouteTable, learned: Learned, strengths: Mapping[str, float]) -> RouteTable:
    return RouteTable.model_validate({**dict(table), "priors": flat(learned.priors, strengths)})


def with_evidence(
    table: RouteTable, decisions: Sequence[PriorDecision], rule: PriorRule
) -> RouteTable:
    """The same table, where the evidence of each route that was decided tells of its prior."""
    told = {decision.route: _facts(decision, rule) for decision in decisions}
    evidence = {one.clade or UNIVERSAL: _without_prior(one) for one in table.evidence}
    prompts = table.by_clade
    for route, facts in told.items():
        clade = None if route == UNIVERSAL else route
        known = evidence.get(route, RouteEvidence(clade=clade, prompt=prompts[route]))
        evidence[route] = known.model_copy(update={"prior": facts})
    return RouteTable.model_validate({**dict(table), "evidence": tuple(evidence.values())})


def _facts(decision: PriorDecision, rule: PriorRule) -> dict[str, Any]:
    facts = {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(decision).items()}
    facts["languages"] = list(decision.languages)  # as JSON gives it back
    facts["interval"] = [round(end, 5) for end in decision.interval]
    facts["min_probability"] = rule.min_probability
    texts = rule.learned.texts
    facts["texts"] = {
        name: texts[name] for name in rule.learned.priors[decision.route] if name in texts
    }
    del facts["route"]
    return facts


def _without_prior(one: RouteEvidence) -> RouteEvidence:
    facts = one.model_dump()
    facts.pop("prior", None)
    return RouteEvidence(**facts)
