"""Lets test read candidates that a run's own shortlist left out.

A run's test has read what it would serve. A way that may choose among fewer candidates chooses
others; and comparisons of clades' prompts, lengths and kinds need them all. Nothing is chosen by
these answers. They are kept in the run's work/ladder-test-<digits>.csv.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from isogloss.prompts.console.console import say
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.evaluate import Evaluation, evaluate
from isogloss.training.recipes.ladder.rungs import TEST_ANSWERS, Rung
from isogloss.training.recipes.ladder.ways import Chosen

_DIGITS = 8


def needed(rung: Rung, chosen: Iterable[Chosen] | None) -> dict[str, Prompt]:
    """Prompts without answers on test, by name.

    Args:
        rung: whose.
        chosen: what ways chose; None: every candidate.
    """
    read = {row.prompt for row in rung.test()}
    asked = set(rung.prompts)
    if chosen is not None:
        asked = {n for c in chosen for n in (c.universal, c.single, *c.routed.values())}
    return {name: prompt for name, prompt in rung.prompts.items() if name in asked - read}


def read_on_test(rung: Rung, prompts: dict[str, Prompt], data: str) -> None:
    """Evaluate prompts on test; again it goes on where it stopped.

    Raises:
        InvalidData: the data lack a language of the run.
    """
    if not prompts:
        return
    digits = hashlib.sha256(" ".join(sorted(prompts)).encode()).hexdigest()[:_DIGITS]
    out = rung.folder / "work" / f"{TEST_ANSWERS}-{digits}.csv"
    model = Backbone.load(rung.facts["model"], device="cpu", dtype="bfloat16")
    candidates = [Candidate(name, prompt) for name, prompt in prompts.items()]
    job = Evaluation(data, "test", tuple(rung.facts["languages"]), out, scores=False)
    say(f"{rung.name}: test reads {len(candidates)} candidates", err=True)
    evaluate(model, candidates, job, lambda code, done, of, kept: None)
