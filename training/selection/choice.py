"""Which prompt answers for which clade: the tree walked from the root, on dev-split evidence only.

A clade leaves the prompt that it would get otherwise where another's gain over it, shrunk by what
choosing the best of many flatters (`shrinkage`), is above zero with the probability that the rule
asks for, and its own sentences do not speak against it. Where evidence is thin, little is left of a
gain and the clade stays with its parent.

The universal prompt is the best single one of all candidates, whatever it was made for: what routes
gain is to be gained over that. A prompt made for a clade is routed within it alone.

In simulated worlds (`simulation`, with its results in training/results/rule) the rule's stated
probabilities are held against the truth, and its gains against those of simpler rules: the best on
dev, the best by over a point, the largest t by bootstrap over candidates, and the gain in
cross-validation. docs/how-to/the-rule.md shows both tables.

Languages of which nothing is known take their clade's route; `left_out` measures what that gains.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from isogloss.training.data.clades import branching_clades
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.shrinkage import Gain, Posterior, infer


@dataclass(frozen=True, slots=True)
class Rule:
    """When a clade gets a prompt of its own."""

    min_languages: int = 1
    min_sentences: int = 50  # over the clade's languages
    min_gain: float = 0.0  # accuracy above that of the prompt it would get otherwise, exclusive
    min_probability: float = 0.75  # that the gain is above zero


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one clade, and on what. Accuracies are dev means over its languages."""

    clade: str | None  # None: the universal prompt
    prompt: str  # the best candidate, whether routed or not
    accuracy: float
    baseline: str  # the prompt that answers otherwise: of the nearest routed ancestor, or universal
    baseline_clade: str | None  # that ancestor; None: universal
    baseline_accuracy: float
    universal_accuracy: float
    gain: Gain  # over the baseline, shrunk
    languages: tuple[str, ...]
    sentences: int
    candidates: int
    routed: bool

    @property
    def observed_gain(self) -> float:
        """Dev accuracy above the baseline's on the same sentences, flattered by the choosing."""
        return self.accuracy - self.baseline_accuracy


@dataclass(frozen=True, slots=True)
class Choice:
    """The universal prompt, and every clade that was considered, parents first."""

    universal: Decision
    decisions: tuple[Decision, ...]
    rule: Rule

    @property
    def routes(self) -> dict[str, str]:
        """Clade -> prompt."""
        return {d.clade: d.prompt for d in self.decisions if d.routed and d.clade is not None}

    @property
    def expected_harmful(self) -> float:
        """How many of the routes to expect to gain nothing, or to lose."""
        return sum(max(0.0, 1 - d.gain.positive) for d in self.decisions if d.routed)


def choose(evidence: Evidence, rule: Rule, clades: Collection[str] | None = None) -> Choice:
    """Choose the universal prompt and, from the root down, the clades that do better with another.

    Args:
        evidence: results of at least one prompt.
        rule: how much evidence and gain a route needs.
        clades: look at these only; None: every clade the languages can tell apart.
    """
    return walk(Judge.of(evidence, rule), clades)


def walk(judge: Judge, clades: Collection[str] | None = None) -> Choice:
    """Decide clade by clade, parents first: see `choose`."""
    evidence, rule, best = judge.evidence, judge.rule, judge.universal
    universal = judge.decide(None, tuple(sorted(evidence.languages)), best, None, best)
    routes: dict[str, str] = {}
    decisions = []
    for clade, codes in _candidates(evidence, rule, clades).items():
        above = _routed_above(evidence.lineages[codes[0]], clade, routes)
        baseline = best if above is None else routes[above]
        decision = judge.decide(clade, codes, judge.expected_best(codes, baseline), above, baseline)
        if decision.routed:
            routes[clade] = decision.prompt
        decisions.append(decision)
    return Choice(universal, tuple(decisions), rule)


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides for one group of languages at a time, all on the same evidence."""

    evidence: Evidence
    posterior: Posterior
    rule: Rule
    universal: str

    @classmethod
    def of(cls, evidence: Evidence, rule: Rule) -> Self:
        """Draw the conclusions that all decisions share."""
        posterior = infer(evidence)
        return cls(evidence, posterior, rule, _best_overall(evidence, posterior))

    def expected_best(self, codes: Sequence[str], baseline: str) -> str:
        """Highest expected accuracy; on a tie the baseline, then the first by name.

        The universal prompt may answer for anybody, whatever it was made for.
        """
        expected = self.posterior.accuracies @ self.evidence.weights(codes)
        names = self.evidence.prompts
        level = expected.round(9)
        suited = [p for p in names if self.evidence.origin(p).suits(self.evidence.lineages, codes)]
        return max(
            sorted({*suited, baseline, self.universal}),
            key=lambda p: (level[names.index(p)], p == baseline),
        )

    def decide(
        self,
        clade: str | None,
        codes: tuple[str, ...],
        prompt: str,
        above: str | None,
        baseline: str,
    ) -> Decision:
        """May these languages leave `baseline`, which they get from the clade `above`?"""
        gain = self.posterior.gain(prompt, baseline, codes)
        accuracy, otherwise = self._mean(prompt, codes), self._mean(baseline, codes)
        sure = gain.positive >= self.rule.min_probability and gain.mean > self.rule.min_gain
        routed = prompt != baseline and sure and round(accuracy - otherwise, 9) >= 0
        return Decision(
            clade=clade,
            prompt=prompt,
            accuracy=accuracy,
            baseline=baseline,
            baseline_clade=above,
            baseline_accuracy=otherwise,
            universal_accuracy=self._mean(self.universal, codes),
            gain=gain,
            languages=codes,
            sentences=self.evidence.sentences(codes),
            candidates=len(self.evidence.prompts),
            routed=clade is None or routed,
        )

    def _mean(self, prompt: str, codes: Sequence[str]) -> float:
        index = self.evidence.prompts.index(prompt)
        return float(self.evidence.accuracy[index] @ self.evidence.weights(codes))


def _best_overall(evidence: Evidence, posterior: Posterior) -> str:
    """Highest mean accuracy over all languages; on a tie the highest expected, then by name.

    On few sentences ties are many, and what is expected also counts how surely each answer was
    right, and how alike prompts do.

    A prompt made for one clade counts too: what routes gain is to be gained over the best that one
    prompt can do.
    """
    means = evidence.accuracy.mean(axis=1).round(9)
    expected = posterior.accuracies.mean(axis=1).round(9)
    return min(zip(-means, -expected, evidence.prompts, strict=True))[2]


def _candidates(
    evidence: Evidence, rule: Rule, clades: Collection[str] | None
) -> dict[str, tuple[str, ...]]:
    """Clades with enough evidence and their languages, parents first."""
    if clades is None:
        members = branching_clades(evidence.lineages, rule.min_languages)
    else:
        members = _named(evidence.lineages, clades)
    return {
        clade: codes
        for clade, codes in members.items()
        if len(codes) >= rule.min_languages and evidence.sentences(codes) >= rule.min_sentences
    }


def _named(
    lineages: Mapping[str, Sequence[str]], clades: Collection[str]
) -> dict[str, tuple[str, ...]]:
    depth = {clade: level for lineage in lineages.values() for level, clade in enumerate(lineage)}
    return {
        clade: tuple(sorted(code for code, lineage in lineages.items() if clade in lineage))
        for clade in sorted(clades, key=lambda name: (depth.get(name, 0), name))
    }


def _routed_above(lineage: Sequence[str], clade: str, routes: Mapping[str, str]) -> str | None:
    """The nearest routed clade above this one."""
    above = lineage[: list(lineage).index(clade)]
    return next((name for name in reversed(above) if name in routes), None)
