"""Predictions as a server answers them: with the label prior of the language's route taken off.

Temperatures change no label, so they have no part here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.routing.routes import Route, RouteTable, parse_reference
from isogloss.training.data.clades import lineages_of
from isogloss.training.evaluation.predictions import Prediction

_SUFFIX = ".prior"
_LONGEST_NAME = 64


def routes_of(table: RouteTable, codes: Iterable[str]) -> dict[str, Route]:
    """Which route answers each language, and with which prior."""
    return {code: table.route(line, code) for code, line in lineages_of(set(codes)).items()}


def as_served(row: Prediction, route: Route) -> Prediction:
    """What a route's prompt answers once its prior is taken off.

    Raises:
        InvalidData: the prediction has no scores.
    """
    if not route.prior:
        return row
    if not row.log_probs:
        raise InvalidData(
            "routes have label priors, and these predictions have no scores to take them off; "
            "evaluate again with --scores"
        )
    left = {label: said - route.prior.get(label, 0.0) for label, said in row.log_probs.items()}
    return row.answering(left)


def with_served(
    rows: Sequence[Prediction], table: RouteTable
) -> tuple[list[Prediction], dict[str, str]]:
    """Add what priors make of prompts, as prompts of their own, and say which answers where.

    Returns:
        The predictions with those of `<prompt>.prior`, which in languages without a prior answers
        as the prompt does; and language -> the prompt, or the other where its route has a prior.
    """
    routes = routes_of(table, (row.language for row in rows))
    names = {row.prompt for row in rows}
    chosen = {code: evaluated_name(route.reference, names) for code, route in routes.items()}
    leaning = {chosen[code] for code, route in routes.items() if route.prior}
    served = [
        replace(_answered(row, routes[row.language], chosen), prompt=_called(row.prompt))
        for row in rows
        if row.prompt in leaning
    ]
    priors = {code for code, route in routes.items() if route.prior}
    return [*rows, *served], {
        code: _called(name) if code in priors else name for code, name in chosen.items()
    }


def _answered(row: Prediction, route: Route, chosen: Mapping[str, str]) -> Prediction:
    return as_served(row, route) if chosen[row.language] == row.prompt else row


def evaluated_name(reference: str, names: Container[str]) -> str:
    """A route's prompt as it was evaluated: with its version, or else without."""
    bare, _ = parse_reference(reference)
    return reference if reference in names else bare


def _called(name: str) -> str:
    return name[: _LONGEST_NAME - len(_SUFFIX)] + _SUFFIX
