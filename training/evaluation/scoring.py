"""What prompts answer to texts.

One pass over the texts serves every prompt: texts are encoded once and each prompt's few tokens are
run over their keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt, members_of
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone, label_scores
from isogloss.prompts.model.decoder.text_kv import TextKV
from isogloss.training.data.labelled import Example, Split
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.predictions import Prediction, best_answer, score_of
from isogloss.training.tuning.texts import Texts, tokenize

_Scores = list[tuple[int, Tensor]]  # a prompt's place, and (texts, labels)

_TEXTS_AT_ONCE = 32
# Prompt tokens over all texts of a pass. They bound the activations (the widest is four times the
# hidden size) and not the result: on a CPU few enough for its caches, on a GPU enough to fill it.
_PROMPT_TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 16384}


def predict(
    model: Backbone,
    candidates: Sequence[Candidate],
    examples: Sequence[Example],
    language: str,
    split: Split,
) -> list[Prediction]:
    """Predictions of every prompt for every example: prompt by prompt, in the examples' order."""
    scores = score_prompts(model, candidates, [example.text for example in examples])
    return [
        _prediction(model, candidate, language, split, example, row)
        for candidate, rows in zip(candidates, scores, strict=True)
        for example, row in zip(examples, _log_probs(candidate, rows).tolist(), strict=True)
    ]


def _log_probs(candidate: Candidate, scores: Tensor) -> Tensor:
    """(texts, labels) as `score_prompts` has them -> natural logarithms of probabilities."""
    return logsigmoid(scores) if candidate.prompt.card.verbalizer.independent else scores


def score_prompts(
    model: Backbone, candidates: Sequence[Candidate], texts: Sequence[str]
) -> list[Tensor]:
    """What each prompt says of every label: (texts, labels), labels in the prompt's own order.

    Log-probabilities; of independent labels log odds, as `label_scores`. Each prompt reads the
    texts in the form that its card names: from its start, in its template. An ensemble's are the
    mean of its members', as a softmax again; a prompt that is a member of several is read once.
    The same bits whatever the number of threads, and so in this process as in a worker.
    """
    members = {
        member.prompt.digest: member.prompt
        for candidate in candidates
        for member in members_of(candidate.name, candidate.prompt)
    }
    by_digest: dict[str, Tensor] = {}
    for form in dict.fromkeys(each.card.text_form for each in members.values()):
        alike = {d: each for d, each in members.items() if each.card.text_form == form}
        ids = tokenize(model, texts, None, *form)
        by_digest |= dict(zip(alike, _score_members(model, [*alike.values()], ids), strict=True))
    return [_together(candidate.prompt, by_digest) for candidate in candidates]


def _together(prompt: Prompt, scored: Mapping[str, Tensor]) -> Tensor:
    """(texts, labels) of one candidate, from its members' by digest."""
    if not isinstance(prompt, Ensemble):
        return scored[prompt.digest]
    labels = [label.label for label in prompt.card.labels]
    said = []
    for member in prompt.prompts:
        place = {label.label: n for n, label in enumerate(member.card.labels)}
        said.append(scored[member.digest][:, [place[label] for label in labels]])
    mean = torch.stack(said).mean(dim=0)
    return mean if prompt.card.verbalizer.independent else mean.log_softmax(-1)


def _score_members(model: Backbone, prompts: Sequence[SoftPrompt], ids: Texts) -> list[Tensor]:
    """(texts, labels) of each prompt, labels in its own order."""
    runs = _runs(model, prompts)
    scores = [torch.empty(len(ids), len(prompt.card.labels)) for prompt in prompts]
    batches = list(_similar_lengths(ids))
    with _side_by_side(model.device) as each:
        scored = each(lambda texts: _score_batch(model, runs, [ids[i] for i in texts]), batches)
        for texts, batch in zip(batches, scored, strict=True):
            for index, values in batch:
                scores[index][texts] = values
    return scores


@contextmanager
def _side_by_side(device: torch.device) -> Iterator[Callable[..., Iterator[_Scores]]]:
    """A `map` that takes several batches at a time, on a CPU: one a thread.

    Torch's own threads would share each of a batch's many short operations instead, and wait for
    one another after every one; and results differ in their last bits with the number of threads.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu":
        yield map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _score_batch(model: Backbone, runs: Sequence[_Run], batch: Texts) -> _Scores:
    """Place and (texts, labels) of every prompt, over texts that are encoded once."""
    scored: _Scores = []
    kv = model.encode(batch) if any(run.position == "suffix" for run in runs) else None
    for run in runs:
        for group in run.groups(len(batch)):
            values = _score(model, run, group, batch, kv)  # (texts, prompts, labels)
            scored += ((run.places[m], values[:, slot]) for slot, m in enumerate(group))
    return scored


@dataclass(frozen=True, slots=True)
class _Run:
    """Prompts that are read in one way: one position, and one set of rows of the head."""

    position: Literal["suffix", "prefix"]
    rows: Tensor  # (labels, hidden)
    independent: bool  # labels, so that they have log odds
    places: list[int]  # of the prompts among all
    vectors: list[Tensor]  # of each, where the model is

    def groups(self, texts: int) -> Iterator[list[int]]:
        """Members that are run together after this many texts, within the bound on tokens."""
        bound = _PROMPT_TOKENS_AT_ONCE[self.rows.device.type]
        group: list[int] = []
        tokens = 0
        for member, vectors in enumerate(self.vectors):
            more = vectors.shape[0] * texts
            if group and tokens + more > bound:
                yield group
                group, tokens = [], 0
            group.append(member)
            tokens += more
        yield group


def _runs(model: Backbone, prompts: Sequence[SoftPrompt]) -> list[_Run]:
    """Move every prompt to the model and look its labels up, once for all texts."""
    runs: dict[tuple[Any, ...], _Run] = {}
    for index, prompt in enumerate(prompts):
        card, verbalizer, own = prompt.card, prompt.card.verbalizer, prompt.label_rows
        head = None if own is None else prompt.digest
        key = (card.position, verbalizer.token_ids, verbalizer.none_id, head)
        if key not in runs:
            tokens = (verbalizer.token_ids, verbalizer.none_id)
            rows = model.label_rows(*tokens) if own is None else own.to(model.device)
            runs[key] = _Run(card.position, rows, verbalizer.independent, [], [])
        run = runs[key]
        run.places.append(index)
        run.vectors.append(prompt.vectors.to(model.device, model.dtype))
    return list(runs.values())


def _score(
    model: Backbone, run: _Run, group: Sequence[int], batch: Texts, kv: TextKV | None
) -> Tensor:
    """(texts, prompts of the group, labels), float32, on the CPU."""
    prompts = [[run.vectors[member] for member in group]] * len(batch)
    if run.position == "prefix":
        states = model.read_prefixed(batch, prompts)
    else:
        assert kv is not None
        states = model.read(kv, prompts)
    scores = label_scores(states, run.rows, independent=run.independent).cpu()
    return scores.view(len(batch), len(group), -1)


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
    predicted = best_answer(card.problem, by_label)
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
        predicted=predicted,
        log_probs=by_label,
        problem=card.problem,
        score=score_of(card.problem, example.label, predicted, by_label),
    )
