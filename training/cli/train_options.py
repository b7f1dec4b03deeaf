"""The options of `isogloss train`, each stated once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _setting(*, help: str, metavar: str | None = None) -> Any:
    panel = "Settings (each takes several values)"
    return typer.Option(help=help, metavar=metavar, rich_help_panel=panel)


def _taught(*, help: str, metavar: str | None = None) -> Any:
    panel = "From a teacher, without labels (several values, too)"
    return typer.Option(help=help, metavar=metavar, rich_help_panel=panel)


def _left_open(*, help: str, metavar: str | None = None) -> Any:
    panel = "What the paper leaves open (several values, too)"
    return typer.Option(help=help, metavar=metavar, rich_help_panel=panel)


def _this_run(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="This run")


Out = Annotated[Path, typer.Option(help="Folder for the prompt files.")]
Task = Annotated[str, typer.Option(help="Name of the task the labels belong to.")]
Word = Annotated[
    list[str] | None,
    typer.Option(help="label=word: speak a label as this word. Repeat for more labels."),
]
Unfrozen = Annotated[
    bool, typer.Option("--unfrozen", help="Train all weights too (the paper's baseline).")
]
Source = Annotated[
    list[str] | None,
    _setting(help="Language codes to learn from, with commas between them. (default: English)"),
]
Shots = Annotated[
    list[str] | None,
    _setting(help="Examples per label and source language, or 'all'. (default: 8)"),
]
Teacher = Annotated[
    list[str] | None,
    _taught(
        metavar="FILE",
        help="Learn to answer translations as this prompt answers the original. Its labels and "
        "task are the new prompt's; --data, --shots and --validation have no part.",
    ),
]
Parallel = Annotated[
    list[str] | None,
    _taught(
        metavar="DIR",
        help="Parallel text: <code>.txt line by line, SIB-200's <code>/train.tsv, or NTREX-128. "
        "Several folders are read together.",
    ),
]
TeacherLanguage = Annotated[
    list[str] | None,
    _taught(help="What the teacher reads. (default: English, or the one source of its card)"),
]
Pairs = Annotated[
    list[int] | None,
    _taught(help="Sentences to use, drawn with the seed; a tenth is held out. (default: all)"),
]
Length = Annotated[
    list[int] | None,
    _setting(help="Vectors of the prompt. (default: the paper's per model)"),
]
Reparameterization = Annotated[
    list[str] | None,
    _setting(metavar="[none|residual]", help="residual: train through an MLP. (default: none)"),
]
Bottleneck = Annotated[
    list[int] | None, _setting(help="Width of the MLP. (default: the paper's per model)")
]
Seed = Annotated[list[int] | None, _setting(help="One prompt per seed: --seed 0 1 2. (default: 0)")]
Epochs = Annotated[list[int] | None, _setting(help="Passes over the examples. (default: 20)")]
BatchSize = Annotated[list[int] | None, _setting(help="Examples per step. (default: 8)")]
LearningRate = Annotated[
    list[float] | None, _setting(help="At its peak. (default: the paper's per model)")
]
Validation = Annotated[
    list[str] | None,
    _left_open(
        metavar="[dev|train]",
        help="Where the k/4 validation samples per label come from. (default: dev)",
    ),
]
Optimizer = Annotated[
    list[str] | None, _left_open(metavar="[adamw|sgd]", help="Optimizer. (default: adamw)")
]
WeightDecay = Annotated[list[float] | None, _left_open(help="Of the optimizer. (default: 0)")]
Schedule = Annotated[
    list[str] | None,
    _left_open(
        metavar="[linear|constant]", help="linear: the rate falls to zero. (default: linear)"
    ),
]
GradientClip = Annotated[
    list[float] | None, _left_open(help="Largest gradient norm; 0: any. (default: 1)")
]
Init = Annotated[
    list[str] | None,
    _left_open(
        metavar="[vocabulary|label|normal|prompt:FILE|words:TEXT]",
        help="Start from sampled tokens' embeddings, the labels' tokens, noise, a trained prompt "
        "(--length follows), or a text's tokens (--length follows, or cuts or repeats them). A "
        "residual prompt starts where its file says only with --norm-gain 0. (default: vocabulary)",
    ),
]
Loss = Annotated[
    list[str] | None,
    _left_open(
        metavar="[verbalizer|vocabulary]",
        help="Softmax over the labels' tokens, or over the whole vocabulary. (default: verbalizer)",
    ),
]
NormGain = Annotated[
    list[float] | None,
    _left_open(help="First value of the residual MLP's LayerNorm gain. (default: 1)"),
]
MaxTextTokens = Annotated[
    list[int] | None,
    _left_open(help="Cut training texts here. (default: where the model cuts them)"),
]
Name = Annotated[
    str | None,
    _this_run(help="Name of the files. (default: task-model-kind-length)"),
]
Resume = Annotated[
    bool,
    _this_run("--resume", help="Go on with an interrupted run; keep finished prompts."),
]
Overwrite = Annotated[
    bool,
    _this_run("--overwrite", help="Replace prompts that were trained with other settings."),
]
State = Annotated[
    bool,
    _this_run(
        "--state/--no-state",
        help="Keep what --resume needs while training (unfrozen: 4 times the weights).",
    ),
]
PopulationSize = Annotated[
    int | None,
    _this_run(help="Prompts that train together at most. (default: 16 on CPU, 64 on a GPU)"),
]
CacheGb = Annotated[
    float,
    _this_run(help="Memory for encoded texts, in GB; what exceeds it goes to a file."),
]
CacheDir = Annotated[Path | None, _this_run(help="Folder of that file. (default: --out)")]
