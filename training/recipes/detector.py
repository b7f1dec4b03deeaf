"""Train the language detector: `serving/data/detector.npz`, from nothing but permitted text.

    python -m isogloss.training.recipes.detector --data ../shared/data --out
    serving/data/detector.npz

The model is linear in hashed n-grams, factored: each kept n-gram has a small vector, a text is the
sum of its n-grams' vectors over the square root of their number, and one matrix turns that into a
logit per language. Only languages of the text's script compete, in training as when serving.
Training sees every language equally often, mostly as snippets of a few words, since short texts are
what is hard. The n-grams kept are those that tell most about the language (mutual information).
Deterministic for a seed and one thread; about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from isogloss.prompts.languages import ngrams
from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.languages import languages
from isogloss.training.recipes.detector_corpus import ROWS, Corpus, informative, read_corpus, select

WIDTH = 64
STEPS = 4000
BATCH = 2048
LEARNING_RATE = 0.01
DROPPED = 0.2  # share of a snippet's n-grams left out, lest a few rare ones carry a language
SHORTEST = 10  # characters in the shortest snippet
# A request is likelier in a language that a backbone was pretrained on. By least log loss on
# SIB-200's dev split, its first five, two and one words, the 52 languages counting like all.
PRETRAINED_ODDS = 4.0
# What calibration chooses from.
DAMPINGS = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
TEMPERATURES = tuple(hundredths / 100 for hundredths in range(70, 200, 5))


@dataclass(frozen=True, slots=True)
class Snippets:
    """A batch: `rows` end to end, where each snippet starts in them, and its sentence."""

    rows: torch.Tensor
    offsets: torch.Tensor
    counts: torch.Tensor
    sentences: NDArray[np.intp]


def snippets(
    corpus: Corpus, sentences: NDArray[np.intp], dropped: float, random: np.random.Generator
) -> Snippets:
    """Cut a snippet from each sentence: a quarter of them whole, the rest mostly short."""
    first, last = corpus.starts[sentences], corpus.starts[sentences + 1]
    longest = last - first
    length = np.exp(random.uniform(np.log(SHORTEST), np.log(np.maximum(longest, SHORTEST + 1))))
    length = np.where(random.random(len(sentences)) < 0.25, longest, length.astype(np.intp))
    latest = np.maximum(longest - length, 0)
    start = corpus.words[first + (random.random(len(sentences)) * (latest + 1)).astype(np.intp)]
    stop = np.minimum(start + np.maximum(length, SHORTEST), last)
    return _gather(corpus, sentences, start, stop, dropped, random)


def _gather(
    corpus: Corpus,
    sentences: NDArray[np.intp],
    start: NDArray[np.integer],
    stop: NDArray[np.intp],
    dropped: float,
    random: np.random.Generator,
) -> Snippets:
    length = stop - start
    ends = np.cumsum(length)
    characters = np.arange(ends[-1]) + np.repeat(stop - ends, length)
    rows = corpus.rows[characters]
    reach = characters[:, None] + np.arange(ngrams.ORDERS)
    kept = rows > 0
    kept[:, : ngrams.ORDERS] &= reach < np.repeat(stop, length)[:, None]
    if dropped:
        kept &= random.random(kept.shape, np.float32) >= dropped
    counts = np.add.reduceat(kept.sum(axis=1), ends - length)
    return Snippets(
        rows=torch.from_numpy(rows[kept].astype(np.int64)),
        offsets=torch.from_numpy(np.cumsum(counts) - counts),
        counts=torch.from_numpy(counts),
        sentences=sentences,
    )


class Model(torch.nn.Module):
    """The factored linear classifier over n-gram rows."""

    def __init__(self, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        vectors = torch.randn(ROWS + 1, WIDTH, generator=generator) * 0.1
        self.vectors = torch.nn.Parameter(vectors)
        self.output = torch.nn.Parameter(torch.randn(WIDTH, classes, generator=generator) * 0.1)
        self.bias = torch.nn.Parameter(torch.zeros(classes))

    def forward(self, batch: Snippets) -> torch.Tensor:
        """Return logits (snippets, languages) before the script has its say."""
        return self.evidence(batch) * batch.counts.clamp(min=1).rsqrt()[:, None] + self.bias

    def evidence(self, batch: Snippets) -> torch.Tensor:
        """Return what all n-grams of each snippet add up to, (snippets, languages)."""
        summed = functional.embedding_bag(batch.rows, self.vectors, batch.offsets, mode="sum")
        return summed @ self.output


def balanced(corpus: Corpus, random: np.random.Generator, steps: int) -> Iterator[NDArray[np.intp]]:
    """Yield batches of training sentences in which every language is equally likely."""
    training = np.flatnonzero(~corpus.held_out)
    order = training[np.argsort(corpus.labels[training], kind="stable")]
    _, first, count = np.unique(corpus.labels[order], return_index=True, return_counts=True)
    for _ in range(steps):
        language = random.integers(len(first), size=BATCH)
        yield order[first[language] + (random.random(BATCH) * count[language]).astype(np.intp)]


def train(corpus: Corpus, allowed: NDArray[np.bool_], seed: int) -> Model:
    """Minimise cross entropy among the languages of each snippet's script."""
    random = np.random.default_rng(seed)
    model = Model(allowed.shape[1], torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    labels, masks = torch.from_numpy(corpus.labels), torch.from_numpy(~allowed)
    for step, sentences in enumerate(balanced(corpus, random, STEPS), 1):
        batch = snippets(corpus, sentences, DROPPED, random)
        logits = model(batch).masked_fill(masks[corpus.scripts[sentences]], -torch.inf)
        loss = functional.cross_entropy(logits, labels[sentences])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}/{STEPS}  loss {loss.item():.4f}", flush=True)
    return model


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes posteriors as often right as they say.

    Logits are divided by `temperature`; and a snippet counts as `damping` n-grams longer than it
    is, which makes the shortest ones, that have little to say, less sure.
    """

    temperature: float
    damping: float
    loss: float


def calibrate(model: Model, corpus: Corpus, allowed: NDArray[np.bool_], seed: int) -> Calibration:
    """Fit both on snippets of held-out sentences, by least log loss."""
    random = np.random.default_rng(seed)
    held_out = np.flatnonzero(corpus.held_out)
    every, counts = [], []
    with torch.no_grad():
        for at in range(0, len(held_out), BATCH):
            batch = snippets(corpus, held_out[at : at + BATCH], 0.0, random)
            every.append(model.evidence(batch))
            counts.append(batch.counts)
    evidence, count = torch.cat(every), torch.cat(counts).clamp(min=1)[:, None]
    barred = torch.from_numpy(~allowed)[corpus.scripts[held_out]]
    truth, bias = torch.from_numpy(corpus.labels[held_out]), model.bias.detach()

    def fitted(damping: float, heat: float) -> Calibration:
        logits = (evidence * (count + damping).rsqrt() + bias) / heat
        loss = functional.cross_entropy(logits.masked_fill(barred, -torch.inf), truth)
        return Calibration(heat, damping, loss.item())

    choices = itertools.product(DAMPINGS, TEMPERATURES)
    return min((fitted(*choice) for choice in choices), key=lambda one: one.loss)


def save(model: Model, slots: NDArray[np.int32], calibration: Calibration, out: Path) -> None:
    """Write the detector: n-gram vectors in int8, the rest in float32.

    The vectors' scale, one per column, and the temperature are folded into the output matrix and
    the bias, so serving needs to know of neither.
    """
    vectors = model.vectors.detach().numpy()[1:]
    scales = np.abs(vectors).max(axis=0) / 127
    heat = calibration.temperature
    np.savez_compressed(
        out,
        codes=np.array(list(languages())),
        slots=slots,
        vectors=np.rint(vectors / scales).astype(np.int8),
        output=(model.output.detach().numpy() * scales[:, None] / heat).astype(np.float32),
        bias=(model.bias.detach().numpy() / heat + _prior()).astype(np.float32),
        damping=np.float32(calibration.damping),
    )


def _prior() -> NDArray[np.float64]:
    """Return log odds (languages,): training saw all equally often, requests will not."""
    pretrained = [entry.in_bloom or entry.in_xglm for entry in languages().values()]
    return np.where(pretrained, np.log(PRETRAINED_ODDS), 0.0)


def main() -> None:
    """Train and write the detector."""
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.detector",
        description="Train the language detector.",
    )
    parser.add_argument("--data", type=Path, required=True, help="sib200/, ntrex/ and tatoeba/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums in another order would make another file
    allowed = writing.candidates([entry.script for entry in languages().values()])
    corpus = read_corpus(arguments.data)
    print(f"{len(corpus.labels)} sentences", flush=True)
    slots = informative(corpus, allowed.shape[1])
    corpus = select(corpus, slots)
    model = train(corpus, allowed, arguments.seed)
    calibration = calibrate(model, corpus, allowed, arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save(model, slots, calibration, arguments.out)
    print(f"{calibration}; {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
