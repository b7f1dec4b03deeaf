"""Why a language gets its prompt: its route table's evidence along its lineage, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isogloss.prompts.errors import NotFound
from isogloss.prompts.languages.languages import language
from isogloss.prompts.routing.routes import RouteEvidence, RouteTable
from isogloss.prompts.store.state import StoreState


@dataclass(frozen=True, slots=True)
class Step:
    """One clade of the lineage, and what its evidence came to."""

    clade: str
    routed: bool
    evidence: dict[str, Any] | None  # None: not considered
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which prompt one model and task gives one language, and why."""

    model: str
    task: str
    language: str
    name: str
    lineage: tuple[str, ...]
    prompt: str
    clade: str | None  # None: the universal prompt
    measured: bool  # were sentences of this very language among the evidence?
    universal: str  # in words
    steps: tuple[Step, ...]  # from the root down
    conclusion: str
    prior: str  # in words; empty: nothing is known of one


def tables_of(state: StoreState, model: str | None) -> list[RouteTable]:
    """The route tables of a store, one model's where it is named.

    Raises:
        NotFound: there are none.
    """
    tables = [table for table in state.routes if model is None or table.model.id == model]
    if not tables:
        known = ", ".join(sorted({table.model.id for table in state.routes})) or "none"
        raise NotFound(
            f"no route table{f' of model {model!r}' if model else ''} in generation "
            f"{state.generation} of the store (models: {known}); build one with `isogloss route`"
        )
    return tables


def explain(table: RouteTable, code: str) -> Explanation:
    """Follow a language's lineage through the table.

    Raises:
        UnknownLanguage: no such code.
    """
    known = language(code)
    route = table.route(known.lineage)
    by_clade = {e.clade: e for e in table.evidence if e.candidates is not None}
    facts = by_clade.get(None)
    measured = facts is not None and known.code in _extra(facts).get("languages", ())
    steps = tuple(_step(clade, table, by_clade.get(clade)) for clade in known.lineage)
    return Explanation(
        model=table.model.id,
        task=table.task,
        language=known.code,
        name=known.name,
        lineage=known.lineage,
        prompt=route.reference,
        clade=route.clade,
        measured=measured,
        universal=_universal(table, facts),
        steps=steps,
        conclusion=_conclusion(known.name, route.reference, route.clade, steps, measured=measured),
        prior=_prior(table, route.clade, known.code),
    )


def told(explanation: Explanation) -> str:
    """The same for people: a line a clade."""
    lineage = " > ".join(explanation.lineage) or "none (the tree has no relatives of it)"
    lines = [
        f"{explanation.model}, {explanation.task}: {explanation.name} ({explanation.language}) "
        f"gets {explanation.prompt}",
        f"  lineage: {lineage}",
        f"  universal: {explanation.universal}",
        *(f"  {step.clade}: {step.words}" for step in _worth_telling(explanation.steps)),
        f"  {explanation.conclusion}",
        *([f"  {explanation.prior}"] if explanation.prior else []),
    ]
    return "\n".join(lines)


def _worth_telling(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.routed or step.evidence is not None]


def _universal(table: RouteTable, facts: RouteEvidence | None) -> str:
    if facts is None:
        return f"{table.universal}; the table keeps no evidence for it"
    extra = _extra(facts)
    among = f"best of {facts.candidates} prompts"
    if "min_probability" not in extra:  # evidence of a release that barred the others
        among = f"best of those of {facts.candidates} prompts that are made for no clade,"
    made_for = f"; made for {extra['best_made_for']}" if extra.get("best_made_for") else ""
    return (
        f"{table.universal}, {among} over {len(extra.get('languages', ()))} languages "
        f"({_percent(facts.dev_accuracy)} of {facts.sentences} dev sentences){made_for}"
        f"{_harmful(extra)}"
    )


def _harmful(extra: Mapping[str, Any]) -> str:
    """How many of the table's routes to expect to gain nothing."""
    if not extra.get("routes"):
        return ""
    return f"; of {extra['routes']} routes, expect {extra['harmful_expected']:.1f} to gain nothing"


def _step(clade: str, table: RouteTable, evidence: RouteEvidence | None) -> Step:
    routed = clade in table.clades
    if evidence is None:
        words = f"takes {table.clades[clade]}, set by hand" if routed else "not looked at"
        return Step(clade, routed, None, words)
    return Step(clade, routed, evidence.model_dump(mode="json"), _words(evidence, routed=routed))


def _words(evidence: RouteEvidence, *, routed: bool) -> str:
    extra = _extra(evidence)
    above, best = extra.get("baseline_prompt"), extra.get("best", evidence.prompt)
    looked = f"{evidence.candidates} prompts on {_evidence_size(evidence)}"
    inherits = extra.get("inherits") or "universal"
    if best == above:
        return f"stays with {above} ({inherits}): expected to be the best of {looked}"
    gain = f"{_points(evidence.gain)} points over {above} ({inherits}){_interval(evidence)}"
    sure = extra.get("probability")
    chance = "" if sure is None else f", above zero with probability {sure:.2f}"
    made = f" [{extra['best_way']}]" if extra.get("best_way") else ""
    if routed:
        return f"takes {best}{made}: of {looked}, expected to gain {gain}{chance}"
    asked = extra.get("min_probability", extra.get("confidence"))  # older
    short = "" if asked is None else f", too little ({asked:.2f} is asked for)"
    return (
        f"stays with {above} ({inherits}): of {looked}, {best}{made} may gain {gain}{chance}{short}"
    )


def _evidence_size(evidence: RouteEvidence) -> str:
    languages = len(_extra(evidence).get("languages", ()))
    plural = "language" if languages == 1 else "languages"
    return f"{evidence.sentences} dev sentences of {languages} {plural}"


def _interval(evidence: RouteEvidence) -> str:
    if evidence.interval is None:
        return ""
    low, high = evidence.interval
    return f" (95 %: {_points(low)} to {_points(high)})"


def _conclusion(
    name: str, prompt: str, clade: str | None, steps: Sequence[Step], *, measured: bool
) -> str:
    basis = (
        f"{name} was among the evaluated languages"
        if measured
        else f"no sentence of {name} was evaluated: it gets what its relatives get"
    )
    if clade is not None:
        return f"so {clade}, the deepest clade with a route, decides: {prompt}; {basis}"
    if not steps:
        return (
            f"so the universal prompt answers: {prompt}; a language without relatives has no clade"
        )
    if not measured and all(step.evidence is None for step in steps):
        return f"so the universal prompt answers: {prompt}; no relative of {name} was evaluated"
    return f"so no clade leaves the universal prompt: {prompt}; {basis}"


def _extra(evidence: RouteEvidence) -> dict[str, Any]:
    return evidence.model_extra or {}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f}"


def _prior(table: RouteTable, clade: str | None, code: str) -> str:
    """What `isogloss calibrate --unlabelled` decided about the route that answers a language."""
    facts = next((_extra(e).get("prior") for e in table.evidence if e.clade == clade), None)
    if not isinstance(facts, dict):
        return ""
    low, high = facts["interval"]
    texts = facts["texts"].get(code, 0)
    learned = f"{texts} unlabelled texts" if texts else "unlabelled texts of its relatives"
    half = "half of " if facts["strength"] == 0.5 else ""
    used = "is" if facts["used"] else "is not"
    return (
        f"{half}what the prompt says of any text {used} taken off (learned from {learned}): on "
        "dev that "
        f"gains {_points(facts['gain'])} points (95 %: {_points(low)} to {_points(high)}), above "
        f"zero with probability {facts['probability']:.2f} ({facts['min_probability']:.2f} is "
        "asked for)"
    )
