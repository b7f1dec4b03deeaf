"""The whole of a pocket model's training, from text to folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from tokenizers import Tokenizer

from isogloss.prompts.errors import InvalidInput
from isogloss.training.recipes.pocket.arrays import kept
from isogloss.training.recipes.pocket.begun import claimed
from isogloss.training.recipes.pocket.corpus import Corpus, Floats, build_corpus
from isogloss.training.recipes.pocket.data import Meaning, read_meanings
from isogloss.training.recipes.pocket.diet import Shares, shares, thinned
from isogloss.training.recipes.pocket.embedding import Vectors, embed_tokens
from isogloss.training.recipes.pocket.folder import save_model
from isogloss.training.recipes.pocket.model import Pretraining, new_model
from isogloss.training.recipes.pocket.pretrain import pretrain
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.semantics import Semantics, build_semantics
from isogloss.training.recipes.pocket.targets import Sampler
from isogloss.training.recipes.pocket.teacher import Teacher, by_source, choose_meanings, teach
from isogloss.training.recipes.pocket.tokenizer import STARTS, learn_tokenizer


@dataclass(frozen=True)
class _Prepared:
    tokenizer: Tokenizer
    corpus: Corpus
    vectors: Vectors
    semantics: Semantics


def read(
    recipe: Recipe, data: Path, work: Path, teacher: Callable[[], Teacher]
) -> tuple[list[Meaning], Floats]:
    """The meanings to learn, in all languages, and the teacher's vectors: (meanings, width).

    The vectors are kept in `work` for all models.
    """
    with Console(stderr=True).status("reading the text"):
        meanings = choose_meanings(read_meanings(data), recipe)
    return meanings, teach(meanings, teacher, work / "taught")


def train_pocket_model(
    recipe: Recipe,
    data: Path,
    out: Path,
    work: Path,
    device: torch.device,
    *,
    teacher: Callable[[], Teacher],
    resume: bool,
) -> None:
    """Everything for one model, in a folder of its own under `work`.

    Raises:
        InvalidInput: another recipe was begun there, or another process trains there.
    """
    own = work / recipe.name
    with claimed(own, recipe, resume=resume):
        meanings, taught = read(recipe, data, work, teacher)
        diet = shares(recipe)
        prepared = _prepare(recipe, thinned(meanings, diet, recipe.seed), taught, teacher, own)
        tokenizer = prepared.tokenizer
        starts = STARTS.get(recipe.model_type)
        start = [] if starts is None else [tokenizer.get_vocab()[starts]]
        sampler = Sampler(prepared.corpus, prepared.semantics, tokenizer, start, diet)
        model = new_model(recipe, prepared.vectors.tokens)
        pretraining = Pretraining(model, sampler.free_vectors)
        done = pretrain(recipe, pretraining, sampler, own, device, resume=resume)
        save_model(recipe, pretraining, tokenizer, done, out / recipe.name, device)
    Console(stderr=True).print(f"{out / recipe.name}: {json.dumps(asdict(done))}")


def _prepare(
    recipe: Recipe,
    meanings: Sequence[Meaning],
    taught: Floats,
    teacher: Callable[[], Teacher],
    own: Path,
) -> _Prepared:
    """What a training needs of the text, kept in the model's own folder."""
    console = Console(stderr=True)
    with console.status("learning the tokenizer"):
        tokenizer = _tokenizer(meanings, recipe, shares(recipe), own)
    with console.status("tokenizing"):
        corpus = kept(own / "corpus.safetensors", Corpus, lambda: build_corpus(tokenizer, meanings))
    with console.status("placing the tokens where the teacher puts their texts"):
        vectors = kept(
            own / "vectors.safetensors",
            Vectors,
            lambda: embed_tokens(corpus, taught, by_source(meanings), recipe.hidden, recipe.seed),
        )
    with console.status("clustering meanings"):
        semantics = kept(
            own / "semantics.safetensors",
            Semantics,
            lambda: build_semantics(
                corpus, tokenizer, vectors, teacher, recipe.pseudo_tasks, recipe.seed
            ),
        )
    return _Prepared(tokenizer, corpus, vectors, semantics)


def _tokenizer(meanings: Sequence[Meaning], recipe: Recipe, diet: Shares, own: Path) -> Tokenizer:
    """The recipe's tokenizer, kept in `own`.

    Raises:
        InvalidInput: there is too little text for the vocabulary.
    """
    path = own / "tokenizer.json"
    if not path.is_file():
        learned = learn_tokenizer(meanings, recipe.vocabulary, diet)
        if learned.get_vocab_size() < recipe.vocabulary:
            raise InvalidInput(
                f"--data: the text of {len(meanings)} meanings makes {learned.get_vocab_size()} "
                f"tokens, fewer than the model's {recipe.vocabulary}; give all four sources of text"
            )
        aside = path.with_suffix(".part")
        learned.save(str(aside))
        aside.replace(path)
    return Tokenizer.from_file(str(path))
