"""Runs steps in order, each in a folder of its own; a finished one is not run again.

WORK/<step>-<8 digits>/            what the step wrote
WORK/<step>-<8 digits>/done.json   its command and the seconds it took; written last

The digits stand for the command, the model's weights, the data and everything the step builds on.
A changed setting therefore gets a folder of its own, and so does all that follows from it; what was
made before is kept, and found again if the setting changes back.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.errors import InvalidData, NotFound
from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.store import PromptStore
from isogloss.training.evaluation.candidates import prompt_files
from isogloss.training.evaluation.predictions import read_predictions
from isogloss.training.evaluation.summary import PromptSummary, summarize
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.tailor.words import Best, BestSingle, Files, Output, Shortlist, Step, Word

_DONE = "done.json"
_DIGITS = 8

Run = Callable[[Sequence[str]], None]
"""Runs one `isogloss` command, given its words."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A step that is done."""

    name: str
    folder: Path
    command: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """What happens to a step, for whoever watches."""

    step: Step
    number: int
    seconds: float | None = None  # that it took; None: it begins
    kept: bool = False  # it was done before


def run_steps(
    steps: Sequence[Step], work: Path, about: str, run: Run, tell: Callable[[Told], None]
) -> dict[str, Finished]:
    """Run what is not done yet; return all steps by name.

    Args:
        steps: each after those that it needs.
        work: where their folders go.
        about: what they depend on besides their commands: the model's weights, the data.
        run: runs a command, and raises what stops it.
        tell: told when a step begins and when it is done.

    Raises:
        InvalidInput: a folder cannot be written.
    """
    folders = step_folders(steps, work, about)
    finished: dict[str, Finished] = {}
    for number, step in enumerate(steps, start=1):
        folder = folders[step.name]
        known = _read(step.name, folder)
        if known is None:
            tell(Told(step, number))
            command = [text for word in step.command for text in resolve(word, folders)]
            finished[step.name] = _run(step.name, command, folder, run)
        else:
            finished[step.name] = known
        tell(Told(step, number, finished[step.name].seconds, known is not None))
    return finished


def _run(name: str, command: Sequence[str], folder: Path, run: Run) -> Finished:
    writable_folder(folder)
    began = time.monotonic()
    run(command)
    done = Finished(name, folder, tuple(command), round(time.monotonic() - began, 1))
    facts = {"command": done.command, "seconds": done.seconds}
    write_atomically(folder / _DONE, json.dumps(facts, indent=1).encode())
    return done


def _read(name: str, folder: Path) -> Finished | None:
    if not (folder / _DONE).is_file():
        return None
    facts = json.loads((folder / _DONE).read_bytes())
    return Finished(name, folder, tuple(facts["command"]), facts["seconds"])


def step_folders(steps: Sequence[Step], work: Path, about: str) -> dict[str, Path]:
    """Where each step's files are or will be."""
    identities: dict[str, str] = {}
    for step in steps:
        facts = [about, str(step), *(identities[need] for need in step.needs)]
        identities[step.name] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return {name: work / f"{name}-{digest[:_DIGITS]}" for name, digest in identities.items()}


def resolve(word: Word, folders: Mapping[str, Path]) -> list[str]:
    """A word of a command as text, now that the steps it names are done."""
    match word:
        case str():
            return [word]
        case Output():
            return [word.prefix + str(folders[word.step] / word.file)]
        case Files():
            files = prompt_files(folders[word.step]).values()
            return [str(path) for path in files if path.match(word.pattern)]
        case Best():
            ranked = best_first(summaries(folders[word.evaluation]), word.language)
            made = prompt_files(folders[word.step])
            return [word.prefix + str(next(made[name] for name in ranked if name in made))]
        case BestSingle():
            return [best_single(word, folders)]
        case Shortlist():
            return [str(path) for path in _shortlist(word, folders)]


def best_single(word: BestSingle, folders: Mapping[str, Path]) -> str:
    """Name of the prompt that is best on dev of all that answer alone."""
    files = _files(word.prompts, folders)
    ranked = best_first([each for name in word.evaluations for each in summaries(folders[name])])
    return next(name for name in ranked if isinstance(load_prompt(files[name]), SoftPrompt))


def _files(steps: Sequence[str], folders: Mapping[str, Path]) -> dict[str, Path]:
    return {name: path for step in steps for name, path in prompt_files(folders[step]).items()}


def _shortlist(word: Shortlist, folders: Mapping[str, Path]) -> Iterator[Path]:
    files = _files(word.single.prompts, folders)
    routed = PromptStore.open(folders[word.routes] / "store").state().prompts
    whole = [name for step in word.whole for name in prompt_files(folders[step])]
    for name in dict.fromkeys([*sorted(routed), best_single(word.single, folders), *whole]):
        yield files[name]


@functools.cache
def summaries(folder: Path) -> tuple[PromptSummary, ...]:
    """Accuracies that a finished evaluation found; read once, the files are large.

    Raises:
        InvalidData: its file is not there, or damaged.
    """
    return tuple(summarize(read_predictions(folder / "predictions.csv")))


def best_first(evaluated: Sequence[PromptSummary], language: str | None = None) -> list[str]:
    """Names of prompts by mean accuracy, or by one language's; on a tie by name.

    Raises:
        InvalidData: the language was not evaluated.
    """
    if language is not None and any(language not in summary.languages for summary in evaluated):
        raise InvalidData(f"{language} was not evaluated: add it to the languages")
    if not evaluated:
        raise NotFound("nothing was evaluated")
    accuracy = {
        each.prompt: each.languages[language] if language else each.mean for each in evaluated
    }
    return sorted(accuracy, key=lambda name: (-round(accuracy[name], 9), name))
