"""From lists of settings to runs, their names, and the populations they train in."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.routing.routes import check_name
from isogloss.training.tuning.config import (
    START_PROMPT,
    START_WORDS,
    TrainingConfig,
    configure,
    with_seed,
)
from isogloss.training.tuning.initialization import start_length, start_template

_LONGEST_NAME = 64  # in a prompt store


def expand(model: Backbone, choices: Mapping[str, Sequence[Any]]) -> tuple[TrainingConfig, ...]:
    """Every combination of the values given, each once, the last setting varying fastest.

    Args:
        model: whose defaults fill what was not chosen.
        choices: by setting, the values to try; none, or None among them, is the default.

    Raises:
        NotFound: there is no such prompt to start from.
        InvalidPrompt: the prompt to start from cannot be used.
        InvalidInput: a value outside its range.
    """
    named = {name: tuple(values) or (None,) for name, values in choices.items()}
    both = len(set(named.get("reparameterization", ()))) > 1
    configs: list[TrainingConfig] = []
    for values in itertools.product(*named.values()):
        choice = dict(zip(named, values, strict=True))
        if both and choice["reparameterization"] in (None, "none"):
            choice["bottleneck"] = None  # in a grid with both kinds it is the networks'
        if (init := choice.get("init")) is not None:
            init = with_seed(init, choice.get("seed") or 0)
        choice["length"] = start_length(model, init, choice.get("length"))
        choice["template"] = start_template(model, init, choice.get("template"))
        if (config := configure(model, choice)) not in configs:
            configs.append(config)
    return tuple(configs)


def populations(configs: Sequence[TrainingConfig], largest: int) -> list[tuple[int, ...]]:
    """Which runs train together, as places in `configs`: at most `largest` at once.

    Runs on the same examples share their texts' keys and values, and runs of one length need no
    padding, so these are neighbours. An unfrozen run is alone: its weights are its own. The answer
    depends on nothing else, so that a resumed job finds its populations again.
    """
    if largest < 1:
        raise InvalidInput(f"--population {largest}: give at least 1")
    frozen = [i for i, config in enumerate(configs) if not config.unfrozen]
    frozen.sort(key=lambda i: _likeness(configs[i]))
    together = [tuple(frozen[i : i + largest]) for i in range(0, len(frozen), largest)]
    return together + [(i,) for i, config in enumerate(configs) if config.unfrozen]


def run_names(model_id: str, configs: Sequence[TrainingConfig], name: str | None) -> list[str]:
    """Names of the runs' files, which are also valid names in a prompt store.

    `<task>-<model>-<kind>-<length>`, or what the user calls it; then what differs between the runs;
    then `-seed<S>`.

    Raises:
        InvalidInput: the name given, or one that was made, is not valid in a store.
    """
    differing = varied(configs)
    return [_run_name(model_id, config, name, differing) for config in configs]


def _run_name(
    model_id: str, config: TrainingConfig, name: str | None, differing: Sequence[str]
) -> str:
    """Where runs differ in more than a name holds, a few digits of a hash stand for all of it."""
    short = re.sub(r"[^a-z0-9._-]+", "-", Path(model_id).name.lower()).strip("-._")
    in_made = ("task", "kind", "length", "unfrozen")
    made = f"{config.task}-{short}-{_value(config, 'kind')}-{config.length}"
    if config.unfrozen:
        made += "-unfrozen"
    tags = [
        tag(_value(config, setting))
        for setting, tag in _TAGS.items()
        if setting in differing and (name or setting not in in_made)
    ]
    whole = "-".join([name or made, *filter(None, tags), f"seed{config.seed}"])
    if tags and len(whole) > _LONGEST_NAME:
        return check_name(f"{name or made}-{_digits(repr(tags))}-seed{config.seed}")
    return check_name(whole)


def varied(configs: Sequence[TrainingConfig]) -> list[str]:
    """Settings in which the runs differ, apart from the seed.

    Plain prompts have no bottleneck: it differs where that of the others does.
    """
    values = {name: {repr(_value(config, name)) for config in configs} for name in _TAGS}
    values["bottleneck"] -= {repr(None)}
    return [name for name, several in values.items() if len(several) > 1]


def _value(config: TrainingConfig, setting: str) -> Any:
    """Of a setting; a kind says the network, too, which a prompt file's word does not."""
    if setting == "kind" and config.reparameterization == "mlp":
        return "mlp"
    return getattr(config, setting)


def _likeness(config: TrainingConfig) -> tuple[Any, ...]:
    examples = (
        config.sources,
        str(config.validation),
        str(config.shots),
        config.seed,
        config.examples or 0,
    )
    form = (config.text_start, config.template or "")
    taught = (config.teacher or "", config.pairs or 0, *form)
    return (*taught, *examples, config.max_text_tokens or 0, config.batch_size, config.length)


def _codes(sources: Sequence[str]) -> str:
    """One or two languages by code; more by their number, told apart by a few digits of a hash."""
    codes = [re.sub(r"[^a-z0-9]+", "", code.lower()) for code in sources]
    if len(codes) <= 2:
        return "-".join(codes)
    return f"{len(codes)}langs-{_digits(repr(sources))}"


def _digits(text: str) -> str:
    """A few digits that tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _prompt(path: str | None) -> str:
    """A prompt file by how its name begins; in two folders there may be two of one name."""
    if path is None:
        return "labels"
    begins = re.sub(r"[^a-z0-9._-]+", "-", Path(path).stem.lower())[:12].strip("-._")
    return "-".join(filter(None, [begins, _digits(path)]))


def _init(init: str) -> str:
    """A start by its kind; a prompt file by its name, and a text by a few digits of a hash."""
    if init.startswith(START_PROMPT):
        return f"init-{_prompt(init.removeprefix(START_PROMPT))}"
    if init.startswith(START_WORDS):
        return f"init-words-{_digits(init)}"
    return f"init-{init}"


def _tagged(short: str) -> Callable[[Any], str]:
    def say(value: Any) -> str:
        number = f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)
        return short + number

    return say


# What a setting adds to a name where runs differ in it.
_TAGS: dict[str, Callable[[Any], str]] = {
    "kind": str,
    "length": _tagged("length"),
    "unfrozen": lambda value: "unfrozen" if value else "frozen",
    "sources": _codes,
    "teacher": lambda value: f"from-{_prompt(value)}",
    "teacher_language": lambda value: f"reads-{_codes([value])}" if value else "",
    "pairs": lambda value: f"pairs{value}" if value else "pairsall",
    "shots": _tagged("shots"),
    "examples": lambda value: f"examples{value}" if value else "examplesall",
    "validation": _tagged("validation-"),
    "bottleneck": lambda value: f"bottleneck{value}" if value else "",
    "epochs": _tagged("epochs"),
    "batch_size": _tagged("batch"),
    "learning_rate": _tagged("lr"),
    "optimizer": str,
    "weight_decay": _tagged("decay"),
    "schedule": str,
    "warmup": _tagged("warmup"),
    "gradient_clip": _tagged("clip"),
    "init": _init,
    "prompt_scale": _tagged("scale-"),
    "loss": _tagged("loss-"),
    "norm_gain": _tagged("gain"),
    "max_text_tokens": lambda value: f"tokens{value}" if value else "tokensall",
    "text_start": _tagged("start-"),
    "template": lambda value: f"template-{_digits(value)}" if value else "bare",
    "checkpoint": _tagged("by-"),
    "verbalizer": _tagged("words-"),
    "problem": _tagged(""),
}
