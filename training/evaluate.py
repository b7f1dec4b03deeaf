"""What prompts answer, sentence by sentence and language by language.

One pass over a language's texts serves every prompt: texts are encoded once and each prompt's few
tokens are run over their keys and values.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from prompts.backbone import Backbone, label_log_probs
from prompts.errors import InvalidData
from prompts.languages import languages
from training.candidates import Candidate, check_alike
from training.data import Example, Split, check_labels, language_codes, load_split
from training.files import writable_folder, write_atomically
from training.pocket.data import LANGUAGES as POCKET_LANGUAGES
from training.predictions import Prediction, check_format, read_predictions, to_bytes
from training.texts import Texts, tokenize

_TEXTS_AT_ONCE = 32
_PROMPT_ROWS_AT_ONCE = 8192  # prompt tokens over all texts of a pass: bounds the activations


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to evaluate on, and where to keep the predictions."""

    data: str
    split: Split
    languages: tuple[str, ...]
    out: Path


class Watcher(Protocol):
    """Someone who follows an evaluation."""

    def language(self, code: str, done: int, total: int, kept: bool) -> None:
        """A language's predictions are there; `kept`: by an earlier, interrupted run."""


def evaluate(
    model: Backbone, candidates: Sequence[Candidate], job: Evaluation, watcher: Watcher
) -> list[Prediction]:
    """Predict every sentence of every language under every prompt and write `job.out`.

    Finished languages are kept beside `out` until it is written, so an interrupted evaluation goes
    on where it stopped when the same command is given again.

    Raises:
        InvalidData: a language or split cannot be read, or has labels the prompts do not know.
        InvalidInput: prompts of different tasks, or `out` cannot be written.
    """
    check_format(job.out)
    labels = check_alike(model, candidates)
    writable_folder(job.out.parent)
    parts = writable_folder(job.out.with_name(f".{job.out.name}.{_identity(model, candidates)}"))
    rows: list[Prediction] = []
    for done, code in enumerate(job.languages, start=1):
        examples = load_split(job.data, code, job.split)
        check_labels(examples, labels, f"{job.data} {code} {job.split}")
        part = parts / f"{code}-{job.split}-{_digest(examples)}.jsonl"
        kept = part.exists()
        if not kept:
            fresh = predict(model, candidates, examples, code, job.split)
            write_atomically(part, to_bytes(fresh, part.suffix))
        rows += read_predictions(part)
        watcher.language(code, done, len(job.languages), kept)
    write_atomically(job.out, to_bytes(rows, job.out.suffix))
    shutil.rmtree(parts)
    return rows


def predict(
    model: Backbone,
    candidates: Sequence[Candidate],
    examples: Sequence[Example],
    language: str,
    split: Split,
) -> list[Prediction]:
    """Predictions of every prompt for every example: prompt by prompt, in the examples' order."""
    ids = tokenize(model, examples, None)
    scores = score_prompts(model, candidates, ids)
    return [
        _prediction(model, candidate, language, split, example, row)
        for candidate, own in zip(candidates, scores, strict=True)
        for example, row in zip(examples, own.tolist(), strict=True)
    ]


@torch.no_grad()
def score_prompts(model: Backbone, candidates: Sequence[Candidate], ids: Texts) -> list[Tensor]:
    """Label log-probabilities of each prompt: (texts, labels), labels in the prompt's own order."""
    sizes = [len(candidate.prompt.card.labels) for candidate in candidates]
    scores = [torch.empty(len(ids), size) for size in sizes]
    for texts in _similar_lengths(ids):
        batch = [ids[i] for i in texts]
        for place, own in _score_batch(model, candidates, batch):
            scores[place][texts] = own.float().cpu()
    return scores


def _score_batch(
    model: Backbone, candidates: Sequence[Candidate], batch: Texts
) -> Iterator[tuple[int, Tensor]]:
    """Place and (texts, labels) of every prompt, over texts that are encoded once."""
    kv = None
    for places in _groups(candidates, len(batch)):
        vectors = [candidates[i].prompt.vectors.to(model.device) for i in places]
        if candidates[places[0]].prompt.card.position == "prefix":
            states = model.read_prefixed(batch, [vectors] * len(batch))
        else:
            kv = model.encode(batch) if kv is None else kv
            states = model.read(kv, [vectors] * len(batch))
        by_prompt = states.reshape(len(batch), len(places), -1)  # (texts, prompts, hidden)
        for slot, place in enumerate(places):
            card = candidates[place].prompt.card
            rows = model.label_rows([label.token_id for label in card.labels])
            yield place, label_log_probs(by_prompt[:, slot], rows)


def _groups(candidates: Sequence[Candidate], texts: int) -> Iterator[list[int]]:
    """Prompts that are run together: of one position, and not too many tokens."""
    for position in ("suffix", "prefix"):
        group: list[int] = []
        rows = 0
        for place, candidate in enumerate(candidates):
            if candidate.prompt.card.position != position:
                continue
            own = candidate.prompt.length * texts
            if group and rows + own > _PROMPT_ROWS_AT_ONCE:
                yield group
                group, rows = [], 0
            group.append(place)
            rows += own
        if group:
            yield group


def _similar_lengths(ids: Texts) -> Iterator[list[int]]:
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    for start in range(0, len(order), _TEXTS_AT_ONCE):
        yield order[start : start + _TEXTS_AT_ONCE]


def _prediction(
    model: Backbone,
    candidate: Candidate,
    language: str,
    split: Split,
    example: Example,
    scores: Sequence[float],
) -> Prediction:
    card = candidate.prompt.card
    by_label = {label.label: score for label, score in zip(card.labels, scores, strict=True)}
    return Prediction(
        model=model.model_id,
        fingerprint=model.fingerprint,
        prompt=candidate.name,
        digest=candidate.prompt.digest,
        task=card.task,
        language=language,
        split=split,
        index_id=example.index_id,
        gold=example.label,
        predicted=max(by_label, key=by_label.__getitem__),
        log_probs=by_label,
    )


def choose_languages(model: Backbone, data: str, asked: str) -> tuple[str, ...]:
    """The languages of `--languages`.

    `all` are the data's languages that the model was pretrained on (pocket models: the paper's 52,
    whichever the architecture), `every` all that the data has, and anything else a list of codes
    with commas between them.

    Raises:
        InvalidData: the data lacks a language that was asked for, or has none of them.
    """
    present = language_codes(data)
    if asked == "every":
        return tuple(present)
    if asked != "all":
        codes = tuple(dict.fromkeys(code.strip() for code in asked.split(",") if code.strip()))
        if lacking := [code for code in codes if code not in present]:
            raise InvalidData(
                f"--languages: {data} has no {', '.join(lacking)}; it has {len(present)}, such as "
                f"{', '.join(present[:5])}"
            )
        return codes
    chosen = tuple(code for code in present if _pretrained_on(model, code))
    if not chosen:
        raise InvalidData(
            f"--languages all: {model.model_id} was pretrained on none of {data}'s languages "
            f"({', '.join(present[:5])}...); name codes, or use --languages every"
        )
    return chosen


def _pretrained_on(model: Backbone, code: str) -> bool:
    if Path(model.model_id).name.startswith("pocket-"):
        return code in POCKET_LANGUAGES
    entry = languages().get(code)
    if entry is None:
        return False
    return entry.in_bloom if model.architecture == "bloom" else entry.in_xglm


def _identity(model: Backbone, candidates: Sequence[Candidate]) -> str:
    facts = [model.fingerprint, *([c.name, c.prompt.digest] for c in candidates)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _digest(examples: Sequence[Example]) -> str:
    rows = [asdict(example) for example in examples]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]
