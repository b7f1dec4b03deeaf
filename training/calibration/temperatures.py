"""Temperatures: what label logits are divided by, so that scores are as often right as they say.

Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599), fitted by maximum
likelihood on dev sentences, each answered by the prompt its language is routed to. There is one
temperature for each route and for each clade below it that has evidence. Thin evidence backs off:
a clade's logarithm is drawn to its parent's by a normal prior, a route's to that of all sentences
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.problem import labels_in_cell, split_labels
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.training.data.articles import articles_of
from isogloss.training.data.clades import branching_clades, lineages_of
from isogloss.training.evaluation.predictions import Prediction

SPREAD = 0.2
"""How far a clade's log-temperature is expected from its parent's (a standard deviation). Of
0.05 to 3, 0.1 and 0.2 are likeliest by cross-validation on both pocket models' dev answers."""
_MOST = 3.0  # of the logarithm: temperatures stay within 1/20 and 20
_DIGITS = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What the routed prompts said, a row for each language and sentence.

    `log_probs`: (rows, labels), natural logarithms; `gold`: (rows,), the right label's column.
    Where a text may have several labels a row is a claim, that it has a certain one, and the two
    columns are that it has not and that it has. Claims lie text by text, label by label.
    """

    labels: tuple[str, ...]
    log_probs: Floats
    gold: NDArray[np.intp]
    languages: NDArray[np.str_]
    sentences: NDArray[np.str_]  # translations of one sentence share a name
    cells: NDArray[np.str_]  # the right label of each, or all of them in one cell
    claims: NDArray[np.str_] | None = None  # the label that each row claims
    names: tuple[str, ...] = ()  # of the labels that are claimed

    @classmethod
    def of(cls, rows: Sequence[Prediction]) -> Answers:
        """Put predictions in columns.

        Raises:
            InvalidData: there are none, they have no scores, or the labels differ.
        """
        if not rows or not rows[0].log_probs:
            raise InvalidData("no scores to calibrate; evaluate again with --scores")
        labels = list(rows[0].log_probs)
        if odd := next((row for row in rows if set(row.log_probs) != set(labels)), None):
            raise InvalidData(
                f"prompt {odd.prompt!r} scores {sorted(odd.log_probs)}, others {sorted(labels)}; "
                "evaluate prompts of one task together"
            )
        several = rows[0].problem == "multi_label"
        if odd := next(
            (r for r in rows if not set(labels).issuperset(labels_in_cell(r.problem, r.gold))), None
        ):
            raise InvalidData(
                f"{odd.language} {odd.index_id!r}: {odd.gold!r} is not among the scored labels "
                f"{sorted(labels)}; evaluate again"
            )
        said = np.array([[row.log_probs[label] for label in labels] for row in rows])
        if several:
            return cls._claims(rows, tuple(labels), said)
        return cls(
            tuple(labels),
            said,
            np.array([labels.index(row.gold) for row in rows]),
            np.array([row.language for row in rows]),
            np.array([row.index_id for row in rows]),
            np.array([row.gold for row in rows]),
        )

    @classmethod
    def _claims(cls, rows: Sequence[Prediction], labels: tuple[str, ...], said: Floats) -> Answers:
        """(texts, labels) log-probabilities as claims, one a text and label."""
        golds = [set(split_labels(row.gold)) for row in rows]
        yes = np.minimum(said, -_SURE).ravel()

        def each(values: Sequence[str]) -> NDArray[np.str_]:
            return np.repeat(np.array(values), len(labels))

        return cls(
            ("not assigned", "assigned"),
            np.stack([np.log(-np.expm1(yes)), yes], axis=1),
            np.array([int(label in own) for own in golds for label in labels]),
            each([row.language for row in rows]),
            each([row.index_id for row in rows]),
            each([row.gold for row in rows]),
            np.tile(np.array(labels), len(rows)),
            labels,
        )

    def where(self, chosen: NDArray[Any]) -> Answers:
        """Some of the rows."""
        return Answers(
            self.labels,
            self.log_probs[chosen],
            self.gold[chosen],
            self.languages[chosen],
            self.sentences[chosen],
            self.cells[chosen],
            None if self.claims is None else self.claims[chosen],
            self.names,
        )

    def without(self, priors: Floats) -> Answers:
        """With each row's prior taken off: (rows, labels)."""
        return replace(self, log_probs=self.log_probs - priors)

    @property
    def articles(self) -> NDArray[np.str_]:
        """What is one unit of evidence, (rows,): an article's sentences with their translations."""
        names = self.sentences.tolist()
        article = articles_of(names, self.cells.tolist())
        return np.array([article[name] for name in names])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each row's best label is the right one: (rows,)."""
        correct: NDArray[np.bool_] = self.log_probs.argmax(axis=1) == self.gold
        return correct

    def scaled(self, temperatures: Floats) -> Floats:
        """Log-probabilities of each row at its own temperature: (rows, labels)."""
        from scipy.special import log_softmax

        scaled: Floats = log_softmax(self.log_probs / temperatures[:, None], axis=1)
        return scaled


_SURE = 1e-12
"""What is left of a probability that was rounded to one."""


@dataclass(frozen=True, slots=True)
class Node:
    """A route, or a clade below one: the languages that answer under its temperature or below."""

    name: str
    parent: str | None  # None: all languages together
    languages: tuple[str, ...]


def fit(answers: Answers, table: RouteTable) -> dict[str, float]:
    """Temperatures for a route table: of every route, and of the clades below with evidence.

    Args:
        answers: on dev, each by the prompt that the table routes its language to; priors, where
            there are any, are taken off already.
        table: the routes; its own temperatures are ignored.
    """
    everywhere = _fit_log(answers, None)
    logs: dict[str, float] = {}
    for node in nodes(table, sorted(set(answers.languages.tolist()))):
        prior = everywhere if node.parent is None else logs[node.parent]
        chosen = answers.where(np.isin(answers.languages, node.languages))
        logs[node.name] = _fit_log(chosen, prior)
    return {name: round(float(np.exp(log)), _DIGITS) for name, log in logs.items()}


def nodes(table: RouteTable, codes: Sequence[str]) -> Iterator[Node]:
    """Every route of a table and the clades below it, parents first.

    Args:
        table: the routes.
        codes: the languages there is evidence of. A chain of clades with the very same ones counts
            once, under its highest name.
    """
    below: dict[str, dict[str, tuple[str, ...]]] = {c: {} for c in (UNIVERSAL, *table.clades)}
    for code, lineage in lineages_of(codes).items():
        clade = table.route(lineage).clade
        start = 0 if clade is None else lineage.index(clade)
        below[clade or UNIVERSAL][code] = lineage[start:]
    for route, lineages in below.items():
        yield Node(route, None, tuple(lineages))
        known = {route}
        for clade, members in branching_clades(lineages, min_languages=1).items():
            if clade != route:
                lineage = lineages[members[0]]
                above = lineage[: lineage.index(clade)]
                parent = next((name for name in reversed(above) if name in known), route)
                known.add(clade)
                yield Node(clade, parent, members)


def with_temperatures(table: RouteTable, temperatures: Mapping[str, float]) -> RouteTable:
    """The same routes with other temperatures."""
    return RouteTable.model_validate({**dict(table), "temperatures": dict(temperatures)})


def _fit_log(answers: Answers, prior: float | None) -> float:
    """The likeliest log-temperature; without rows, the prior's."""
    from scipy.optimize import minimize_scalar

    if prior is not None and not len(answers.gold):
        return prior

    def loss(log: float) -> float:
        scaled = answers.scaled(np.full(len(answers.gold), np.exp(log)))
        surprise = -float(scaled[np.arange(len(answers.gold)), answers.gold].sum())
        return surprise if prior is None else surprise + ((log - prior) / SPREAD) ** 2 / 2

    return float(minimize_scalar(loss, bounds=(-_MOST, _MOST), method="bounded").x)
