"""Prompts of different templates over the same texts, against transformers on what each reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.training.calibration.priors import hear
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.scoring import score_prompts
from isogloss.training.tuning.texts import tokenize
from tests.models import oracle_log_probs
from tests.some import some
from tests.training.tiny import prompt, sentences, tiny, tiny_transformer

TEMPLATES = (None, "Heard: {text} About:", "{text} ?")
TEXTS = [text for _, _, text in sentences("fra_Latn", "dev")]
Position = Literal["suffix", "prefix"]


def prompts(architecture: str) -> list[SoftPrompt]:
    """Two of each template and position, of other lengths."""
    model = tiny(architecture)
    positions: tuple[Position, ...] = ("suffix", "prefix")
    kinds = [(template, position) for template in TEMPLATES for position in positions] * 2
    return [
        prompt(model, n, 2 + n % 3, position, template=template)
        for n, (template, position) in enumerate(kinds)
    ]


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_each_prompt_reads_the_texts_in_its_own_template(architecture: str) -> None:
    model, oracle = tiny(architecture), tiny_transformer(architecture)
    made = prompts(architecture)
    asked = [Candidate(str(n), each) for n, each in enumerate(made)]
    for own, rows in some(zip(made, score_prompts(model, asked, TEXTS), strict=True)):
        card = own.card
        whole = [(card.template or "{text}").replace("{text}", text) for text in TEXTS]
        tokens = [label.token_id for label in card.labels]
        for ids, row in zip(some(tokenize(model, whole, None)), rows, strict=True):
            expected = oracle_log_probs(oracle, ids, own.vectors, tokens, card.position)
            torch.testing.assert_close(row, expected, atol=1e-4, rtol=0)


def test_a_template_changes_what_is_answered() -> None:
    model = tiny("bloom")
    same = [Candidate(str(n), prompt(model, 3, template=t)) for n, t in enumerate(TEMPLATES)]
    plain, *framed = score_prompts(model, same, TEXTS)
    for other in some(framed):
        assert not torch.allclose(plain, other, atol=1e-2)


def test_members_of_an_ensemble_read_in_their_own_templates() -> None:
    model = tiny("xglm")
    members = [(f"p{n}", 1, each) for n, each in enumerate(prompts("xglm"))]
    alone = [Candidate(name, each) for name, _, each in members]
    both = Candidate("both", Ensemble.of(members))
    *scores, together = score_prompts(model, [*alone, both], TEXTS)
    torch.testing.assert_close(together, torch.stack(scores).mean(0).log_softmax(-1))


def test_a_prior_is_heard_in_the_template(tmp_path: Path) -> None:
    model = tiny("bloom")
    framed = Candidate("f", prompt(model, 3, template=TEMPLATES[1]))
    plain = Candidate("p", prompt(model, 3))
    assert TEMPLATES[1] is not None
    wrapped = [TEMPLATES[1].replace("{text}", text) for text in TEXTS]
    assert hear(model, framed, TEXTS, "fra_Latn") == hear(model, plain, wrapped, "fra_Latn")
    assert hear(model, framed, ["", *TEXTS], "fra_Latn").texts == len(TEXTS)
