"""From evaluations to a published route table: dev-split evidence only, in one generation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from isogloss.prompts.errors import InvalidData, InvalidInput, NotFound
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.routing.routes import RouteEvidence, RouteTable, parse_reference
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.store import PromptStore
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.predictions import Prediction
from isogloss.training.selection.choice import Choice, Decision, Rule, choose
from isogloss.training.selection.evidence import Evidence, Origin, evidence_of


@dataclass(frozen=True, slots=True)
class Routed:
    """One model's and task's routes, why, and the prompts that must be in the store with them."""

    table: RouteTable
    choice: Choice
    prompts: dict[str, Prompt]


def build_routes(
    rows: Sequence[Prediction],
    rule: Rule,
    clades: Collection[str] | None,
    store: PromptStore | None,
    files: Sequence[Candidate],
) -> Routed:
    """Choose routes for one model and task, and find the chosen prompts.

    Raises:
        InvalidData: see `evidence_of`; a clade that none of the languages belongs to; or a chosen
            prompt is for another backbone than the evaluations say.
        NotFound: a chosen prompt is neither in the store under its name nor among `files`.
    """
    origins = find_origins(rows, store, files)
    evidence, digests = evidence_of(rows, origins)
    _check_clades(evidence, clades)
    choice = choose(evidence, rule, clades)
    chosen = dict.fromkeys([choice.universal.prompt, *choice.routes.values()])
    prompts = {name: _find(name, digests[name], store, files) for name in chosen}
    for name, prompt in prompts.items():
        _check_model(name, prompt, rows[0])
    card = prompts[choice.universal.prompt].card
    table = RouteTable(
        model=card.model,
        task=card.task,
        universal=choice.universal.prompt,
        clades=choice.routes,
        evidence=tuple(
            _as_evidence(decision, evidence, digests, choice)
            for decision in (choice.universal, *choice.decisions)
        ),
    )
    to_publish = {n: p for n, p in prompts.items() if parse_reference(n)[1] is None}
    return Routed(table, choice, to_publish)


def publish_routes(store: PromptStore, routed: Sequence[Routed], note: str) -> StoreState:
    """Publish tables and prompts as one new generation.

    Raises:
        InvalidInput: two models' prompts share a name.
        StoreError: the store cannot be written.
    """
    prompts: dict[str, Prompt] = {}
    for each in routed:
        for name, prompt in each.prompts.items():
            if prompts.setdefault(name, prompt).digest != prompt.digest:
                raise InvalidInput(
                    f"two prompts are called {name!r}; evaluate one under another name"
                )
    return store.publish(prompts, [each.table for each in routed], note)


def _check_clades(evidence: Evidence, clades: Collection[str] | None) -> None:
    known = {clade for lineage in evidence.lineages.values() for clade in lineage}
    if unknown := sorted(set(clades or ()) - known):
        raise InvalidData(
            f"--clades: none of the evaluated languages belongs to {', '.join(unknown)}; names are "
            "those of `isogloss detect`'s lineages, such as Indo-European"
        )


def find_origins(
    rows: Sequence[Prediction], store: PromptStore | None, files: Sequence[Candidate]
) -> dict[str, Origin]:
    """How each evaluated prompt was made, of those whose very bytes are at hand.

    What a prompt started or learned from is known where it is among them or the files.
    """
    digests = {row.prompt: row.digest for row in rows}
    prompts = {n: _at_hand(n, digest, store, files) for n, digest in digests.items()}
    origins = {name: Origin.of(each.card) for name, each in prompts.items() if each is not None}
    by_digest = {each.prompt.digest: Origin.of(each.prompt.card) for each in files}
    by_digest |= {digests[name]: each for name, each in origins.items()}
    return {
        name: replace(each, inherited=frozenset(_inherited(each, by_digest)))
        for name, each in origins.items()
    }


def _inherited(origin: Origin, known: Mapping[str, Origin]) -> set[str]:
    """A prompt is older than what started from it, so this ends."""
    parents = [known[digest] for digest in origin.parents if digest in known]
    return {code for parent in parents for code in parent.sources | _inherited(parent, known)}


def _at_hand(
    name: str, digest: str, store: PromptStore | None, files: Sequence[Candidate]
) -> Prompt | None:
    """The prompt that was evaluated: these very bytes, from a file or from the store."""
    given = next((c.prompt for c in files if c.prompt.digest == digest), None)
    if given is not None or store is None:
        return given
    state = store.state()
    known = parse_reference(name)[0] in state.prompts
    return store.read(digest) if known and state.resolve(name)[2] == digest else None


def _find(name: str, digest: str, store: PromptStore | None, files: Sequence[Candidate]) -> Prompt:
    prompt = _at_hand(name, digest, store, files)
    if prompt is None:
        raise NotFound(
            f"prompt {name!r} ({digest}) was evaluated but is not what the store has under this "
            "name; give its file with --prompts, or publish it first"
        )
    return prompt


def _check_model(name: str, prompt: Prompt, row: Prediction) -> None:
    made_for = prompt.card.model
    if made_for.fingerprint != row.fingerprint:
        raise InvalidData(
            f"prompt {name!r} was trained for {made_for.id} ({made_for.fingerprint}), its "
            f"predictions say {row.model} ({row.fingerprint}); evaluate again"
        )


def _as_evidence(
    decision: Decision, evidence: Evidence, digests: Mapping[str, str], choice: Choice
) -> RouteEvidence:
    """What the table keeps of a decision, also where a clade stays with its parent's prompt."""
    gain, routed = decision.gain, decision.routed
    answers = decision.prompt if routed else decision.baseline
    facts = {
        "clade": decision.clade,
        "prompt": answers,
        "dev_accuracy": decision.accuracy if routed else decision.baseline_accuracy,
        "sentences": decision.sentences,
        "candidates": decision.candidates,
        "baseline": decision.baseline_accuracy,
        "gain": gain.mean,
        "interval": (gain.low, gain.high),
        "probability": gain.positive,
        "min_probability": choice.rule.min_probability,
        "observed_gain": decision.observed_gain,
        "best": decision.prompt,
        "best_way": evidence.origin(decision.prompt).way,
        "best_made_for": evidence.origin(decision.prompt).tailored,
        "baseline_prompt": decision.baseline,
        "inherits": decision.baseline_clade,
        "routed": routed,
        "languages": list(decision.languages),
        "digest": digests[answers],
    }
    if decision.clade is None:
        facts |= {"routes": len(choice.routes), "harmful_expected": choice.expected_harmful}
    return RouteEvidence.model_validate(facts)
