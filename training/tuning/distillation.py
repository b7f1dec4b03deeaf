"""A trained prompt whose answers stand in for labels.

The teacher reads a sentence in its own language, usually English; the student reads that sentence's
translation and is to answer alike (Multilingual Prompt Translator, arXiv 2403.12407, does so over
parallel text). So a language without a single labelled text gets a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from pydantic import JsonValue
from torch import Tensor

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.soft_prompt import PromptCard, SoftPrompt
from isogloss.prompts.model.backbone import Backbone, label_scores
from isogloss.training.tuning.given_prompt import identity, load_prompt
from isogloss.training.tuning.texts import tokenize

_CHUNK = 32  # sentences read at a time
_ENGLISH = "eng_Latn"


@dataclass(frozen=True, slots=True)
class Teacher:
    """A prompt and the language that it reads. Every list of sentences is read once a process."""

    path: str
    prompt: SoftPrompt
    language: str
    _answers: dict[tuple[tuple[str, ...], int | None], Tensor] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def load(cls, model: Backbone, path: str, language: str | None = None) -> Teacher:
        """Read a teacher.

        Args:
            model: the frozen backbone.
            path: the prompt's file.
            language: what it reads; None: English where it learnt from English or its card does
                not say, else the one language that it learnt from.

        Raises:
            NotFound: there is no such file.
            InvalidPrompt: it cannot be used with this backbone, or its language cannot be told.
        """
        prompt = load_prompt(path, model, "--teacher")
        return cls(path, prompt, language or _language_read(path, prompt.card))

    @property
    def identity(self) -> dict[str, JsonValue]:
        """Which prompt it is and what it reads, for the card."""
        return {**identity(self.path, self.prompt), "language": self.language}

    def answers(
        self,
        model: Backbone,
        sentences: Sequence[str],
        max_tokens: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tensor:
        """(sentences, labels) float32 probabilities, in the order of the card's labels.

        Of independent labels each is of its own.

        They are constants of the student's training. In their last bits they depend on what is read
        together: equal lists give equal bits, whatever was asked before.
        """
        distinct = sorted(set(sentences))
        key = (tuple(distinct), max_tokens)
        if key not in self._answers:
            self._answers[key] = self._read(model, distinct, max_tokens, progress)
        row = {sentence: i for i, sentence in enumerate(distinct)}
        return self._answers[key][[row[sentence] for sentence in sentences]]

    @torch.no_grad()
    def _read(
        self,
        model: Backbone,
        sentences: Sequence[str],
        max_tokens: int | None,
        progress: Callable[[int, int], None],
    ) -> Tensor:
        texts = tokenize(model, sentences, max_tokens, *self.prompt.card.text_form)
        verbalizer = self.prompt.card.verbalizer
        rows = model.label_rows(verbalizer.token_ids, verbalizer.none_id)
        vectors = self.prompt.vectors.to(model.device)
        scores: list[Tensor] = []
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            states = model.read(model.encode(chunk), [[vectors]] * len(chunk))
            scores.append(label_scores(states, rows, independent=verbalizer.independent))
            progress(start + len(chunk), len(texts))
        said = torch.cat(scores)
        return said.sigmoid() if verbalizer.independent else said.exp()


def _language_read(path: str, card: PromptCard) -> str:
    sources = card.training.get("sources")
    if not isinstance(sources, list) or _ENGLISH in sources:
        return _ENGLISH
    if len(sources) == 1:
        return str(sources[0])
    raise InvalidPrompt(
        f"--teacher {path}: it learnt from {', '.join(map(str, sources))}; choose the language it "
        "should read with --teacher-language"
    )
