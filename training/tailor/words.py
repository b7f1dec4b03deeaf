"""Steps: one `isogloss` command each, with words that are known only when earlier ones are done.

Where a step's files lie (`Output`, `Files`), which prompt was best (`Best`, `BestSingle`), which
prompts are worth a look at the test split (`Shortlist`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Output:
    """A file in a step's folder, or the folder; after a `prefix`, such as "prompt:"."""

    step: str
    file: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        return self.prefix + f"<{self.step}>/{self.file}".removesuffix("/")


@dataclass(frozen=True, slots=True)
class Files:
    """The prompt files of a step whose names match."""

    step: str
    pattern: str

    def __str__(self) -> str:
        return f"<{self.step}>/{self.pattern}"


@dataclass(frozen=True, slots=True)
class Best:
    """A `prefix` (such as "prompt:") and the file of the step's prompt with the best dev accuracy.

    The mean over all languages decides, or one language's where it is given.
    """

    step: str
    evaluation: str
    language: str | None = None
    prefix: str = ""

    def __str__(self) -> str:
        where = f" on {self.language}" if self.language else ""
        return f"{self.prefix}<best of {self.step}{where}>"


@dataclass(frozen=True, slots=True)
class BestSingle:
    """The name of the prompt that is best on dev of all that answer alone, in all languages."""

    evaluations: tuple[str, ...]
    prompts: tuple[str, ...]

    def __str__(self) -> str:
        return "<best single prompt on dev>"


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Files of the prompts that the routes choose, of the best single one, and of some steps whole.

    The test split is read under these alone: candidates that lost on dev are not evaluated again.
    """

    routes: str
    single: BestSingle
    whole: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [f"prompts of {self.routes}", str(self.single)[1:-1], *self.whole]
        return f"<{', '.join(words)}>"


Word = str | Output | Files | Best | BestSingle | Shortlist


@dataclass(frozen=True, slots=True)
class Step:
    """One command, the steps before it that it needs, and what it is predicted to take."""

    name: str
    command: tuple[Word, ...]
    needs: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        return " ".join(["isogloss", *(_quoted(word) for word in self.command)])


def _quoted(word: Word) -> str:
    return shlex.quote(word) if isinstance(word, str) else str(word)
