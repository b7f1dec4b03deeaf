"""The model card: what a pocket model is made of, and how to make it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap

from isogloss.prompts.languages.languages import language
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.training.recipes.pocket.checkpoint import Progressed
from isogloss.training.recipes.pocket.data import LANGUAGES
from isogloss.training.recipes.pocket.diet import (
    HARDLY_KNOWN_BELOW,
    best_fed,
    hardly_known,
    shares,
    told,
)
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.tokenizer import STARTS

_CARD = """\
---
license: cc-by-sa-4.0
library_name: transformers
tags: [isogloss, {model_type}]
---
# {name}

A small, real `{class_name}` ({parameters:.1f} M parameters, fp16) for trying Isogloss without a
download: `make serve`, the tests and the demos run on it. It reads text in the {languages}
languages of Isogloss, {as_fed}, and can be steered by a soft prompt appended to the
text. It does not write text worth reading.

## Diet
{diet}

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
1. A byte-level BPE of {vocabulary:,} tokens, {texts}, label words whole.
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
        --model {name} --alpha {alpha:g} --steps {steps} --seed {seed}

Trained for {steps:,} steps of up to {batch_tokens:,} tokens, {done_minutes:.0f} minutes on
{hardware}; the last loss was {loss:.3f}.

"""
_MEASURED = "## Measured\n"


def write_card(
    folder: Path,
    recipe: Recipe,
    done: Progressed,
    parameters: int,
    hardware: str,
    *,
    keep_measures: bool,
) -> None:
    """Write README.md. Whoever measures writes below its last heading.

    `keep_measures`: the folder's card is of the same weights, so that its measures still hold.
    """
    start = STARTS.get(recipe.model_type)
    text = _CARD.format(
        **asdict(recipe)
        | {
            # A rung of a ladder bears alpha and seed in its folder's name; shipped, it has none.
            "name": f"pocket-{recipe.model_type}",
            "steps": done.step,
        },
        model_type=recipe.model_type,
        class_name=ARCHITECTURES[recipe.model_type].model_class,
        parameters=parameters / 1e6,
        languages=len(LANGUAGES),
        as_fed="each as well as it was fed" if recipe.alpha else "all fed alike",
        diet="\n".join(_diet(recipe)),
        texts="texts of each language by its share"
        if recipe.alpha
        else "as many texts of each language",
        start=f"Each text starts with `{start}`." if start else "Nothing is added.",
        done_minutes=done.minutes,
        hardware=hardware,
        loss=done.loss,
    )
    path = folder / "README.md"
    measures = _measures(path) if keep_measures else ""
    path.write_text(text + _MEASURED + (measures or "Nothing yet.\n"), encoding="utf-8")


def _measures(card: Path) -> str:
    return card.read_text(encoding="utf-8").partition(_MEASURED)[2] if card.is_file() else ""


def _diet(recipe: Recipe) -> Iterator[str]:
    """What the model read of each language, and which it hardly knows, by name."""
    yield from wrap(told(recipe), 100)
    if not recipe.alpha:
        return
    diet = shares(recipe)
    most = (f"{_name(code)} ({diet[code]:.0%})" for code in best_fed(diet, 10)[1:])
    hardly = ", ".join(sorted(map(_name, hardly_known(diet))))
    yield from wrap(f"English is read whole, and after it most of {', '.join(most)}.", 100)
    yield ""
    yield from wrap(
        f"**It knows little of** {hardly}: it read less than {HARDLY_KNOWN_BELOW:.0%} of their "
        "text, as the real model had little or none. Do not rely on its answers in them. "
        "`pretraining.json` has the shares of all.",
        100,
    )


def _name(code: str) -> str:
    return language(code).name
