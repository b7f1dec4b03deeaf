"""The prompts that a command was given: files, folders of files, or names in a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.files.texts import pattern_hint
from isogloss.prompts.format.prompt import Prompt, load_prompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.routing.routes import check_name
from isogloss.prompts.store.store import open_store

_STATE = ".state.safetensors"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt and what it is called: its file's name without ending, or its name in the store."""

    name: str
    prompt: Prompt


def load_candidates(given: Sequence[str], store: Path | None) -> list[Candidate]:
    """Read every prompt named on the command line.

    Args:
        given: prompt files, folders of prompt files, or `name[@version]` in the store.
        store: the store's folder; None is the default store, opened only where a name is given.

    Raises:
        NotFound: neither a file nor a name in the store.
        InvalidInput: no prompts, or two with one name.
        InvalidPrompt: a file was refused.
    """
    candidates = [candidate for text in given for candidate in _load(text, store)]
    if not candidates:
        raise InvalidInput("--prompts: name at least one prompt file, folder or stored prompt")
    names = [candidate.name for candidate in candidates]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"--prompts: two prompts are called {twice[0]!r}; rename one file")
    return candidates


def check_alike(model: Backbone, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Require prompts for this model, of one task and label set; return its labels.

    Raises:
        InvalidPrompt: a prompt is for another backbone.
        InvalidInput: tasks or labels differ, naming both prompts.
    """
    first = candidates[0]
    for candidate in candidates:
        candidate.prompt.check_fits(model)
        ours, theirs = _task_and_labels(candidate), _task_and_labels(first)
        if ours != theirs:
            raise InvalidInput(
                f"prompts {first.name!r} and {candidate.name!r} have different tasks or labels "
                f"({theirs} and {ours}); evaluate them in two calls"
            )
    return tuple(label.label for label in first.prompt.card.labels)


def _task_and_labels(candidate: Candidate) -> tuple[str, str, list[str]]:
    card = candidate.prompt.card
    labels = [label.label for label in card.labels]
    return card.task, card.problem, labels if card.problem == "ordered" else sorted(labels)


def prompt_files(folder: Path) -> dict[str, Path]:
    """Finished prompts of a folder by name; what an unfinished run keeps for itself is none."""
    files = sorted(folder.glob("*.safetensors"))
    return {path.stem: path for path in files if not path.name.endswith(_STATE)}


def _load(text: str, store: Path | None) -> list[Candidate]:
    path = expanded(text, "--prompts")
    if path.is_dir():
        files = prompt_files(path)
        if not files:
            raise NotFound(f"--prompts {text!r}: the folder has no prompt files (*.safetensors)")
        return [_load_file(file) for file in files.values()]
    if path.is_file():
        return [_load_file(path)]
    if path.suffix == ".safetensors" or "/" in text:
        raise NotFound(f"--prompts {text!r}: no such file or folder{pattern_hint(text)}")
    opened = open_store(store)
    _, _, digest = opened.state().resolve(text)
    return [Candidate(text, opened.read(digest))]


def _load_file(path: Path) -> Candidate:
    return Candidate(check_name(path.stem), load_prompt(path))
