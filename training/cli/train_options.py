"""The settings that `isogloss train` takes several values of, each an option stated once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from isogloss.prompts.format.labels import parse_words
from isogloss.prompts.format.template import checked_template
from isogloss.prompts.languages.languages import canonical
from isogloss.training.cli.options import (
    Levels,
    MultiLabel,
    NoneWord,
    parse_kind,
    parse_languages,
    parse_shots,
)
from isogloss.training.tuning.config import TrainingConfig

_DEFAULT = TrainingConfig.model_construct()  # defaults are stated once, there


_Option = Callable[..., Any]
_setting: _Option = partial(typer.Option, rich_help_panel="Settings (each takes several values)")
_taught: _Option = partial(
    typer.Option, rich_help_panel="From a teacher, without labels (several values, too)"
)
_left_open: _Option = partial(
    typer.Option, rich_help_panel="What the paper leaves open (several values, too)"
)


@dataclass(frozen=True)
class Choices:
    """By setting, the values to try; in this order, the last setting varies fastest."""

    task: Annotated[str, typer.Option(help="Name of the task the labels belong to.")] = (
        _DEFAULT.task
    )
    words: Annotated[
        list[str] | None,
        typer.Option(
            "--word", help="label=word: speak a label as this word. Repeat for more labels."
        ),
    ] = None
    multi_label: MultiLabel = False
    levels: Levels = None
    none_word: NoneWord = None
    unfrozen: Annotated[
        bool, typer.Option("--unfrozen", help="Train all weights too (the paper's baseline).")
    ] = False
    sources: Annotated[
        list[str] | None,
        _setting(
            "--source",
            help="Language codes to learn from, with commas between them. (default: English)",
        ),
    ] = None
    shots: Annotated[
        list[str] | None,
        _setting(help="Examples per label and source language, or 'all'. (default: 8)"),
    ] = None
    examples: Annotated[
        list[int] | None,
        _setting(
            help="With --shots all, train on so many, spread over the sources. (default: all)"
        ),
    ] = None
    teacher: Annotated[
        list[str] | None,
        _taught(
            metavar="FILE",
            help="Learn to answer translations as this prompt answers the original. Its labels and "
            "task are the new prompt's; --data, --shots and --validation have no part.",
        ),
    ] = None
    teacher_language: Annotated[
        list[str] | None,
        _taught(help="What the teacher reads. (default: English, or the one source of its card)"),
    ] = None
    parallel: Annotated[
        list[str] | None,
        _taught(
            metavar="DIR",
            help="Parallel text: <code>.txt line by line, SIB-200's <code>/train.tsv, or "
            "NTREX-128. Several folders are read together.",
        ),
    ] = None
    pairs: Annotated[
        list[int] | None,
        _taught(help="Sentences to use, drawn with the seed; a tenth is held out. (default: all)"),
    ] = None
    validation: Annotated[
        list[str] | None,
        _left_open(
            metavar="[dev|train]",
            help="Where the k/4 samples per label (of all: a tenth) come from that choose the "
            "checkpoint; dev also chooses among prompts. (default: train)",
        ),
    ] = None
    checkpoint: Annotated[
        list[str] | None,
        _left_open(
            metavar="[accuracy|loss]",
            help="What chooses the epoch: highest accuracy there, or lowest loss. "
            "(default: accuracy)",
        ),
    ] = None
    reparameterization: Annotated[
        list[str] | None,
        _setting(
            metavar="[none|residual|mlp]",
            help="Train through an MLP; mlp: without the residual connection. (default: none)",
        ),
    ] = None
    bottleneck: Annotated[
        list[int] | None, _setting(help="Width of the MLP. (default: the paper's per model)")
    ] = None
    optimizer: Annotated[
        list[str] | None, _left_open(metavar="[adamw|sgd]", help="Optimizer. (default: adamw)")
    ] = None
    weight_decay: Annotated[
        list[float] | None, _left_open(help="Of the optimizer. (default: 0)")
    ] = None
    schedule: Annotated[
        list[str] | None,
        _left_open(
            metavar="[linear|constant]", help="linear: the rate falls to zero. (default: linear)"
        ),
    ] = None
    warmup: Annotated[
        list[float] | None,
        _left_open(
            metavar="SHARE", help="Of all steps, on which the rate rises from zero. (default: 0)"
        ),
    ] = None
    gradient_clip: Annotated[
        list[float] | None, _left_open(help="Largest gradient norm; 0: any. (default: 1)")
    ] = None
    init: Annotated[
        list[str] | None,
        _left_open(
            metavar="[vocabulary|label|normal|uniform|prompt:FILE|words:TEXT]",
            help="Start from sampled tokens' embeddings, the labels' tokens, noise, numbers in "
            "+-0.5, a trained "
            "prompt (--length follows; {seed} in FILE is each run's seed), or a text's tokens "
            "(--length follows, or cuts or repeats them). A residual prompt starts where its file "
            "says only with --norm-gain 0. (default: vocabulary)",
        ),
    ] = None
    prompt_scale: Annotated[
        list[str] | None,
        _left_open(
            metavar="[none|embedding]",
            help="embedding: multiply the prompt as the model does embeddings (XGLM, "
            "Gemma). (default: none)",
        ),
    ] = None
    loss: Annotated[
        list[str] | None,
        _left_open(
            metavar="[verbalizer|vocabulary]",
            help="Softmax over the labels' tokens, or over the whole vocabulary. "
            "(default: verbalizer)",
        ),
    ] = None
    norm_gain: Annotated[
        list[float] | None,
        _left_open(help="First value of the residual MLP's LayerNorm gain. (default: 1)"),
    ] = None
    max_text_tokens: Annotated[
        list[int] | None,
        _left_open(help="Cut training texts here. (default: where the model cuts them)"),
    ] = None
    text_start: Annotated[
        list[str] | None,
        _left_open(
            metavar="[model|none]",
            help="none: leave out what the model expects before a text (XGLM: </s>). Such a prompt "
            "is evaluated so and cannot be served. (default: model)",
        ),
    ] = None
    template: Annotated[
        list[str] | None,
        _setting(
            metavar="TEMPLATE",
            help="What stands around every text, in training and serving alike, with {text} where "
            "it goes: 'Review: {text} Topic:'. (default: nothing, or as around the texts of the "
            "prompt that --init names)",
        ),
    ] = None
    verbalizer: Annotated[
        list[str] | None,
        _left_open(
            metavar="[labels|published]",
            help="Words of labels without --word: their own, or those of the paper's code. "
            "(default: labels)",
        ),
    ] = None
    epochs: Annotated[
        list[int] | None, _setting(help="Passes over the examples. (default: 20)")
    ] = None
    batch_size: Annotated[list[int] | None, _setting(help="Examples per step. (default: 8)")] = None
    learning_rate: Annotated[
        list[float] | None,
        _setting(
            help="At its peak. (default: the paper's for BLOOM and XGLM; for others 0.3 of "
            "their embeddings' standard deviation)"
        ),
    ] = None
    length: Annotated[
        list[int] | None,
        _setting(help="Vectors of the prompt. (default: the paper's per model)"),
    ] = None
    seed: Annotated[
        list[int] | None, _setting(help="One prompt per seed: --seed 0 1 2. (default: 0)")
    ] = None

    def values(self) -> dict[str, Sequence[Any]]:
        """The values of each setting as a training configuration takes them; none: its default.

        Raises:
            InvalidInput: one cannot be read.
        """
        problem, levels = parse_kind(self.multi_label, self.levels, self.none_word)
        return {
            name: value or () for name, value in vars(self).items() if name != "multi_label"
        } | {
            "task": [self.task],
            "problem": [problem],
            "levels": [levels],
            "none_word": [self.none_word],
            "words": [parse_words(self.words or [])],
            "unfrozen": [self.unfrozen],
            "sources": [parse_languages(codes) for codes in self.sources or []],
            "shots": [parse_shots(count) for count in self.shots or []],
            "template": [checked_template(each) for each in self.template or []],
            "teacher_language": [canonical(code) for code in self.teacher_language or []],
            "parallel": [tuple(self.parallel)] if self.parallel else [],
        }
