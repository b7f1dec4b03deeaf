"""A model's folder of work: one recipe's, and one process's at a time."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.durable import write_atomically
from isogloss.training.recipes.pocket.recipe import Recipe


@contextmanager
def claimed(work: Path, recipe: Recipe, *, resume: bool) -> Iterator[None]:
    """Hold a model's folder of work while it is trained; emptied first, unless it is resumed.

    Raises:
        InvalidInput: another process trains there, or what was begun there is another recipe.
    """
    work.mkdir(parents=True, exist_ok=True)
    # The system lets go of it however the process ends, so that no stale lock is left behind.
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                f"{work}: another process trains {recipe.name} there; stop it or wait for its end"
            ) from None
        for path in () if resume else work.iterdir():
            if path.name != "lock":
                path.unlink()
        refuse_another_recipe(work, recipe)
        write_atomically(work / "recipe.json", json.dumps(asdict(recipe), indent=2).encode())
        yield


def refuse_another_recipe(work: Path, recipe: Recipe) -> None:
    """A checkpoint of another recipe would be gone on with, and nobody would see it.

    Raises:
        InvalidInput: what was begun in `work` is another recipe.
    """
    path = work / "recipe.json"
    if not path.is_file():
        return
    begun, wanted = json.loads(path.read_text(encoding="utf-8")), asdict(recipe)
    for field in wanted.keys() - {"minutes_between_checkpoints"}:
        if begun.get(field) != wanted[field]:
            raise InvalidInput(
                f"{work}: {recipe.name} was begun with {field} {begun.get(field)}, and now it is "
                f"{wanted[field]}; take the same {field}, another --work, or remove the folder"
            )
