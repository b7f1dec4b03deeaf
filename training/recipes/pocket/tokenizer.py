"""Learns a pocket model's tokenizer: a byte-level BPE, each language in it by its share.

As with the real ones, XGLM's starts each text with `</s>`, Gemma's and Llama's with `<s>`, and the
others' add nothing. Text is lowercased and begins with a space: a small vocabulary has no room for
four spellings of one word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from isogloss.training.recipes.pocket.data import LANGUAGES, Meaning

MAX_POSITIONS = 1024
BOS, PAD, EOS, UNK = "<s>", "<pad>", "</s>", "<unk>"
STARTS: Mapping[str, str] = {"xglm": EOS, "gemma3_text": BOS, "llama": BOS}
"""Architecture -> what its texts start with; the others' with nothing."""

# What follows a tag is one thing about the text before it; see `targets`.
TAGS = (
    "<same>",
    "<document>",
    "<related>",
    "<topic>",
    "<lemma>",
    "<choose>",
    "<answer>",
    *(f"<to:{code}>" for code in LANGUAGES),
)

# Words that a verbalizer is likely to want: whole tokens, whatever their frequency.
_LABEL_WORDS = """
science technology travel politics sports health entertainment geography news business weather
food religion law finance computer education art music film history medicine economy military
nature crime culture environment literature mathematics physics chemistry biology family love
fashion car game world local positive negative neutral good bad great terrible yes no true false
question answer spam complaint praise happy sad angry animal plant person place object event
society economics astronomy baseball football psychology philosophy
"""
LABEL_WORDS: tuple[str, ...] = tuple(_LABEL_WORDS.split())

_TEXTS = 4000 * len(LANGUAGES)
_REPEATS = 4
_LABEL_WORD_COUNT = 3000
# Letters keep their marks, or the vowel signs of Devanagari and its kin would split words.
_PIECES = r" ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]| "


def learn_tokenizer(
    meanings: Sequence[Meaning], vocabulary: int, diet: Mapping[str, float]
) -> Tokenizer:
    """A BPE of `vocabulary` tokens, specials and tags included, that adds nothing to a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Prepend(" "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True) for token in (BOS, PAD, EOS, UNK, *TAGS)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        # Scripts without spaces yield whole clauses as one piece; their words are short.
        max_token_length=48,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts_by_share(meanings, diet), trainer)
    return tokenizer


def texts_by_share(meanings: Sequence[Meaning], diet: Mapping[str, float]) -> Iterator[str]:
    """Texts of every language in proportion to its share, then the label words."""
    texts: dict[str, list[str]] = {code: [] for code in LANGUAGES}
    for meaning in meanings:
        for code, found in (*meaning.texts.items(), *meaning.lemmas.items()):
            texts[code] += found
    total = sum(diet.values())
    for code, known in texts.items():
        # A language with few texts repeats them, though not so often as to learn them whole.
        yield from (known * _REPEATS)[: int(_TEXTS * diet[code] / total)]
    for word in LABEL_WORDS:
        yield f" {word}" * _LABEL_WORD_COUNT


def for_architecture(tokenizer: Tokenizer, model_type: str) -> Tokenizer:
    """A copy that starts texts as the architecture's real tokenizer does."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    if (start := STARTS.get(model_type)) is not None:
        copy.post_processor = processors.TemplateProcessing(
            single=f"{start} $A",
            pair=f"{start} $A {EOS} {EOS} $B",
            special_tokens=[(token, copy.token_to_id(token)) for token in {start, EOS}],
        )
    return copy


def save_tokenizer(tokenizer: Tokenizer, model_type: str, folder: Path) -> None:
    """Writes the files from which `AutoTokenizer` loads it."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=for_architecture(tokenizer, model_type),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    wrapped.save_pretrained(folder)
    # Not the name of today's class: the one that `AutoTokenizer` has known for years.
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
