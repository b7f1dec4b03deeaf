"""The four settings of labels, and the routes that each would choose on dev.

A setting has the candidates that its labels allow, those of the settings before it included, so
that each adds to the last. Only dev is looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.languages.languages import deepest_clade
from isogloss.training.recipes.ladder.rungs import Rung, among
from isogloss.training.selection.choice import Rule, choose
from isogloss.training.selection.evidence import Evidence, Origin


def _few(prompt: Prompt, first: str) -> bool:
    return not isinstance(prompt, Ensemble) and prompt.card.training.get("shots") == 8


def _first_only(prompt: Prompt, first: str) -> bool:
    return Origin.of(prompt.card).sources == {first}


def _untailored(prompt: Prompt, first: str) -> bool:
    return _first_only(prompt, first) or not Origin.of(prompt.card).tailored


WAYS: Mapping[str, Callable[[Prompt, str], bool]] = MappingProxyType(
    {
        "English, 8 shots": _few,
        "all English": _first_only,
        "labels in 12 languages": _untailored,
        "labels everywhere": lambda prompt, first: True,
    }
)
PAPERS, EVERYWHERE = "English, 8 shots", "labels everywhere"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What dev chose for one rung and way."""

    way: str
    candidates: tuple[str, ...]
    universal: str  # best on dev of all candidates
    single: str  # best of those that are one prompt, no ensemble
    routed: Mapping[str, str]  # language -> prompt
    routes: Mapping[str, str]  # clade -> prompt


def candidates_of(rung: Rung, way: str) -> tuple[str, ...]:
    """Names of the way's candidates.

    Raises:
        InvalidData: the run has none.
    """
    first = rung.facts["first"]
    names = tuple(name for name, prompt in rung.prompts.items() if WAYS[way](prompt, first))
    if not names:
        raise InvalidData(f"{rung.folder}: no candidates of the way {way!r}; tailor it again")
    return names


def choose_way(rung: Rung, dev: Evidence, way: str) -> Chosen:
    """Let the rule of `isogloss route` choose among the way's candidates."""
    names = candidates_of(rung, way)
    evidence = among(dev, names)
    choice = choose(evidence, Rule())
    universal = choice.universal.prompt
    routed = {
        code: universal if (clade := deepest_clade(line, choice.routes)) is None
        else choice.routes[clade]
        for code, line in evidence.lineages.items()
    }  # fmt: skip
    alone = [name for name in evidence.prompts if not isinstance(rung.prompts[name], Ensemble)]
    means = dict(zip(evidence.prompts, evidence.accuracy.mean(axis=1).round(9), strict=True))
    single = min(alone, key=lambda name: (-means[name], name))
    return Chosen(way, names, universal, single, routed, choice.routes)
