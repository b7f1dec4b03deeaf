"""What the servers of `bench http` are given: a model folder, prompts, a store, request bodies.

Texts are made up of syllables and have SIB-200's lengths under the model's tokenizer. Each request
names its prompt, so that all contenders can be asked the same and their answers compared.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from isogloss.deploy.bench.comparing import MakeModel
from isogloss.deploy.bench.settings import HttpSettings
from isogloss.deploy.bench.texts import PROMPT_STD, sib_lengths
from isogloss.prompts.format.soft_prompt import ModelRef, PromptCard, SoftPrompt
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.full_size import FULL_SIZE, full_size_config
from isogloss.prompts.model.names import POCKET, resolve
from isogloss.prompts.model.tokenizer import Tokenizer
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore

TOPICS = (
    *("science/technology", "travel", "politics", "sports"),
    *("health", "entertainment", "geography"),
)
TASK = "topic"
POOL = 64  # different requests
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
_MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: a text and the prompt it names."""

    text: str
    prompt: str

    def body(self) -> str:
        """As JSON on one line; ours and the peers read the same."""
        return json.dumps({"inputs": self.text, "prompt": self.prompt})


@dataclass(frozen=True, slots=True)
class HttpWorkload:
    """One model's weights, prompts and requests, in the files that the servers are given."""

    model: str
    """Its name in the report."""
    source: str
    """What `--model` is given."""
    store: Path
    """Ours serves the prompts from here,"""
    prompts: Path
    """and the peers read the same files here: NAME.safetensors."""
    bodies: Path
    """One JSON body a line; load goes round them."""
    asked: tuple[Asked, ...]
    lengths: tuple[int, ...]
    """Tokens of each text."""
    prompt_length: int

    @property
    def tokens_per_text(self) -> float:
        """Tokens that a model must read for a text, its prompt included."""
        return sum(self.lengths) / len(self.lengths) + self.prompt_length

    def probes(self) -> tuple[Asked, ...]:
        """What contenders are compared on: a text under every prompt, and texts under their own."""
        names = sorted({each.prompt for each in self.asked})
        return (*(Asked(self.asked[0].text, name) for name in names), *self.asked[: len(names)])


def prepare(
    name: str,
    folder: Path,
    settings: HttpSettings,
    make_model: MakeModel,
) -> HttpWorkload:
    """Write everything that one model's servers need.

    Args:
        name: of a full-size model (random weights), a pocket model, or a folder.
        folder: where to write; emptied by the caller.
        settings: settled; how many prompts, of how many random vectors each.
        make_model: from a full-size model's name to a transformers causal LM.

    Raises:
        NotFound, InvalidInput: as `Backbone.load`.
    """
    if name in FULL_SIZE:
        source = str(_write_model(name, folder / "model", settings, make_model))
    else:
        source = resolve(name)
    backbone = Backbone.load(source, device=settings.device, dtype=settings.dtype)
    made = _random_prompts(backbone, source, settings)
    _publish(made, folder / "store", folder / "prompts")
    texts = pseudo_texts(sib_lengths(POOL), backbone.tokenizer, settings.seed)
    names = list(made)
    asked = tuple(Asked(text, names[i % len(names)]) for i, text in enumerate(texts))
    bodies = folder / "bodies.jsonl"
    bodies.write_text("".join(f"{each.body()}\n" for each in asked), encoding="utf-8")
    counted = backbone.tokenizer.encode(texts, backbone.max_text_tokens)
    return HttpWorkload(
        model=name,
        source=source,
        store=folder / "store",
        prompts=folder / "prompts",
        bodies=bodies,
        asked=asked,
        lengths=tuple(len(text.ids) for text in counted),
        prompt_length=settings.prompt_length,
    )


def pseudo_texts(lengths: Sequence[int], tokenizer: Tokenizer, seed: int) -> list[str]:
    """Texts of made-up words with exactly so many tokens, in random order."""
    drawn = random.Random(seed)
    ordered = list(lengths)
    drawn.shuffle(ordered)
    return [_pseudo_text(length, tokenizer, drawn) for length in ordered]


def _pseudo_text(length: int, tokenizer: Tokenizer, drawn: random.Random) -> str:
    """Add words of one to four syllables while they fit; one syllable is one token or two."""
    words = [drawn.choice(_SYLLABLES)]
    while (missing := length - _tokens(words, tokenizer)) > 0:
        syllables = drawn.randint(1, min(4, missing))
        word = "".join(drawn.choices(_SYLLABLES, k=syllables))
        if _tokens([*words, word], tokenizer) <= length:
            words.append(word)
    return " ".join(words)


def _tokens(words: Sequence[str], tokenizer: Tokenizer) -> int:
    return len(tokenizer.encode([" ".join(words)], 1 << 20)[0].ids)


def _write_model(name: str, folder: Path, settings: HttpSettings, make_model: MakeModel) -> Path:
    """A full-size model with random weights as a folder in the hub's layout.

    Its tokenizer is the pocket model's of its architecture, or BLOOM's: their ids fit in any
    vocabulary.
    """
    precision = getattr(torch, settings.dtype)
    model: Any = make_model(name, settings.seed, torch.device("cpu"), precision)
    model.save_pretrained(folder)
    own = POCKET / f"pocket-{full_size_config(name).model_type}"
    for file in (own if own.is_dir() else POCKET / "pocket-bloom").glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def _random_prompts(
    backbone: Backbone, source: str, settings: HttpSettings
) -> dict[str, SoftPrompt]:
    random_numbers = torch.Generator().manual_seed(settings.seed)
    shape = (settings.prompts, settings.prompt_length, backbone.hidden_size)
    vectors = torch.randn(shape, generator=random_numbers) * PROMPT_STD
    card = PromptCard(
        model=ModelRef(id=source, fingerprint=backbone.fingerprint),
        position="suffix",
        kind="plain",
        task=TASK,
        labels=verbalize(TOPICS, backbone.tokenizer),
        created_at=_MADE_AT,
    )
    return {f"bench-{index}": SoftPrompt(card, own) for index, own in enumerate(vectors)}


def _publish(prompts: dict[str, SoftPrompt], store: Path, folder: Path) -> None:
    """Into a store with a route table, and as files."""
    folder.mkdir(parents=True)
    for name, prompt in prompts.items():
        prompt.save(folder / f"{name}.safetensors")
    first = next(iter(prompts))
    table = RouteTable(model=prompts[first].card.model, task=TASK, universal=first)
    PromptStore.open(store, create=True).publish(prompts, [table])
