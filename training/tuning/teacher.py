"""A trained prompt whose answers stand in for labels.

The teacher reads a sentence in its own language, usually English; the student reads that sentence's
translation and is to answer alike (Multilingual Prompt Translator, arXiv 2403.12407, does so over
parallel text). So a language without a single labelled text gets a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken
from isogloss.prompts.model.backbone import Backbone

_CHUNK = 32  # sentences read at a time
_ENGLISH = "eng_Latn"


def load_prompt(path: str, model: Backbone, option: str) -> SoftPrompt:
    """Read a prompt that training begins with or learns from.

    Args:
        path: of its file.
        model: the backbone it must be for.
        option: what named it, for messages.

    Raises:
        NotFound: there is no such file.
        InvalidPrompt: it is no prompt file, is for another backbone, or stands before the text.
    """
    prompt = SoftPrompt.load(expanded(path, option))
    try:
        prompt.check_fits(model)
    except InvalidPrompt as error:
        raise InvalidPrompt(f"{option} {path}: {error}") from None
    if prompt.card.position != "suffix":
        raise InvalidPrompt(
            f"{option} {path}: it stands before the text, where trained prompts stand after it; "
            "choose a prompt that `isogloss train` made"
        )
    return prompt


def identity(path: str, prompt: SoftPrompt) -> dict[str, JsonValue]:
    """A prompt file for a card: moving the file does not make it another prompt."""
    return {"name": Path(path).stem, "digest": prompt.digest}


class Teacher:
    """A prompt and what it answers. Every list of sentences is read once.

    Args:
        model: the frozen backbone.
        path: the prompt's file.
        language: what it reads; None: English where it learnt from English or its card does not
            say, else the one language that it learnt from.

    Raises:
        NotFound: there is no such file.
        InvalidPrompt: it cannot be used with this backbone, or its language cannot be told.
    """

    def __init__(self, model: Backbone, path: str, language: str | None = None) -> None:
        self._model, self._path = model, path
        self._prompt = load_prompt(path, model, "--teacher")
        self.language = language or self._own_language()
        self._answers: dict[tuple[tuple[str, ...], int | None], Tensor] = {}

    @property
    def task(self) -> str:
        """What its labels belong to."""
        return self._prompt.card.task

    @property
    def labels(self) -> tuple[LabelToken, ...]:
        """Labels in the order of its answers, with their tokens."""
        return self._prompt.card.labels

    @property
    def identity(self) -> dict[str, JsonValue]:
        """Which prompt it is and what it reads, for the card."""
        return {**identity(self._path, self._prompt), "language": self.language}

    def answers(
        self,
        sentences: Sequence[str],
        max_tokens: int | None = None,
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tensor:
        """(sentences, labels) float32 probabilities.

        They are constants of the student's training. In their last bits they depend on what is read
        together: equal lists give equal bits, whatever was asked before.
        """
        distinct = sorted(set(sentences))
        key = (tuple(distinct), max_tokens)
        if key not in self._answers:
            self._answers[key] = self._read(distinct, max_tokens, watch)
        place = {sentence: i for i, sentence in enumerate(distinct)}
        return self._answers[key][[place[sentence] for sentence in sentences]]

    @torch.no_grad()
    def _read(
        self, sentences: Sequence[str], max_tokens: int | None, watch: Callable[[int, int], None]
    ) -> Tensor:
        model = self._model
        limit = min(max_tokens or model.max_text_tokens, model.max_text_tokens)
        texts = [text.ids for text in model.tokenizer.encode(sentences, limit)]
        rows = model.label_rows([label.token_id for label in self.labels])
        vectors = self._prompt.vectors.to(model.device)
        found: list[Tensor] = []
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            found.append(model.score(model.encode(chunk), [[vectors]] * len(chunk), rows))
            watch(start + len(chunk), len(texts))
        return torch.cat(found).exp()

    def _own_language(self) -> str:
        sources = self._prompt.card.training.get("sources")
        if not isinstance(sources, list) or _ENGLISH in sources:
            return _ENGLISH
        if len(sources) == 1:
            return str(sources[0])
        raise InvalidPrompt(
            f"--teacher {self._path}: it learnt from {', '.join(map(str, sources))}; choose the "
            "language it should read with --teacher-language"
        )
