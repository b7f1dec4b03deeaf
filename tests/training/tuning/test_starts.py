"""Where prompts start: at another prompt, or at a text; and in which way each was made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.grid import expand, run_names
from isogloss.training.tuning.initialization import initial_prompt, start_length
from isogloss.training.tuning.job import Job, run_job
from isogloss.training.tuning.outputs import Trained
from isogloss.training.tuning.supervision import common_clade, supervision_facts
from isogloss.training.tuning.trainer import Silent
from tests.training.tiny import prompt, tiny, write_task

TEXT = "words: pan oven soup"


def test_a_prompt_starts_where_another_ended(tmp_path: Path) -> None:
    model = tiny("xglm")
    path = tmp_path / "universal.safetensors"
    made = prompt(model, seed=1, length=4)
    made.save(path)
    choices: dict[str, list[Any]] = {
        "init": [f"prompt:{path}"],
        "reparameterization": ["none", "residual"],
        "norm_gain": [0.0],
    }
    plain, residual = expand(model, choices)
    assert (plain.length, residual.length) == (4, 4)
    assert torch.equal(initial_prompt(model, [], plain)(), made.vectors)
    start = initial_prompt(model, [], residual)
    assert torch.equal(start.vectors, made.vectors)
    assert torch.equal(start(), made.vectors)  # with gain 0 the network adds nothing yet
    adding = initial_prompt(model, [], residual.model_copy(update={"norm_gain": 1.0}))
    assert not torch.equal(adding(), made.vectors)


def test_each_seed_starts_at_its_own_prompt(tmp_path: Path) -> None:
    model = tiny("bloom")
    made = {seed: prompt(model, seed=seed, length=4) for seed in (0, 3)}
    for seed, each in made.items():
        each.save(tmp_path / f"universal-seed{seed}.safetensors")
    init = f"prompt:{tmp_path}/universal-seed{{seed}}.safetensors"
    configs = expand(model, {"init": [init], "seed": [0, 3]})
    assert run_names(model.model_id, configs, "romance") == ["romance-seed0", "romance-seed3"]
    for config in configs:
        assert config.length == 4
        assert torch.equal(initial_prompt(model, [], config)(), made[config.seed].vectors)
    with pytest.raises(NotFound, match="universal-seed1"):
        expand(model, {"init": [init], "seed": [0, 1]})


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_a_prompt_starts_at_a_texts_own_tokens(architecture: str) -> None:
    model = tiny(architecture)
    ids = model.tokenizer.wrapped(" pan oven soup", add_special_tokens=False)["input_ids"]
    (config,) = expand(model, {"init": [TEXT]})
    assert config.length == len(ids)
    assert torch.equal(initial_prompt(model, [], config)(), model.embed(ids).float())
    longer, shorter = (
        configure(model, {"init": TEXT, "length": length}) for length in (len(ids) + 2, 2)
    )
    cycled = model.embed([*ids, *ids[:2]]).float()
    assert torch.equal(initial_prompt(model, [], longer)(), cycled)
    assert torch.equal(initial_prompt(model, [], shorter)(), cycled[:2])


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = tiny("bloom")
    path = tmp_path / "universal.safetensors"
    init = f"prompt:{path}"
    with pytest.raises(NotFound):
        start_length(model, init, None)
    prompt(model, seed=1, length=4).save(path)
    assert start_length(model, init, 4) == 4
    with pytest.raises(InvalidInput, match=r"length 5: --init .* has 4 vectors; leave --length"):
        start_length(model, init, 5)
    with pytest.raises(InvalidInput, match=r"length 5: --init .* has 4 vectors; leave --length"):
        initial_prompt(model, [], configure(model, {"init": init, "length": 5}))
    prompt(model, seed=1, position="prefix").save(path)
    with pytest.raises(InvalidPrompt, match="stands before the text"):
        start_length(model, init, None)
    prompt(tiny("xglm"), seed=1).save(path)
    with pytest.raises(InvalidPrompt, match=r"--init prompt: .*trained for tiny-xglm"):
        start_length(model, init, None)
    for wrong in ("prompt:", "words: ", "noise", "vocabulary:"):
        with pytest.raises(InvalidInput, match=r"init = .*: give vocabulary, label, normal"):
            configure(model, {"init": wrong})


def test_a_prompt_trained_from_another_says_so(tmp_path: Path) -> None:
    model = tiny("bloom")
    path = tmp_path / "Universal one.safetensors"
    prompt(model, seed=1).save(path)
    task = str(write_task(tmp_path / "home"))
    configs = expand(
        model,
        {
            "task": ["home"],
            "sources": [("fra_Latn",)],
            "shots": [3],
            "epochs": [1],
            "init": [f"prompt:{path}", TEXT, "label"],
        },
    )
    names = run_names(model.model_id, configs, "romance")
    # Their lengths follow from where they start, so they are part of what differs.
    assert re.fullmatch("romance-length3-init-universal-on-[0-9a-f]{6}-seed0", names[0])
    assert "-init-words-" in names[1]
    assert names[2] == "romance-length10-init-label-seed0"
    job = Job(data=task, out=tmp_path / "out", configs=configs, name="romance")
    told = {own.name: card(own) for own in run_job(model, job, Silent())}
    start = {"name": "Universal one", "digest": SoftPrompt.load(path).digest}
    assert told[names[0]]["start"] == start
    assert told[names[0]]["init"] == "prompt:Universal one"
    assert (told[names[1]]["start"], told[names[1]]["init"]) == (None, TEXT)
    assert all(
        (own["way"], own["shots"], own["teacher"], own["parallel"]) == ("clade", 3, None, None)
        for own in told.values()
    )


def card(trained: Trained) -> Any:
    assert trained.path is not None
    return SoftPrompt.load(trained.path).card.training


@pytest.mark.parametrize(
    ("sources", "teacher", "way", "clade"),
    [
        ("eng_Latn", None, "english", "Macro-English"),
        ("fra_Latn,spa_Latn,por_Latn", None, "clade", "Shifted_Western_Romance"),
        ("fra_Latn,hin_Deva", None, "clade", "Indo-European"),
        ("eng_Latn,zho_Hans", None, "diverse", None),
        ("eus_Latn", None, "clade", None),  # an isolate is its own family
        ("eng_Latn,eus_Latn", None, "diverse", None),
        ("fra_Latn,spa_Latn", "t.safetensors", "taught", "Shifted_Western_Romance"),
        ("fra_Latn,zho_Hans", "t.safetensors", "taught", None),
    ],
)
def test_the_way_a_prompt_is_made(
    sources: str, teacher: str | None, way: str, clade: str | None
) -> None:
    taught = {"teacher": teacher, "parallel": ("ntrex",)} if teacher else {}
    choices = {"sources": tuple(sources.split(",")), **taught}
    config: TrainingConfig = configure(tiny("bloom"), choices)
    assert supervision_facts(config) == {"way": way, "clade": clade}


def test_a_language_the_table_lacks_has_no_clade() -> None:
    assert common_clade(["fra_Latn", "xx"]) is None
    assert common_clade(["xx"]) is None
