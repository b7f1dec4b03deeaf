"""Like with like: a step that trains a prompt alone, timed beside one that trains all weights.

A study's frozen prompts train many at a time on cached text, which the unfrozen ones cannot. Here
both train alone, by the same steps on the same examples, and each step reads its texts anew.

    OUT/times/<unfrozen run>.json   seconds of a step, with and without freezing
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.study.results import PlainStep
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.dataset import Datasets
from isogloss.training.tuning.prompt_trainer import PromptTrainer
from isogloss.training.tuning.texts import CacheBudget
from isogloss.training.tuning.trainer import Silent, Trainer

_STEPS = 8  # timed in each setting, of which the median counts
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class PlainTime:
    """The time of one seed's steps."""

    name: str  # of the unfrozen run
    config: TrainingConfig  # its settings
    data: str
    folder: Path

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.folder / "times" / f"{self.name}.json"

    def kept(self) -> PlainStep | None:
        """It, if it was taken.

        Raises:
            InvalidInput: the file is damaged.
        """
        try:
            return PlainStep(**json.loads(self.file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{self.file}: cannot be read ({error}); delete it, and it is made again"
            ) from error

    def run(self, model: Backbone, watcher: Any = None) -> None:
        """Take it, and keep it.

        Raises:
            InvalidInput: the file cannot be written.
        """
        lesson = self.config, Datasets(model, self.data).load(self.config)
        trainer = Trainer.prepare(model, [lesson], CacheBudget(), Silent())
        step = _timed(trainer)
        writable_folder(self.file.parent)
        write_atomically(self.file, json.dumps(asdict(step)).encode())


def plain_times(configs: Mapping[str, TrainingConfig], data: str, out: Path) -> list[PlainTime]:
    """Those of a study's unfrozen runs."""
    return [PlainTime(n, config, data, out) for n, config in configs.items() if config.unfrozen]


def _timed(trainer: Trainer) -> PlainStep:
    """Medians over some batches, after some that nobody times."""
    (prompt,) = trainer.prompts
    prompt_s: list[float] = []
    weights_s: list[float] = []
    for _ in range(_WARM_UP + _STEPS):
        batch = prompt.next_batch()
        for seconds, trained in ((weights_s, True), (prompt_s, False)):
            for weight in prompt.weights:
                weight.requires_grad_(trained)
            seconds.append(_step(trainer, prompt, batch))
    return PlainStep(median(prompt_s[_WARM_UP:]), median(weights_s[_WARM_UP:]))


def _step(trainer: Trainer, prompt: PromptTrainer, batch: list[int]) -> float:
    """Seconds of one step: forward, backward and update."""
    _settle()
    began = time.perf_counter()
    (loss,) = trainer.gradients([prompt], [batch])
    prompt.learn(loss, len(batch))
    _settle()
    return time.perf_counter() - began


def _settle() -> None:
    """Wait for a GPU, which works on while its caller goes on."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
