"""What a route table asks of its prompts, and of those on trial, before it is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from isogloss.prompts.errors import InvalidPrompt, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.routing.trials import Trial


def check_table(
    table: RouteTable,
    digest_of: Callable[[str], str],
    prompt_of: Callable[[str], SoftPrompt],
) -> None:
    """Require that a table's prompts exist, are for its model and task, and share their labels.

    `digest_of` resolves a reference, `prompt_of` reads what a digest stands for.

    Raises:
        InvalidPrompt: they do not; the message says which and why.
    """
    first: tuple[str, SoftPrompt] | None = None
    for reference in table.references:
        try:
            digest = digest_of(reference)
        except NotFound as error:
            raise InvalidPrompt(
                f"the routes of {table.model.id}, task {table.task!r}, choose {reference!r}: "
                f"{error}"
            ) from error
        prompt = prompt_of(digest)
        _check_member(table, reference, prompt)
        if first is None:
            first = reference, prompt
        _check_alike(reference, prompt, *first)


def check_candidate(
    table: RouteTable,
    trial: Trial,
    digest_of: Callable[[str], str],
    prompt_of: Callable[[str], SoftPrompt],
) -> None:
    """Require that a candidate could be routed where it is on trial, and reads the text before it.

    Raises:
        InvalidPrompt: it could not; the message says why.
    """
    candidate = prompt_of(digest_of(trial.candidate))
    _check_member(table, trial.candidate, candidate)
    first = prompt_of(digest_of(table.universal))
    _check_alike(trial.candidate, candidate, table.universal, first)
    routed = {table.by_clade[clade] for clade in trial.clades}
    for reference in (trial.candidate, *sorted(routed)):
        if prompt_of(digest_of(reference)).card.position != "suffix":
            raise InvalidPrompt(
                f"prompt {reference!r} stands before the text (prefix) and takes a pass of its "
                f"own: the trial of {trial.candidate!r} needs two prompts that follow the text, to "
                "score both on one pass; publish it with --route instead"
            )


def check_trials(
    table: RouteTable,
    trials: Iterable[Trial],
    digest_of: Callable[[str], str],
    prompt_of: Callable[[str], SoftPrompt],
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


def _check_member(table: RouteTable, reference: str, prompt: SoftPrompt) -> None:
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


def _check_alike(
    reference: str, prompt: SoftPrompt, first_reference: str, first: SoftPrompt
) -> None:
    """One request's labels cannot depend on its language: a table's prompts agree on them."""
    labels, expected = (
        [(label.label, label.token_id) for label in p.card.labels] for p in (prompt, first)
    )
    if labels != expected:
        raise InvalidPrompt(
            f"prompt {reference!r} has labels (and token ids) {labels}, but {first_reference!r} in "
            f"the same route table has {expected}; train both with the same labels and words"
        )
    if prompt.hidden_size != first.hidden_size:
        raise InvalidPrompt(
            f"prompt {reference!r} has hidden size {prompt.hidden_size}, but {first_reference!r} "
            f"in the same route table has {first.hidden_size}"
        )
