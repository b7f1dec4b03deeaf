"""Thresholds: the probability at which a label is assigned, where a text may have several.

At one half as many labels as possible are right, and rare labels hardly ever assigned. Users are
judged by F1, whose best threshold is half of the best F1 (Lipton et al. 2014,
https://arxiv.org/abs/1402.1892), so lower. Each route's is fitted on dev, on scaled probabilities;
where a route has few texts with a label the one of all languages stands for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.format.problem import ASSIGNED
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.training.calibration.scaling import FOLDS, Scaling
from isogloss.training.calibration.temperatures import Answers, Floats
from isogloss.training.data.clades import lineages_of
from isogloss.training.evaluation.assigned import Assigned, Marks, measure_marks

FEWEST = 20
"""Texts that have a label, for a threshold of its own."""
_DIGITS = 4

Fitted = dict[str, dict[str, float]]
"""Route -> label -> threshold."""


def with_thresholds(table: RouteTable, thresholds: Fitted) -> RouteTable:
    """The same routes with other thresholds."""
    return RouteTable.model_validate({**dict(table), "thresholds": thresholds})


def fit_thresholds(answers: Answers, scaling: Scaling, table: RouteTable) -> Fitted:
    """The thresholds of each route.

    Args:
        answers: claims on dev, each by the prompt that the table routes its language to.
        scaling: what is done to each before it is judged.
        table: the routes.
    """
    probabilities, routes = probability(answers, scaling), _routes(answers, table)
    pooled = _fit(answers, probabilities, np.ones(len(routes), dtype=np.bool_), {})
    fitted = {
        route: _fit(answers, probabilities, routes == route, pooled)
        for route in table.by_clade
        if (routes == route).any()
    }
    return {route: own for route, own in fitted.items() if own}


def assigned(answers: Answers, scaling: Scaling, table: RouteTable) -> Assigned:
    """F1 of all claims at a table's thresholds."""
    return _measured(answers, probability(answers, scaling) >= _limits(answers, table))


def cross_fitted_assigned(answers: Answers, scaling: Scaling, table: RouteTable) -> Assigned:
    """F1 at thresholds that the other folds fitted: a text is in one with its translations."""
    folds = np.array([zlib.crc32(name.encode()) % FOLDS for name in answers.articles.tolist()])
    said = probability(answers, scaling) >= ASSIGNED
    for number in range(FOLDS):
        inside = folds == number
        if inside.any() and not inside.all():
            rest = fit_thresholds(answers.where(~inside), scaling.where(~inside), table)
            judged = answers.where(inside)
            limits = _limits(judged, with_thresholds(table, rest))
            said[inside] = probability(judged, scaling.where(inside)) >= limits
    return _measured(answers, said)


def probability(answers: Answers, scaling: Scaling) -> Floats:
    """(claims,): how likely each label is."""
    likely: Floats = np.exp(scaling.log_probs(answers)[:, 1])
    return likely


def _limits(answers: Answers, table: RouteTable) -> Floats:
    routes = _routes(answers, table).tolist()
    assert answers.claims is not None
    return np.array(
        [
            table.thresholds.get(route, {}).get(label, ASSIGNED)
            for route, label in zip(routes, answers.claims.tolist(), strict=True)
        ]
    )


def _routes(answers: Answers, table: RouteTable) -> NDArray[np.str_]:
    """(claims,): the route that answers each."""
    lines = lineages_of(set(answers.languages.tolist()))
    route_of = {code: table.route(line).clade or UNIVERSAL for code, line in lines.items()}
    return np.array([route_of[code] for code in answers.languages.tolist()])


def _fit(
    answers: Answers, probabilities: Floats, chosen: NDArray[Any], else_: Mapping[str, float]
) -> dict[str, float]:
    assert answers.claims is not None
    found: dict[str, float] = {}
    for label in answers.names:
        own = chosen & (answers.claims == label)
        right: NDArray[np.bool_] = answers.gold[own] == 1
        if right.sum() >= FEWEST:
            found[label] = best_threshold(probabilities[own], right)
        elif label in else_:
            found[label] = else_[label]
    return found


def best_threshold(probabilities: Floats, right: NDArray[np.bool_]) -> float:
    """Where F1 is highest, half way between two probabilities; of equals, the nearest to one half.

    >>> best_threshold(np.array([0.1, 0.2, 0.4, 0.9]), np.array([False, False, True, True]))
    0.3
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + right.sum())
    last = np.append(ranked[1:] < ranked[:-1], True)  # of equal probabilities, all are assigned
    below = np.append(ranked[1:], 0.0)
    places = np.flatnonzero(last & (f1 >= f1[last].max() - 1e-12))
    middles = (ranked[places] + below[places]) / 2
    best = float(middles[np.argmin(np.abs(middles - ASSIGNED))])
    return round(min(max(best, 10.0**-_DIGITS), 1 - 10.0**-_DIGITS), _DIGITS)


def _measured(answers: Answers, said: NDArray[np.bool_]) -> Assigned:
    shape = (-1, len(answers.names))  # claims lie text by text, label by label
    given: Marks = said.reshape(shape)
    gold: Marks = (answers.gold == 1).reshape(shape)
    return measure_marks(given, gold)
