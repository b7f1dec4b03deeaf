"""A repository's README: what the hub shows of a prompt, from what its own card knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import EnsembleCard
from isogloss.prompts.format.prompt import Prompt, members_of
from isogloss.prompts.languages.languages import languages


def model_card(prompt: Prompt, name: str, repository: str) -> str:
    """The README of a prompt's repository.

    Args:
        prompt: that is pushed.
        name: its name in the store.
        repository: owner/name.
    """
    card = prompt.card
    about = [
        f"# {name}",
        f"A soft prompt for `{card.model.id}`, which stays frozen: {_size(prompt)}. It classifies "
        f"texts for the task `{card.task}`: {', '.join(each.label for each in card.labels)}.",
        *_template(card),
        *_origin(card),
        "```sh\npip install 'isogloss[serve,hub]'\n"
        f"isogloss prompts pull {repository} --route universal\n"
        f"isogloss serve --model {card.model.id}\n```",
        f"It fits weights of the fingerprint `{card.model.fingerprint}` and no others; another "
        "model refuses it.",
    ]
    return "\n".join(["---", *_front_matter(card), "---", "", "\n\n".join(about), ""])


def _template(card: PromptCard | EnsembleCard) -> list[str]:
    if isinstance(card, EnsembleCard) or card.template is None:
        return []
    return [f"It reads texts in the template `{json.dumps(card.template, ensure_ascii=False)}`."]


def _front_matter(card: PromptCard | EnsembleCard) -> list[str]:
    """What the hub finds repositories by; JSON is YAML."""
    told: dict[str, Any] = {
        "library_name": "isogloss",
        "pipeline_tag": "text-classification",
        "tags": ["soft-prompt", "prompt-tuning", f"task:{card.task}"],
    }
    if _is_hub_id(card.model.id):
        told["base_model"] = card.model.id
    if found := _languages(card):
        told["language"] = found
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()]


def _origin(card: PromptCard | EnsembleCard) -> list[str]:
    if isinstance(card, EnsembleCard):
        members = ", ".join(member.name for member in card.members)
        return [f"{len(card.members)} prompts answer together: {members}."]
    told = []
    if sources := _sources(card):
        names = [languages()[code].name for code in sources if code in languages()]
        told.append(f"It learned from {', '.join(names)}.")
    if card.dev_accuracy is not None:
        told.append(f"On dev it is right on {100 * card.dev_accuracy:.1f} % of sentences.")
    return [" ".join(told)] if told else []


def _languages(card: PromptCard | EnsembleCard) -> list[str]:
    found = [languages()[code].iso639_3 for code in _sources(card) if code in languages()]
    return list(dict.fromkeys(found))


def _sources(card: PromptCard | EnsembleCard) -> Sequence[str]:
    """The languages whose examples it learned from, where its training says so."""
    given = card.training.get("source") or card.training.get("sources") or ()
    if isinstance(given, str):
        return given.split(",")
    return [str(each) for each in given] if isinstance(given, list) else ()


def _size(prompt: Prompt) -> str:
    vectors = sum(member.prompt.length for member in members_of("", prompt))
    return f"{vectors} vectors, {prompt.card.kind}"


def _is_hub_id(model: str) -> bool:
    owner, slash, name = model.partition("/")
    return bool(slash and owner and name) and "/" not in name and not owner.startswith((".", "~"))
