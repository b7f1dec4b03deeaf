"""Which prompt answers for which clade: a pure function of dev-split results.

The choice here is the plain one: the highest mean accuracy over a clade's languages. Taking the
best of many candidates flatters the winner; a rule that allows for that replaces `_best` and
`Rule` and nothing else, and the evidence already holds what it needs: every candidate's answer to
every sentence, aligned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from training.clades import branching_clades


@dataclass(frozen=True, slots=True)
class Evidence:
    """Every candidate's answers to the same dev sentences."""

    lineages: Mapping[str, Sequence[str]]  # language -> clades, root first
    correct: Mapping[str, Mapping[str, Sequence[bool]]]  # prompt -> language -> sentences, aligned


@dataclass(frozen=True, slots=True)
class Rule:
    """When a clade gets a prompt of its own."""

    min_languages: int = 2
    min_sentences: int = 100  # over the clade's languages
    min_gain: float = 0.0  # accuracy above that of the prompt it would get otherwise, exclusive


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one clade, and on what. Accuracies are means over its languages."""

    clade: str | None  # None: the universal prompt
    prompt: str
    accuracy: float
    baseline: str  # the prompt that answers otherwise: of the nearest routed ancestor, or universal
    baseline_accuracy: float
    universal_accuracy: float
    languages: tuple[str, ...]
    sentences: int
    candidates: int
    routed: bool

    @property
    def gain(self) -> float:
        """Accuracy above the baseline's on the same sentences."""
        return self.accuracy - self.baseline_accuracy


@dataclass(frozen=True, slots=True)
class Choice:
    """The universal prompt, and every clade that was looked at, parents first."""

    universal: Decision
    decisions: tuple[Decision, ...]

    @property
    def routes(self) -> dict[str, str]:
        """Clade -> prompt."""
        return {d.clade: d.prompt for d in self.decisions if d.routed and d.clade is not None}


def choose(evidence: Evidence, rule: Rule, clades: Collection[str] | None = None) -> Choice:
    """Choose the universal prompt and, from the root down, the clades that do better with another.

    Args:
        evidence: results of at least one prompt.
        rule: how much evidence and gain a route needs.
        clades: look at these only; None: every clade the languages can tell apart.
    """
    everywhere = tuple(sorted(evidence.lineages))
    best = _best(evidence, everywhere, preferred=None)
    universal = _decide(evidence, None, everywhere, best, best, best, routed=True)
    routes: dict[str, str] = {}
    decisions = []
    for clade, codes in _candidates(evidence, rule, clades).items():
        baseline = _inherited(evidence.lineages[codes[0]], clade, routes) or universal.prompt
        prompt = _best(evidence, codes, preferred=baseline)
        gain = _mean(evidence, prompt, codes) - _mean(evidence, baseline, codes)
        if routed := gain > rule.min_gain and prompt != baseline:
            routes[clade] = prompt
        decisions.append(
            _decide(evidence, clade, codes, prompt, baseline, universal.prompt, routed=routed)
        )
    return Choice(universal, tuple(decisions))


def _candidates(
    evidence: Evidence, rule: Rule, clades: Collection[str] | None
) -> dict[str, tuple[str, ...]]:
    """Clades with enough evidence and their languages, parents first."""
    if clades is None:
        found = branching_clades(evidence.lineages, rule.min_languages)
    else:
        found = _named(evidence.lineages, clades)
    return {
        clade: codes
        for clade, codes in found.items()
        if len(codes) >= rule.min_languages and _sentences(evidence, codes) >= rule.min_sentences
    }


def _named(
    lineages: Mapping[str, Sequence[str]], clades: Collection[str]
) -> dict[str, tuple[str, ...]]:
    depth = {clade: place for own in lineages.values() for place, clade in enumerate(own)}
    return {
        clade: tuple(sorted(code for code, own in lineages.items() if clade in own))
        for clade in sorted(clades, key=lambda name: (depth.get(name, 0), name))
    }


def _inherited(lineage: Sequence[str], clade: str, routes: Mapping[str, str]) -> str | None:
    """The prompt of the nearest routed clade above this one."""
    above = lineage[: list(lineage).index(clade)]
    return next((routes[name] for name in reversed(above) if name in routes), None)


def _best(evidence: Evidence, codes: Sequence[str], preferred: str | None) -> str:
    """Highest mean accuracy; on a tie the preferred prompt, then the first by name."""
    return max(
        sorted(evidence.correct),
        key=lambda prompt: (_mean(evidence, prompt, codes), prompt == preferred),
    )


def _mean(evidence: Evidence, prompt: str, codes: Sequence[str]) -> Fraction:
    """Exact, so that a tie is a tie: rounding would let the order of a sum choose prompts."""
    own = (evidence.correct[prompt][code] for code in codes)
    return sum((Fraction(sum(right), len(right)) for right in own), Fraction()) / len(codes)


def _sentences(evidence: Evidence, codes: Sequence[str]) -> int:
    first = next(iter(evidence.correct.values()))
    return sum(len(first[code]) for code in codes)


def _decide(
    evidence: Evidence,
    clade: str | None,
    codes: tuple[str, ...],
    prompt: str,
    baseline: str,
    universal: str,
    *,
    routed: bool,
) -> Decision:
    return Decision(
        clade=clade,
        prompt=prompt,
        accuracy=float(_mean(evidence, prompt, codes)),
        baseline=baseline,
        baseline_accuracy=float(_mean(evidence, baseline, codes)),
        universal_accuracy=float(_mean(evidence, universal, codes)),
        languages=codes,
        sentences=_sentences(evidence, codes),
        candidates=len(evidence.correct),
        routed=routed,
    )
