"""From evaluations to a published route table: dev-split evidence only, in one generation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prompts.errors import InvalidData, InvalidInput, NotFound
from prompts.routes import RouteEvidence, RouteTable, parse_reference
from prompts.soft_prompt import SoftPrompt
from prompts.store import PromptStore
from prompts.store_state import StoreState
from training.candidates import Candidate
from training.clades import lineages_of
from training.predictions import Prediction, read_predictions
from training.select import Choice, Decision, Evidence, Rule, choose

Group = tuple[str, str]  # backbone's fingerprint, task


@dataclass(frozen=True, slots=True)
class Routed:
    """One model's and task's routes, why, and the prompts that must be in the store with them."""

    table: RouteTable
    choice: Choice
    prompts: dict[str, SoftPrompt]


def read_evidence(paths: Sequence[Path], model: str | None) -> dict[Group, list[Prediction]]:
    """Predictions by backbone and task, `model`'s only where it is given.

    Raises:
        InvalidData: predictions of another split than dev, or none of this model.
    """
    groups: dict[Group, list[Prediction]] = {}
    for path in paths:
        for row in read_predictions(path):
            if row.split != "dev":
                raise InvalidData(
                    f"{path}: predictions of the {row.split} split; routes are chosen on dev, so "
                    "that test stays unseen: evaluate with --split dev"
                )
            if model is None or row.model == model:
                groups.setdefault((row.fingerprint, row.task), []).append(row)
    if not groups:
        raise InvalidData(f"--model {model!r}: no predictions of it in these files")
    return groups


def evidence_of(rows: Sequence[Prediction]) -> tuple[Evidence, dict[str, str]]:
    """Aligned answers, and each prompt's digest.

    Raises:
        InvalidData: prompts were evaluated on different sentences, a sentence has two answers of
            one prompt, or one name stands for two prompts.
    """
    answers: dict[str, dict[tuple[str, str], bool]] = {}
    digests: dict[str, str] = {}
    for row in rows:
        if digests.setdefault(row.prompt, row.digest) != row.digest:
            raise InvalidData(
                f"prompt {row.prompt!r} is {digests[row.prompt]} and {row.digest} in these "
                "evaluations; evaluate one of them under another name"
            )
        own = answers.setdefault(row.prompt, {})
        if own.setdefault((row.language, row.index_id), row.correct) != row.correct:
            raise InvalidData(
                f"prompt {row.prompt!r} has two answers to {row.language} {row.index_id!r}; "
                "leave out one of the evaluations"
            )
    return _aligned(answers), digests


def _aligned(answers: Mapping[str, Mapping[tuple[str, str], bool]]) -> Evidence:
    sentences = sorted({key for own in answers.values() for key in own})
    for prompt, own in answers.items():
        if lacking := next((key for key in sentences if key not in own), None):
            raise InvalidData(
                f"prompt {prompt!r} has no answer to {lacking[0]} {lacking[1]!r}, others have; "
                "evaluate all candidates on the same languages"
            )
    codes = sorted({code for code, _ in sentences})
    correct = {
        prompt: {code: [own[key] for key in sentences if key[0] == code] for code in codes}
        for prompt, own in answers.items()
    }
    return Evidence(lineages_of(codes), correct)


def build_routes(
    rows: Sequence[Prediction],
    rule: Rule,
    clades: Collection[str] | None,
    store: PromptStore | None,
    files: Sequence[Candidate],
) -> Routed:
    """Choose routes for one model and task, and find the chosen prompts.

    Raises:
        InvalidData: see `evidence_of`; or a clade that none of the languages belongs to.
        NotFound: a chosen prompt is neither in the store under its name nor among `files`.
    """
    evidence, digests = evidence_of(rows)
    _check_clades(evidence, clades)
    choice = choose(evidence, rule, clades)
    chosen = dict.fromkeys([choice.universal.prompt, *choice.routes.values()])
    found = {name: _find(name, digests[name], store, files) for name in chosen}
    card = found[choice.universal.prompt].card
    table = RouteTable(
        model=card.model,
        task=card.task,
        universal=choice.universal.prompt,
        clades=choice.routes,
        evidence=tuple(
            _as_evidence(decision, digests)
            for decision in (choice.universal, *choice.decisions)
            if decision.routed
        ),
    )
    to_publish = {n: p for n, p in found.items() if parse_reference(n)[1] is None}
    return Routed(table, choice, to_publish)


def publish_routes(store: PromptStore, routed: Sequence[Routed], note: str) -> StoreState:
    """Publish tables and prompts as one new generation.

    Raises:
        InvalidInput: two models' prompts share a name.
        StoreError: the store cannot be written.
    """
    prompts: dict[str, SoftPrompt] = {}
    for own in routed:
        for name, prompt in own.prompts.items():
            if prompts.setdefault(name, prompt).digest != prompt.digest:
                raise InvalidInput(
                    f"two prompts are called {name!r}; evaluate one under another name"
                )
    return store.publish(prompts, [own.table for own in routed], note)


def _check_clades(evidence: Evidence, clades: Collection[str] | None) -> None:
    known = {clade for lineage in evidence.lineages.values() for clade in lineage}
    if unknown := sorted(set(clades or ()) - known):
        raise InvalidData(
            f"--clades: none of the evaluated languages belongs to {', '.join(unknown)}; names are "
            "those of `isogloss detect`'s lineages, such as Indo-European"
        )


def _find(
    name: str, digest: str, store: PromptStore | None, files: Sequence[Candidate]
) -> SoftPrompt:
    """The prompt that was evaluated: these very bytes, from the store or from a file."""
    given = next((c.prompt for c in files if c.prompt.digest == digest), None)
    if given is not None:
        return given
    if store is not None:
        state = store.state()
        known = parse_reference(name)[0] in state.prompts
        if known and state.resolve(name)[2] == digest:
            return store.read(digest)
    raise NotFound(
        f"prompt {name!r} ({digest}) was evaluated but is not what the store has under this name; "
        "give its file with --prompts, or publish it first"
    )


def _as_evidence(decision: Decision, digests: Mapping[str, str]) -> RouteEvidence:
    facts = {
        "clade": decision.clade,
        "prompt": decision.prompt,
        "dev_accuracy": decision.accuracy,
        "sentences": decision.sentences,
        "candidates": decision.candidates,
        "baseline": decision.baseline_accuracy,
        "baseline_prompt": decision.baseline,
        "languages": list(decision.languages),
        "digest": digests[decision.prompt],
    }
    return RouteEvidence.model_validate(facts)
