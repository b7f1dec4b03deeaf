"""What a change must satisfy before it is published: its prompts, route tables and trials.

A server reads a short text under every prompt before it answers under it
(`serving.registry.rehearsal`); `check_servable` is for those who publish without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import numpy as np

from isogloss.prompts.console.refusals import shown, spelled_like
from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.languages.languages import languages
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable
from isogloss.prompts.routing.trials import Trial
from isogloss.prompts.store.state import StoreState

LARGEST = float(np.finfo(np.float16).max)
"""The least of what the precisions hold that servers run in. Beyond it a number is infinite in
float16; beyond 1e19 its square is in float32, too, so that a layer's norm forgets every text. What
is trained stays within some tens."""


def check_clades(clades: Iterable[str]) -> None:
    """Require clades that some language has: a misspelt one would never match.

    Raises:
        InvalidInput: one is in no language's lineage.
    """
    known = {clade for language in languages().values() for clade in language.lineage}
    for clade in clades:
        if clade not in known | {UNIVERSAL}:
            close = spelled_like(clade, known) or [UNIVERSAL]
            raise InvalidInput(
                f"--route {shown(clade)}: no language has this clade; did you mean "
                f"{', '.join(close)}?"
            )


def check_table(
    table: RouteTable,
    digest_of: Callable[[str], str],
    prompt_of: Callable[[str], Prompt],
) -> None:
    """Require that a table's prompts exist, are for its model and task, and share their labels.

    `digest_of` resolves a reference, `prompt_of` reads what a digest stands for.

    Raises:
        InvalidPrompt: they do not; the message says which and why.
    """
    first: tuple[str, Prompt] | None = None
    for reference in table.references:
        try:
            digest = digest_of(reference)
        except NotFound as error:
            raise InvalidPrompt(
                f"the routes of {table.model.id}, task {table.task!r}, choose {reference!r}: "
                f"{error}"
            ) from error
        prompt = prompt_of(digest)
        _check_model_and_task(table, reference, prompt)
        if first is None:
            first = reference, prompt
        _check_alike(reference, prompt, *first)


def check_candidate(
    table: RouteTable,
    trial: Trial,
    digest_of: Callable[[str], str],
    prompt_of: Callable[[str], Prompt],
) -> None:
    """Require that a candidate could be routed where it is on trial.

    Raises:
        InvalidPrompt: it could not; the message says why.
    """
    candidate = prompt_of(digest_of(trial.candidate))
    _check_model_and_task(table, trial.candidate, candidate)
    first = prompt_of(digest_of(table.universal))
    _check_alike(trial.candidate, candidate, table.universal, first)


def check_trials(
    table: RouteTable,
    trials: Iterable[Trial],
    digest_of: Callable[[str], str],
    prompt_of: Callable[[str], Prompt],
) -> None:
    """Require that the candidates on trial for this table still fit it.

    Raises:
        InvalidPrompt: one does not; the message says why.
    """
    for trial in trials:
        if trial.key != table.key:
            continue
        try:
            check_candidate(table, trial, digest_of, prompt_of)
        except InvalidPrompt as error:
            raise InvalidPrompt(
                f"{trial.candidate!r} is on trial for {', '.join(trial.clades)}, but {error}; or "
                f"end the trial first: isogloss prompts rollback --trial {trial.name}"
            ) from error


def _check_model_and_task(table: RouteTable, reference: str, prompt: Prompt) -> None:
    card = prompt.card
    if card.model.fingerprint != table.model.fingerprint:
        raise InvalidPrompt(
            f"prompt {reference!r} is for {card.model.id} ({card.model.fingerprint}), but the "
            f"route table that chooses it is for {table.model.id} ({table.model.fingerprint}); "
            "publish it under a name of its own"
        )
    if card.task != table.task:
        raise InvalidPrompt(
            f"prompt {reference!r} is for task {card.task!r}, but the route table that chooses it "
            f"is for task {table.task!r}; publish it under a name of its own"
        )


def _check_alike(reference: str, prompt: Prompt, first_reference: str, first: Prompt) -> None:
    """One request's labels cannot depend on its language: a table's prompts agree on them."""
    if _has_rows(prompt) != _has_rows(first):
        raise InvalidPrompt(
            f"of prompts {reference!r} and {first_reference!r} in the same route table one has "
            "label rows of its own, and the other reads the model's; publish it for a task of its "
            "own (--task)"
        )
    labels, expected = (
        [(label.label, label.token_id) for label in p.card.labels] for p in (prompt, first)
    )
    if labels != expected:
        raise InvalidPrompt(
            f"prompt {reference!r} has labels (and token ids) {labels}, but {first_reference!r} in "
            f"the same route table has {expected}; train both with the same labels and words"
        )
    if (answers := prompt.card.verbalizer) != (wanted := first.card.verbalizer):
        raise InvalidPrompt(
            f"prompt {reference!r} answers as {answers.problem} (none is token "
            f"{answers.none_id}), but {first_reference!r} in the same route table as "
            f"{wanted.problem} (token {wanted.none_id}); train both alike"
        )
    if prompt.hidden_size != first.hidden_size:
        raise InvalidPrompt(
            f"prompt {reference!r} has hidden size {prompt.hidden_size}, but {first_reference!r} "
            f"in the same route table has {first.hidden_size}"
        )


def _has_rows(prompt: Prompt) -> bool:
    return not isinstance(prompt, Ensemble) and prompt.card.head == "prompt"  # without torch


def check_servable(name: str, prompt: Prompt) -> None:
    """Require numbers that every precision holds.

    Args:
        name: what to call the prompt.
        prompt: to be published, or to answer from now on.

    Raises:
        InvalidPrompt: one is too large; the message says which.
    """
    if isinstance(prompt, Ensemble):
        for member in prompt.members:
            check_servable(f"{member.reference}, a member of {name}", member.prompt)
        return
    numbers = prompt.arrays["prompt"]
    sizes = np.abs(numbers)
    largest = float(sizes.max())
    if largest > LARGEST:
        row, column = divmod(int(sizes.argmax()), prompt.hidden_size)
        raise InvalidPrompt(
            f"prompt {name!r}: tensor 'prompt' holds {float(numbers[row, column]):g} at "
            f"[{row}, {column}], and nothing may be beyond {LARGEST:g}, the most that float16 "
            "holds; train it again with a smaller learning rate (nothing was changed)"
        )


def newly_answering(
    before: StoreState, following: StoreState, fingerprint: str | None = None
) -> Mapping[str, str]:
    """Return the prompts that a change brings into routes and trials: references by digest.

    With `fingerprint`, those of one model.
    """
    routed, tried = _routed(before, fingerprint), _tried(before, fingerprint)
    now_routed, now_tried = _routed(following, fingerprint), _tried(following, fingerprint)
    new = {digest: name for digest, name in now_tried.items() if digest not in {**tried, **routed}}
    return new | {digest: name for digest, name in now_routed.items() if digest not in routed}


def names_of(state: StoreState) -> Mapping[str, str]:
    """Return a name of every prompt in a state, by digest."""
    return {
        version.digest: name for name, entry in state.prompts.items() for version in entry.versions
    }


def _routed(state: StoreState, fingerprint: str | None) -> dict[str, str]:
    tables = [each for each in state.routes if fingerprint in (None, each.model.fingerprint)]
    return _by_digest(state, (reference for table in tables for reference in table.references))


def _tried(state: StoreState, fingerprint: str | None) -> dict[str, str]:
    trials = [each for each in state.trials if fingerprint in (None, each.fingerprint)]
    return _by_digest(state, (trial.candidate for trial in trials))


def _by_digest(state: StoreState, references: Iterable[str]) -> dict[str, str]:
    by_digest: dict[str, str] = {}
    for reference in references:
        with suppress(NotFound):  # a change may mend a route to nothing
            by_digest[state.digest_of(reference)] = reference
    return by_digest
