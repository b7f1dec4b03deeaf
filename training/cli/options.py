"""What the commands share: their options, and values in a row (`--seed 0 1 2`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from isogloss.prompts.console.console import say
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.languages import canonical

if TYPE_CHECKING:
    from isogloss.prompts.format.problem import Problem
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.training.workers.units import PoolSpec

ModelName = Annotated[
    str, typer.Option("--model", help="Hub id, folder in the hub's layout, or pocket model.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data", help="Data set on the hub, or folder <code>/{train,dev,test}.tsv of your own."
    ),
]
Store = Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")]
Split = Annotated[Literal["dev", "test"], typer.Option(help="Split to evaluate on.")]
Languages = Annotated[
    str,
    typer.Option(
        help="Codes with commas between them; all: what the model was pretrained on; "
        "every: all that the data has."
    ),
]
OnlyModel = Annotated[
    str | None,
    typer.Option("--model", help="Use this model's predictions only, as they name it."),
]
MinProbability = Annotated[
    float,
    typer.Option(
        "--min-probability",
        "--confidence",
        min=0.5,
        max=0.9999,
        help="How probable it must be that a route gains (--confidence: its older name).",
    ),
]
MultiLabel = Annotated[
    bool,
    typer.Option(
        "--multi-label",
        help="A text may have several labels, or none: a cell holds them with | between them.",
    ),
]
Levels = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,...,HIGH",
        help="The labels are levels in this order, with commas between them, the lowest first.",
    ),
]
NoneWord = Annotated[
    str | None,
    typer.Option(
        help="With --multi-label, the word that every label is held against. (default: none)"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the choice and publish nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def parse_kind(
    multi_label: bool, levels: str | None, none_word: str | None
) -> tuple[Problem, tuple[str, ...] | None]:
    """What kind of answer is wanted, and its levels.

    Raises:
        InvalidInput: the options exclude each other, or levels are too few.
    """
    if multi_label and levels is not None:
        raise InvalidInput(
            "--multi-label and --levels: a text has several labels or one level; leave one out"
        )
    if none_word is not None and not multi_label:
        raise InvalidInput(f"--none-word {none_word!r}: it goes with --multi-label")
    if levels is None:
        return ("multi_label" if multi_label else "single_label"), None
    names = tuple(name.strip() for name in levels.split(",") if name.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise InvalidInput(f"--levels {levels!r}: name two levels or more, each once, lowest first")
    return "ordered", names


@dataclass(frozen=True)
class Machine:
    """Where a command computes: here, or on workers."""

    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: CUDA where there is one.")
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Precision of the frozen model; auto: float32 on CPU, bfloat16 on GPUs."),
    ] = "auto"
    workers: Annotated[
        int | None,
        typer.Option(
            help="Spread over this many Ray workers, one a GPU where there are GPUs. "
            "(default: this process alone, without Ray)",
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="The cluster's host:port; its machines share the environment, this folder and "
            "--out. (default: $RAY_ADDRESS, else Ray on this machine)",
        ),
    ] = None

    def load(self, model: str) -> tuple[Backbone, PoolSpec | None]:
        """Load a model here, for the workers too if there are any: see `load_model`."""
        from isogloss.training.workers.units import ModelSpec, load_model

        spec = ModelSpec(model, self.device, self.dtype)
        return load_model(spec, self.workers, self.ray_address)


class ManyValuesCommand(TyperCommand):
    """A command without positional arguments, whose list options take values in a row."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option's name before each further value, then parse as ever."""
        many = {name for p in self.params if getattr(p, "multiple", False) for name in p.opts}
        return super().parse_args(ctx, repeat_names(args, many))


def repeat_names(args: Sequence[str], many: Collection[str]) -> list[str]:
    """Put an option's name before every value that follows it.

    >>> repeat_names(["--seed", "0", "1", "--json"], {"--seed"})
    ['--seed', '0', '--seed', '1', '--json']
    """
    spread: list[str] = []
    option: str | None = None
    for arg in args:
        if arg.startswith("-"):
            option = arg if arg in many else None
        elif option is not None and spread[-1] != option:
            spread.append(option)
        spread.append(arg)
    return spread


def to_stderr(line: str) -> None:
    """Tell a person what goes on; standard output is the answer's."""
    say(line, err=True)


def tell_generation(generation: int | None) -> None:
    """Say what came of a choice; None: it was not published."""
    say(
        "dry run: nothing was published"
        if generation is None
        else f"published as generation {generation}"
    )


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """End the command with exit code 130 at Ctrl-C, and say what is `kept`."""
    try:
        yield
    except KeyboardInterrupt:
        to_stderr(f"interrupted: {kept}; run it again to go on")
        raise typer.Exit(130) from None


def parse_codes(text: str) -> tuple[str, ...]:
    """Comma-separated names, each once, in the order given."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_languages(text: str) -> tuple[str, ...]:
    """Comma-separated languages, each once: the table's codes, else names of the data's own."""
    return tuple(dict.fromkeys(map(canonical, parse_codes(text))))


def parse_shots(text: str) -> int | str:
    """`--shots`: a whole number from 1, or "all".

    Raises:
        InvalidInput: neither.
    """
    if text == "all":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise InvalidInput(f"--shots {text!r}: give a whole number from 1, or 'all'")
    return int(text)
