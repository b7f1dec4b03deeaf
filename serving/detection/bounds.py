"""Detection among the languages that a request allows, some of them likelier than others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isogloss.prompts.errors import UnknownLanguage
from isogloss.prompts.languages.languages import UNDETERMINED, Language, resolve
from isogloss.serving.detection.detection import TOP, Detection


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a text's language may be.

    Attributes:
        weights: of each language, in the order in which they were named; the greatest is 1.
    """

    weights: Mapping[Language, float]

    @property
    def first(self) -> Language:
        """The language of texts that tell nothing: the heaviest, of equals the one named first."""
        return max(self.weights, key=self.weights.__getitem__)


def bounds_of(named: Sequence[str] | Mapping[str, float]) -> Bounds:
    """Read a request's languages, one at least; names of one language are one.

    Args:
        named: names, all alike, or the prior weight of each; those of one language add up.

    Raises:
        UnknownLanguage: one is no language.
    """
    if not isinstance(named, Mapping):
        return Bounds({_language(name): 1.0 for name in named})
    most = max(named.values())
    weights: dict[Language, float] = {}
    for name, weight in named.items():
        entry = _language(name)
        # By the greatest: what two numbers that are just finite add up to is not.
        weights[entry] = weights.get(entry, 0.0) + weight / most
    return Bounds(weights)


def within(posterior: Mapping[str, float], bounds: Bounds) -> Detection:
    """Detect the language of one text: its posterior times the weights, made to sum to 1.

    A text of none of these languages takes the first of them, with confidence 0.
    """
    masses = {entry: posterior.get(entry.code, 0.0) * w for entry, w in bounds.weights.items()}
    if not (total := sum(masses.values())):
        return Detection(bounds.first, 0.0)
    best = sorted(masses.items(), key=lambda pair: -pair[1])[:TOP]
    candidates = tuple((entry.code, mass / total) for entry, mass in best if mass)
    likeliest, chance = best[0][0], candidates[0][1]
    return Detection(likeliest, 0.0 if likeliest is UNDETERMINED else chance, candidates)


def _language(name: str) -> Language:
    try:
        return resolve(name)
    except UnknownLanguage as error:
        raise UnknownLanguage(f"languages: {error}") from error
