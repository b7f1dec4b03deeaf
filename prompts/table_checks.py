"""What a route table asks of its prompts before it is published."""

from __future__ import annotations

from collections.abc import Callable

from prompts.errors import InvalidPrompt, NotFound
from prompts.routes import RouteTable
from prompts.soft_prompt import SoftPrompt


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
