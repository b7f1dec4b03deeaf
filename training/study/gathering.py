"""Everything that a study's tables are made of, from what is on disk."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from pydantic import JsonValue

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.decoder.weights import tensors_of
from isogloss.prompts.model.processor import hardware
from isogloss.training.study.evidence import Score, StudyFolder
from isogloss.training.study.paper import paper_model
from isogloss.training.study.plain_times import plain_times
from isogloss.training.study.plan import Study, base_length
from isogloss.training.study.results import PlainStep, StudyResults, StudyRun
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.outputs import versions

_HALF_PRECISION_BYTES = 2  # of a parameter, as the models are handed out
_TOLD_APART = ("sources", "kind", "seed", "length", "shots", "unfrozen", "bottleneck", "words")
"""Settings of a run that the report tells elsewhere."""

_Answered = Mapping[str, Mapping[str, Mapping[str, Score]]]
"""backbone -> language -> digest of a prompt -> what it got right"""


def gather(model: Backbone, plan: Study, folder: StudyFolder) -> StudyResults:
    """Read what was trained and answered.

    Raises:
        InvalidData: a prompt has not answered in some language.
        InvalidPrompt: a prompt's file is damaged.
    """
    prompts = {name: folder.prompt(name) for name in folder.configs}
    backbones = dict.fromkeys(prompt.card.model.fingerprint for prompt in prompts.values())
    units = folder.units()
    # A backbone's answers are read once for all of its prompts.
    articles = folder.articles
    answered = {each: {u.name: u.scores(each, articles) for u in units} for each in backbones}
    parameters = sum(tensor.numel() for tensor in tensors_of(model.weights))
    runs = tuple(
        _run(name, config, prompts[name], answered, parameters)
        for name, config in folder.configs.items()
    )
    asked = {each: sum(unit.seconds(each) for unit in units) for each in backbones}
    return StudyResults(
        model=model.model_id,
        architecture=model.architecture,
        hidden_size=model.hidden_size,
        paper_model=paper_model(model.model_id, model.architecture, model.hidden_size),
        data=plan.data,
        source=plan.choices.source,
        split=plan.split,
        parts=plan.choices.parts,
        shots=plan.choices.shots,
        length=base_length(model, plan.choices),
        runs=runs,
        model_parameters=parameters,
        model_bytes=parameters * _HALF_PRECISION_BYTES,
        settings=_settings(model, list(folder.configs.values())),
        versions={name: str(version) for name, version in versions().items()},
        hardware=hardware(model.device),
        seconds=_seconds(runs, asked.pop(model.fingerprint), sum(asked.values())),
        created_at=datetime.now(UTC),
        variant=plan.choices.variant,
        plain_steps=_plain_steps(plan, folder),
        majority_share=_majority_share(folder),
        uriel=plan.uriel,
    )


def _run(
    name: str, config: TrainingConfig, prompt: SoftPrompt, answered: _Answered, parameters: int
) -> StudyRun:
    facts: Mapping[str, Any] = prompt.card.training
    assert isinstance(config.shots, int)
    scores = _scores(prompt, answered)
    numbers = prompt.vectors.numel() + (parameters if config.unfrozen else 0)
    return StudyRun(
        name=name,
        seed=config.seed,
        shots=config.shots,
        length=config.length,
        kind=config.kind,
        unfrozen=config.unfrozen,
        digest=_digest(prompt),
        dev_accuracy=prompt.card.dev_accuracy,
        best_epoch=int(facts["best_epoch"]),
        epochs=int(facts["epochs_run"]),
        train_seconds=float(facts["seconds"]),
        trained_parameters=numbers + _projections(config, prompt.vectors.shape[1]),
        # Of the numbers that a run leaves behind; its card, some KB, says when and where.
        prompt_bytes=numbers * torch.float32.itemsize,
        accuracy={code: score.accuracy for code, score in scores.items()},
        by_article={code: score.by_article for code, score in scores.items()},
    )


def _projections(config: TrainingConfig, hidden: int) -> int:
    """Parameters of a residual run: two projections, and a layer norm's gain and bias."""
    return 0 if config.bottleneck is None else 2 * hidden * (config.bottleneck + 1)


def _scores(prompt: SoftPrompt, answered: _Answered) -> dict[str, Score]:
    """By language."""
    by_language = answered[prompt.card.model.fingerprint]
    if lacking := [code for code, known in by_language.items() if prompt.digest not in known]:
        raise InvalidData(f"prompt {prompt.digest} has no answers for {lacking[0]}; run again")
    return {code: known[prompt.digest] for code, known in by_language.items()}


def _settings(model: Backbone, configs: Sequence[TrainingConfig]) -> dict[str, JsonValue]:
    """Those of the base run, and in what unfrozen and residual runs differ."""
    shown: dict[str, JsonValue] = configs[0].model_dump(
        mode="json", exclude={*_TOLD_APART, "reparameterization"}
    )
    for config in configs:
        if config.unfrozen:
            shown["learning_rate_unfrozen"] = config.learning_rate
        if config.bottleneck is not None:
            shown["bottleneck"] = config.bottleneck
            shown["reparameterization"] = config.reparameterization
    return {**shown, "dtype": str(model.dtype).removeprefix("torch.")}


def _plain_steps(plan: Study, folder: StudyFolder) -> dict[int, PlainStep]:
    """By seed."""
    times = plain_times(folder.configs, plan.data, plan.out)
    return {each.config.seed: step for each in times if (step := each.kept())}


def _seconds(runs: Sequence[StudyRun], frozen: float, unfrozen: float) -> dict[str, float]:
    """Of each stage that took any; `frozen` and `unfrozen`: how long asking took."""
    stages = {
        "training, frozen": sum(run.train_seconds for run in runs if not run.unfrozen),
        "training, unfrozen": sum(run.train_seconds for run in runs if run.unfrozen),
        "evaluation, frozen": frozen,
        "evaluation, unfrozen": unfrozen,
    }
    return {name: round(seconds, 1) for name, seconds in stages.items() if seconds}


def _majority_share(folder: StudyFolder) -> float:
    """Of the commonest label among the sentences of one language: what guessing gets."""
    counts = Counter(example.label for example in folder.questions[0].examples)
    return max(counts.values()) / counts.total()


def _digest(prompt: SoftPrompt) -> str:
    """Of the numbers alone: a prompt's own digest tells when it was made, too."""
    return f"sha256:{hashlib.sha256(prompt.vectors.numpy().tobytes()).hexdigest()}"
