"""Label -> one token of the vocabulary.

The prediction is the label whose token has the highest logit (paper, Section 3.1 and Appendix A.4).
A label is spoken as a word; its token is the *first* token of that word with a space before it, as
it would continue a text. It is never the space alone, which some vocabularies have before many
words. Two labels whose words begin with the same token cannot be told apart.

Where any number of labels may be right, each is measured against one more token, that of a word for
"none of them": its log odds are the difference of the two logits. A model's logits mean nothing by
themselves, and this is the threshold class of Zhou et al. 2021 (https://arxiv.org/abs/2010.11304).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.labels import Named, check_labels, check_words, confused
from isogloss.prompts.format.problem import Problem


class LabelToken(BaseModel):
    """One label and the token that stands for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Annotated[Named, Field(min_length=1)]
    word: Annotated[Named, Field(min_length=1)]
    token: Named
    token_id: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """What a task's answers are read from."""

    labels: tuple[LabelToken, ...]
    """Of an ordered task the lowest level first."""
    problem: Problem = "single_label"
    none: LabelToken | None = None
    """What several labels are measured against; None where there is one right label."""

    @property
    def independent(self) -> bool:
        """Whether one label says nothing of another: a sigmoid each, and no softmax over them."""
        return self.problem == "multi_label"

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Of the labels, in their order."""
        return tuple(label.token_id for label in self.labels)

    @property
    def none_id(self) -> int | None:
        """Token of "none of them"; None where there is one right label."""
        return None if self.none is None else self.none.token_id


NONE = "none"
"""The word for "none of them", unless the user chooses another."""


class SpeaksWords(Protocol):
    """What a verbalizer needs of a tokenizer."""

    def first_token(self, word: str) -> tuple[int, str] | None:
        """Id and surface of the first token of " " + word; None if there is none."""


def default_word(label: str) -> str:
    """The word a label is spoken as unless the user chooses one: its first run of letters.

    "science/technology" -> "science".
    """
    match = re.search(r"[^\W\d_]+", label)
    return match.group(0) if match else label


def verbalize(
    labels: Sequence[str], tokenizer: SpeaksWords, words: Mapping[str, str] | None = None
) -> tuple[LabelToken, ...]:
    """Choose the token of every label, in the order of `labels`.

    Raises:
        InvalidData: fewer than two labels or too many, an empty label, one that may not be a label,
            a label given twice or in two spellings, a word for a label that does not exist, a word
            without a token, or two words that begin with the same token; the message names the
            labels and the tokens.
    """
    words = words or {}
    check_task(labels, words)
    chosen = [_speak(label, words.get(label, default_word(label)), tokenizer) for label in labels]
    by_token: dict[int, LabelToken] = {}
    for label in chosen:
        other = by_token.setdefault(label.token_id, label)
        if other is not label:
            raise InvalidData(
                f"labels {other.label!r} (word {other.word!r}) and {label.label!r} (word "
                f"{label.word!r}) both begin with token {label.token!r} (id {label.token_id}); "
                f"choose another word for one of them, e.g. {_remedy(label.label)}"
            )
    return tuple(chosen)


def verbalize_none(
    labels: Sequence[LabelToken], tokenizer: SpeaksWords, word: str = NONE
) -> LabelToken:
    """Choose the token that stands for none of the labels.

    Raises:
        InvalidData: the word has no token, or begins with a label's.
    """
    first = tokenizer.first_token(word) if word.strip() else None
    remedy = "choose another with --none-word"
    if first is None:
        raise InvalidData(f"--none-word {word!r}: it has no token in this vocabulary; {remedy}")
    none = LabelToken(label=NONE, word=word, token=first[1], token_id=first[0])
    if other := next((label for label in labels if label.token_id == none.token_id), None):
        raise InvalidData(
            f"--none-word {word!r} and label {other.label!r} (word {other.word!r}) both begin with "
            f"token {none.token!r} (id {none.token_id}); {remedy}. Texts that have no label need "
            "none of that name: leave their category empty"
        )
    return none


def check_task(labels: Sequence[str], words: Mapping[str, str] | None = None) -> None:
    """Require labels that may be a task's, and words of these labels.

    Raises:
        InvalidData: they may not; the message names them.
    """
    words = words or {}
    check_labels(labels)
    check_words(words)
    if len(labels) < 2:
        raise InvalidData(f"labels {list(labels)!r}: a task needs at least two labels")
    if any(not label.strip() for label in labels):
        raise InvalidData(f"labels {list(labels)!r}: a label may not be empty")
    if len(set(labels)) != len(labels):
        raise InvalidData(f"labels {list(labels)!r}: each label may appear once")
    if alike := confused(labels):
        raise InvalidData(
            f"labels {alike[0]!a} and {alike[1]!a} differ only in case, blanks or Unicode form; "
            "write them alike, or name them apart"
        )
    if unknown := sorted(set(words) - set(labels)):
        raise InvalidData(
            f"words were given for unknown labels {unknown!r}; the labels are {sorted(labels)!r}"
        )


def _remedy(label: str) -> str:
    """An option that a shell, and then we, read as it is meant."""
    return f"--word {shlex.quote(f'{label}=WORD')}"


def _speak(label: str, word: str, tokenizer: SpeaksWords) -> LabelToken:
    first = tokenizer.first_token(word) if word.strip() else None
    if first is None:
        raise InvalidData(
            f"label {label!r}: its word {word!r} has no token in this model's vocabulary; "
            f"choose another word, e.g. {_remedy(label)}"
        )
    token_id, token = first
    return LabelToken(label=label, word=word, token=token, token_id=token_id)
