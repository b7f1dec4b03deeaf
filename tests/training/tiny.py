"""Tiny random models, a tokenizer of our own, and a task of our own: four labels, three languages.

Sentences are put together from the short word lists below; the labels have nothing to do with
SIB-200's.
"""

from __future__ import annotations

import csv
import functools
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from isogloss.prompts.format.soft_prompt import ModelRef, PromptCard, SoftPrompt
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.tokenizer import Tokenizer

WORDS = {
    "eng_Latn": {
        "kitchen": ["pan", "oven", "spoon", "soup", "flour", "kettle"],
        "garden": ["hedge", "seed", "rake", "tulip", "lawn", "compost"],
        "weather": ["storm", "drizzle", "frost", "cloud", "thunder", "breeze"],
        "music": ["violin", "choir", "drum", "melody", "organ", "flute"],
    },
    "fra_Latn": {
        "kitchen": ["poêle", "four", "cuillère", "soupe", "farine", "bouilloire"],
        "garden": ["haie", "graine", "râteau", "tulipe", "pelouse", "compost"],
        "weather": ["tempête", "bruine", "gel", "nuage", "tonnerre", "brise"],
        "music": ["violon", "choeur", "tambour", "mélodie", "orgue", "flûte"],
    },
    "deu_Latn": {
        "kitchen": ["Pfanne", "Ofen", "Löffel", "Suppe", "Mehl", "Kessel"],
        "garden": ["Hecke", "Samen", "Rechen", "Tulpe", "Rasen", "Kompost"],
        "weather": ["Sturm", "Nieselregen", "Frost", "Wolke", "Donner", "Brise"],
        "music": ["Geige", "Chor", "Trommel", "Melodie", "Orgel", "Flöte"],
    },
}
LABELS = ("garden", "kitchen", "music", "weather")
SIZES = {"train": 6, "dev": 4, "test": 3}  # sentences a label


def sentences(code: str, split: str) -> list[tuple[str, str, str]]:
    """Rows (index_id, category, text); the same ids in every language."""
    rows = []
    for label in LABELS:
        for number in range(SIZES[split]):
            chosen = random.Random(f"{split} {label} {number}").sample(range(6), 3)
            words = [WORDS[code][label][place] for place in chosen]
            rows.append((f"{split}-{label}-{number}", label, f'{" ".join(words)}, "{words[0]}".'))
    return rows


def write_tsv(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    """Write a split as SIB-200's files are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(("index_id", "category", "text"))
        writer.writerows(rows)
    return path


def write_task(root: Path) -> Path:
    """The whole task as a folder <code>/{train,dev,test}.tsv."""
    for code in WORDS:
        for split in SIZES:
            write_tsv(root / code / f"{split}.tsv", sentences(code, split))
    return root


@functools.cache
def tokenizer(first: str = "") -> Any:
    """A byte-level BPE trained on the word lists; `first` (XGLM: "</s>") begins every text."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    words = [w for lists in WORDS.values() for own in lists.values() for w in own]
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator([f" {w}" for w in (*words, *LABELS)] * 3, trainer)
    if first:
        fast.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, fast.token_to_id(first))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )


def tiny_transformer(architecture: str) -> Any:
    """A random `BloomForCausalLM` or `XGLMForCausalLM`: hidden size 32, two layers.

    Weights are ten times larger than either starts training with, so that a prompt finds something
    to hold on to.
    """
    from transformers import BloomConfig, BloomForCausalLM, XGLMConfig, XGLMForCausalLM

    torch.manual_seed(0)
    if architecture == "bloom":
        return BloomForCausalLM(
            BloomConfig(vocab_size=512, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2)
        ).eval()
    return XGLMForCausalLM(
        XGLMConfig(
            vocab_size=512,
            d_model=32,
            ffn_dim=64,
            num_layers=2,
            attention_heads=4,
            init_std=0.2,
            max_position_embeddings=128,
        )
    ).eval()


@functools.cache
def tiny(architecture: str) -> Backbone:
    """A tiny backbone with its tokenizer."""
    first = "</s>" if architecture == "xglm" else ""
    return Backbone.from_transformers(
        tiny_transformer(architecture),
        Tokenizer(tokenizer(first)),
        model_id=f"tiny-{architecture}",
    )


def save_tiny(architecture: str, folder: Path) -> Path:
    """The same model as a folder in the hub's layout."""
    tiny(architecture).save_pretrained(folder)
    return folder


def prompt(
    model: Backbone,
    seed: int,
    length: int = 3,
    position: Literal["suffix", "prefix"] = "suffix",
    labels: tuple[str, ...] = LABELS,
    words: dict[str, str] | None = None,
    template: str | None = None,
) -> SoftPrompt:
    """An untrained prompt for a tiny model."""
    card = PromptCard(
        model=ModelRef(id=model.model_id, fingerprint=model.fingerprint),
        position=position,
        template=template,
        kind="plain",
        task="home",
        labels=verbalize(labels, model.tokenizer, words),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    generator = torch.Generator().manual_seed(seed)
    return SoftPrompt(card, torch.randn(length, model.hidden_size, generator=generator))
