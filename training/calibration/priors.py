"""Label priors: what a prompt says of any text of a language, learned where nothing is labelled.

A language's prior is the mean label log-probability over its texts, under the prompt that it is
routed to; taking it off is contextual calibration (Zhao et al. 2021,
https://arxiv.org/abs/2102.09690) with real text in place of empty text. Thin evidence backs off:
languages and clades are expected a normal step from what they hang on, a step's variance and the
texts' own are estimated from all languages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.routing.routes import LabelPrior, RouteTable
from isogloss.training.calibration.temperatures import Node, nodes
from isogloss.training.data.clades import lineages_of
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.evaluate import LanguageDone
from isogloss.training.evaluation.scoring import score_prompts
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.tuning.texts import tokenize
from isogloss.training.workers.pool import run_units
from isogloss.training.workers.units import PoolSpec

_DIGITS = 4

Floats = NDArray[np.float64]
Priors = dict[str, dict[str, LabelPrior]]
"""Route -> clade or language code -> prior."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one prompt says of one language's texts: per label, mean and variance over texts.

    Each text's log-probabilities are centred: a constant changes no probability.
    """

    texts: int  # that the model has tokens for
    mean: dict[str, float]
    variance: dict[str, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """Priors of every route there is text for, and how many texts of each language."""

    priors: Priors
    texts: dict[str, int]


@dataclass(frozen=True, slots=True)
class TextsUnit:
    """One language's texts under one prompt; what is heard is kept as a file."""

    name: str  # the language's code
    texts: tuple[str, ...]
    candidate: Candidate
    part: Path

    def run(self, model: Backbone, watcher: None) -> None:
        """Read the texts and write the part.

        Raises:
            InvalidPrompt: this model is not the one the prompt was trained for.
            InvalidData: the model's numbers overflow.
            InvalidInput: the part cannot be written.
        """
        self.candidate.prompt.check_fits(model)
        heard = hear(model, self.candidate, self.texts, self.name)
        write_atomically(self.part, json.dumps(asdict(heard)).encode())


def learn_priors(
    model: Backbone,
    table: RouteTable,
    prompts: Mapping[str, Prompt],
    texts: Mapping[str, Sequence[str]],
    folder: Path,
    language_done: LanguageDone = lambda code, done, total, kept: None,
    workers: PoolSpec | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Learned:
    """Read every language's texts under its route's prompt; nobody's labels are needed.

    Args:
        model: reads, unless there are workers; they load their own.
        table: the routes.
        prompts: by the routes' references.
        texts: by language.
        folder: keeps what was read: a repeated call reads only what is new.
        language_done: told of each language, first of those that are kept.
        workers: read instead.
        say: told what happens to workers.

    Raises:
        InvalidPrompt: a prompt is for another model.
        InvalidData: the model's numbers overflow.
        InvalidInput: the folder cannot be written.
        Unavailable: workers cannot start, or die again and again.
    """
    writable_folder(folder)
    units = []
    for code, lineage in lineages_of(texts).items():
        reference = table.route(lineage).reference
        candidate = Candidate(reference, prompts[reference])
        part = folder / f"{code}-{_identity(model, candidate, texts[code])}.json"
        units.append(TextsUnit(code, tuple(texts[code]), candidate, part))
    _run(units, model, folder, language_done, workers, say)
    heard = {unit.name: told for unit in units if (told := _kept(unit.part)) and told.texts}
    return Learned(shrunk(table, heard), {code: told.texts for code, told in heard.items()})


def hear(model: Backbone, candidate: Candidate, texts: Sequence[str], code: str) -> Heard:
    """What a prompt says of texts; cut to what the model reads, and without those it cannot.

    Raises:
        InvalidData: the model's numbers overflow.
    """
    read = [text for text, ids in zip(texts, tokenize(model, texts, None), strict=True) if ids]
    labels = [label.label for label in candidate.prompt.card.labels]
    if not read:
        return Heard(0, dict.fromkeys(labels, 0.0), dict.fromkeys(labels, 0.0))
    scores = score_prompts(model, [candidate], read)[0].double().numpy()  # (texts, labels)
    if not np.isfinite(scores).all():
        raise InvalidData(
            f"prompt {candidate.name!r} makes the model's numbers overflow on a text of {code}; "
            "read with --dtype float32"
        )
    centred = scores - scores.mean(axis=1, keepdims=True)
    variance = centred.var(axis=0, ddof=1) if len(read) > 1 else np.zeros(len(labels))
    return Heard(
        len(read),
        dict(zip(labels, centred.mean(axis=0).tolist(), strict=True)),
        dict(zip(labels, variance.tolist(), strict=True)),
    )


def shrunk(table: RouteTable, heard: Mapping[str, Heard]) -> Priors:
    """Priors of every route with text, of the clades below it, and of the languages themselves."""
    if not heard:
        return {}
    codes = sorted(heard)
    labels = list(heard[codes[0]].mean)
    means = np.array([[heard[code].mean[label] for label in labels] for code in codes])
    noise = _noise([heard[code] for code in codes])  # (languages,)
    tree = [node for node in nodes(table, codes) if node.languages]
    step = _step(tree, codes, means, noise)
    found = _estimates(tree, codes, means, noise, step)
    return {
        route: {name: _as_prior(labels, mean) for name, mean in below.items()}
        for route, below in found.items()
    }


def _estimates(
    tree: Sequence[Node], codes: Sequence[str], means: Floats, noise: Floats, step: float
) -> dict[str, dict[str, Floats]]:
    """Route -> clade or language -> centred means, (labels,), each drawn to what it hangs on."""
    found: dict[str, dict[str, Floats]] = {}
    route = ""
    for node in tree:
        rows = [codes.index(code) for code in node.languages]
        weights = 1 / np.maximum(step + noise[rows], 1e-12)
        own = weights @ means[rows] / weights.sum()
        if node.parent is None:
            route, found[node.name] = node.name, {node.name: own}
        else:
            share = step / max(step + 1 / weights.sum(), 1e-12)
            found[route][node.name] = share * own + (1 - share) * found[route][node.parent]
        for row in rows:  # the deepest clade comes last, and stays
            share = step / max(step + noise[row], 1e-12)
            above = found[route][node.name]
            found[route][codes[row]] = share * means[row] + (1 - share) * above
    return found


def _noise(heard: Sequence[Heard]) -> Floats:
    """Variance of each language's mean, (languages,): the texts' own, the same everywhere."""
    freedom = np.array([each.texts - 1 for each in heard])
    own = np.array([np.mean(list(each.variance.values())) for each in heard])
    pooled = float(freedom @ own) / max(1, int(freedom.sum()))
    return pooled / np.array([each.texts for each in heard])


def _step(tree: Sequence[Node], codes: Sequence[str], means: Floats, noise: Floats) -> float:
    """Variance of a step down the tree: between languages of a clade, less the texts' own.

    Where no two languages share a route nothing is known of it: a step of any size is as likely.
    """
    deepest = {code: node for node in tree if len(node.languages) > 1 for code in node.languages}
    steps = []
    for row, code in enumerate(codes):
        if code in deepest:
            others = [codes.index(other) for other in deepest[code].languages]
            share = len(others) / (len(others) - 1)
            far = np.mean((means[row] - means[others].mean(axis=0)) ** 2)
            steps.append(share * far - noise[row])
    return max(0.0, float(np.mean(steps))) if steps else 1e6


def _as_prior(labels: Sequence[str], centred: Floats) -> LabelPrior:
    """Log-probabilities of a distribution: only their differences count."""
    from scipy.special import log_softmax

    values = log_softmax(centred).tolist()
    return {label: round(value, _DIGITS) for label, value in zip(labels, values, strict=True)}


def _run(
    units: Sequence[TextsUnit],
    model: Backbone,
    folder: Path,
    language_done: LanguageDone,
    workers: PoolSpec | None,
    say: Callable[[str], None],
) -> None:
    kept = [unit for unit in units if _kept(unit.part) is not None]
    for done, unit in enumerate(kept, start=1):
        language_done(unit.name, done, len(units), True)
    left = [unit for unit in units if unit not in kept]
    with closing(run_units(left, model, workers, out=folder, say=say)) as finished:
        for done, (index, _) in enumerate(finished, start=len(kept) + 1):
            language_done(left[index].name, done, len(units), False)


def _kept(part: Path) -> Heard | None:
    """What was read before; what is damaged is read again."""
    try:
        return Heard(**json.loads(part.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _identity(model: Backbone, candidate: Candidate, texts: Sequence[str]) -> str:
    facts = [model.fingerprint, candidate.prompt.digest, list(texts)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def flat(priors: Priors, strengths: Mapping[str, float]) -> dict[str, LabelPrior]:
    """What a table keeps: the priors of these routes, times their strengths."""
    return {
        name: {label: round(strength * value, _DIGITS) for label, value in prior.items()}
        for route, strength in strengths.items()
        for name, prior in priors.get(route, {}).items()
    }
