"""The model card: what a pocket model is made of, and how to make it again."""

from __future__ import annotations

from pathlib import Path

from isogloss.training.recipes.pocket.checkpoint import Progressed
from isogloss.training.recipes.pocket.data import LANGUAGES
from isogloss.training.recipes.pocket.recipe import Recipe

_CARD = """\
---
license: cc-by-sa-4.0
library_name: transformers
tags: [isogloss, {model_type}]
---
# {name}

A small, real `{class_name}` ({parameters:.1f} M parameters, fp16) for trying Isogloss without a
download: `make serve`, the tests and the demos run on it. It reads text in the {languages}
languages of Isogloss and can be steered by a soft prompt appended to the text. It does not write
text worth reading.

## Data
| source | used | licence |
|---|---|---|
| SIB-200, train split only | parallel sentences, **no labels** | FLORES-200's, CC BY-SA 4.0 |
| NTREX-128 | news sentences, parallel by line, and their documents | CC BY-SA 4.0 |
| Tatoeba | short English sentences and their translations | CC BY 2.0 FR |
| Princeton WordNet 3.0 | definitions, topics, lemmas | WordNet licence |
| open wordnets, Wiktionary's | lemmas by synset | their own, all free; CC BY-SA |
| multilingual-e5-small | sentence vectors of the English texts, as a teacher | MIT |

Weights and vocabulary derive from CC BY-SA text, so they are shared under CC BY-SA 4.0 as well.

## Recipe
1. A byte-level BPE of {vocabulary:,} tokens, as many texts from each language, label words whole.
   Text is lowercased. {start}
2. A teacher, multilingual-e5-small, reads the English side of all parallel sentences, of
   {synsets:,} synsets and of {short_sentences:,} short sentences. The embedding table starts where
   a ridge regression puts each token, in {hidden} dimensions: a text's tokens, in any language, add
   up to the teacher's vector of its English side. The output head is tied to it.
3. {layers} layers, {heads} heads, learn to answer after the text: bags of words behind a tag (the
   translation into a language, the document, related words, the topic), a choice between words
   (`<choose> a b c <answer>`), and {pseudo_tasks} pseudo-tasks, clusters of the teacher's vectors
   asked for by free vectors as a soft prompt would.

    python -m isogloss.training.recipes.pocket --data ../shared/data --out prompts/pocket \\
        --model {name} --steps {steps} --seed {seed}

Trained for {steps:,} steps of up to {batch_tokens:,} tokens, {done_minutes:.0f} minutes on
{hardware}; the last loss was {loss:.3f}.

## Measured
"""


def write_card(
    folder: Path, recipe: Recipe, done: Progressed, parameters: int, hardware: str
) -> None:
    """Writes README.md; what was measured on the model is added below by whoever measures."""
    is_xglm = recipe.model_type == "xglm"
    text = _CARD.format(
        name=recipe.name,
        model_type=recipe.model_type,
        class_name="XGLMForCausalLM" if is_xglm else "BloomForCausalLM",
        parameters=parameters / 1e6,
        languages=len(LANGUAGES),
        vocabulary=recipe.vocabulary,
        start="Each text starts with `</s>`, as XGLM's does." if is_xglm else "Nothing is added.",
        hidden=recipe.hidden,
        layers=recipe.layers,
        heads=recipe.heads,
        pseudo_tasks=recipe.pseudo_tasks,
        synsets=recipe.synsets,
        short_sentences=recipe.short_sentences,
        seed=recipe.seed,
        done_minutes=done.minutes,
        steps=done.step,
        batch_tokens=recipe.batch_tokens,
        hardware=hardware,
        loss=done.loss,
    )
    (folder / "README.md").write_text(text + "Nothing yet.\n", encoding="utf-8")
