"""Tokenizers in the shape of the real ones, small: BLOOM's byte-level BPE, XGLM's SentencePiece."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask token>"]
_TEXTS = [
    "The river rose in the night, and the bridge was closed at 6:45.",
    "Der Fluss stieg in der Nacht; die Brücke wurde um 6 Uhr gesperrt.",
    "Река поднялась ночью, и мост закрыли в 6:45.",
    "河水夜里上涨，桥在六点四十五分关闭。",
    "नदी रात में बढ़ी और पुल बंद कर दिया गया।",
    "if (a < b) { return </b>; } <s>struck</s> <q>said</q> <i>it</i>",
] * 5


def bloom_like(**model: Any) -> Backend:
    """Byte-level BPE without a normalizer that adds nothing to a text."""
    document = json.loads(_learned_bpe())
    document["model"].update(model)
    return Backend.from_str(json.dumps(document))


@cache
def _learned_bpe() -> str:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[^\s]+|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[AddedToken(name, special=True) for name in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXTS, trainer)
    return backend.to_str()


def xglm_like() -> Backend:
    """Unigram with NFKC; `</s>` first; its special tokens are pieces with the best score of all."""
    return Backend.from_str(_learned_unigram())


@cache  # learning breaks ties by chance
def _learned_unigram() -> str:
    trained = Backend(models.Unigram())
    _dress_as_xglm(trained)
    trainer = trainers.UnigramTrainer(
        vocab_size=260, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(_TEXTS, trainer)
    document = json.loads(trained.to_str())["model"]
    backend = Backend(models.Unigram([(p, s) for p, s in document["vocab"]], document["unk_id"]))
    _dress_as_xglm(backend)
    backend.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    backend.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", backend.token_to_id("</s>"))]
    )
    return backend.to_str()


def _dress_as_xglm(backend: Backend) -> None:
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()


def gemma_like() -> Backend:
    """SentencePiece's BPE over whole texts, bytes for what it lacks; BOS first."""
    return Backend.from_str(_learned_pieces(prepended=False))


def llama_like() -> Backend:
    """The same with a blank before every text, as Llama's and Mistral's first ones have it."""
    return Backend.from_str(_learned_pieces(prepended=True))


@cache
def _learned_pieces(prepended: bool) -> str:
    blanks = [normalizers.Replace(" ", "\u2581")]
    before = [normalizers.Prepend("\u2581")] if prepended else []
    trained = Backend(models.BPE())
    trained.normalizer = normalizers.Sequence([*before, *blanks])
    trained.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")  # only to learn
    bytes_of_their_own = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL + bytes_of_their_own, show_progress=False
    )
    trained.train_from_iterator(_TEXTS, trainer)
    document = json.loads(trained.to_str())
    document["pre_tokenizer"] = None
    document["added_tokens"] = []
    document["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    backend = Backend.from_str(json.dumps(document))
    backend.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend.to_str()


def qwen_like() -> Backend:
    """Byte-level BPE behind NFC; nothing before a text; signs of chats are special."""
    backend = bloom_like()
    backend.normalizer = normalizers.NFC()
    backend.add_special_tokens([AddedToken("<|im_start|>", special=True)])
    return backend


KINDS: dict[str, Callable[[], Backend]] = {
    "bloom": bloom_like,
    "xglm": xglm_like,
    "gemma": gemma_like,
    "llama": llama_like,
    "qwen": qwen_like,
}


def load(
    folder: Path, backend: Backend, change: Callable[[dict[str, Any]], None] = lambda document: None
) -> Any:
    """What transformers loads after `change` has edited the tokenizer.json."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    wrapped.save_pretrained(folder)
    edit(folder, change)
    return AutoTokenizer.from_pretrained(folder)


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the tokenizer.json of a folder."""
    file = folder / "tokenizer.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    change(document)
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def random_texts(seed: int, count: int, longest: int = 120) -> list[str]:
    """Words, scripts, signs, spaces and marks in any order; no special token is spelt."""
    draw = random.Random(seed)
    parts = [
        *("river", "night ", " the", "мост", "河水", "नदी", " ", "  ", "\n", "\t", "1", "23"),
        *(
            "é",
            "e\u0301",
            "\ufdfa",
            "ﬁ",
            "Å",
            "한국",
            "👩\u200d🚀",
            "\u200b",
            "\u0301",
            "<",
            ">",
            ".",
        ),
    ]
    return ["".join(draw.choices(parts, k=draw.randrange(longest))) for _ in range(count)]
