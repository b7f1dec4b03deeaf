"""Prompts to a hub and back, through the hub's own library and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from huggingface_hub.errors import EntryNotFoundError

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.prompt import read_prompt
from isogloss.prompts.hub.model_card import model_card
from isogloss.prompts.hub.repository import FILE, README, check_repository, fetch_adapter
from isogloss.prompts.store.store import PromptStore
from tests.fakes import fake_store
from tests.prompts import samples
from tests.prompts.hub.hub import TOKEN, Hub, hub

REPOSITORY = "somebody/topics-romance"


@pytest.fixture(scope="module")
def there() -> Iterator[Hub]:
    with hub() as opened:
        yield opened


def isogloss(there: str, folder: Path, *words: object, token: str = TOKEN) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from isogloss.deploy.cli import main; main()", *map(str, words)],
        env={
            **os.environ,
            "HF_ENDPOINT": there,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": token,
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_prompt_goes_to_the_hub_and_comes_back_byte_for_byte(there: Hub, tmp_path: Path) -> None:
    store = fake_store(tmp_path / "one")
    code, said, told = isogloss(
        there.url, tmp_path, "prompts", "push", "romance", REPOSITORY, "--private",
        "--message", "Say it", "--store", store.root, "--json",
    )  # fmt: skip
    assert code == 0, told
    pushed = json.loads(said)
    digest = store.state().digest_of("romance")
    assert (pushed["name"], pushed["version"], pushed["digest"]) == ("romance", 1, digest)
    assert there.files[REPOSITORY][FILE] == store.read_bytes(digest)
    assert (there.messages[-1], there.private[-1]) == ("Say it", True)
    readme = there.files[REPOSITORY][README].decode()
    assert readme.startswith('---\nlibrary_name: "isogloss"\n')
    assert f"isogloss prompts pull {REPOSITORY}" in readme

    other = tmp_path / "two"
    pull = ("prompts", "pull", REPOSITORY, "--revision", "v1", "--store", other)
    code, said, told = isogloss(there.url, tmp_path, *pull)
    assert code == 0, told
    assert PromptStore.open(other).state().digest_of("topics-romance") == digest
    assert "v1" in there.asked


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("somebody/nothing", "does not exist or is private"),
        ("somebody/empty", f"has no {FILE}"),
        ("somebody/damaged", "truncated"),
        ("nobody", "give OWNER/NAME"),
        ("../x/y", "give OWNER/NAME"),
    ],
)
def test_what_cannot_be_pulled_says_why_and_leaves_nothing(
    there: Hub, tmp_path: Path, repository: str, said: str
) -> None:
    there.files["somebody/empty"] = {}
    there.files["somebody/damaged"] = {FILE: b"\x07\0\0\0\0\0\0\0{}"}
    store = tmp_path / "store"
    code, _, told = isogloss(there.url, tmp_path, "prompts", "pull", repository, "--store", store)
    assert code in (1, 2)
    assert said in told
    assert not store.exists()


def test_a_push_without_a_token_says_how_to_log_in(there: Hub, tmp_path: Path) -> None:
    store = fake_store(tmp_path / "one")
    push = ("prompts", "push", "romance", "somebody/secret", "--store", store.root)
    code, _, told = isogloss(there.url, tmp_path, *push, token="hf_wrong")
    assert code != 0
    assert "log in" in told
    assert "somebody/secret" not in there.files


@pytest.mark.soak
def test_a_hub_that_is_away_is_told(tmp_path: Path) -> None:
    pull = ("prompts", "pull", REPOSITORY, "--store", tmp_path / "store")
    code, _, told = isogloss("http://127.0.0.1:9", tmp_path, *pull)
    assert code != 0
    assert "the hub does not answer" in told


def test_an_adapter_comes_from_a_repository(there: Hub, tmp_path: Path) -> None:
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": 2,
        "base_model_name_or_path": "pocket-bloom",
    }
    tensors = {"prompt_embeddings": torch.full((2, 256), 0.01)}
    there.files["somebody/Tuned-adapter"] = {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": safetensors.torch.save(tensors),
    }
    words = ("prompts", "import-peft", "somebody/Tuned-adapter", "--model", "pocket-bloom")
    given = ("--label", "warm", "--label", "cold", "--template", "Text: {text} Label:")
    code, said, told = isogloss(
        there.url, tmp_path, *words, *given, "--revision", "v2", "--store", tmp_path / "s", "--json"
    )
    assert code == 0, told
    assert json.loads(said)["prompts"][0]["name"] == "tuned-adapter"
    store = PromptStore.open(tmp_path / "s")
    card = store.read(store.state().digest_of("tuned-adapter")).card
    assert isinstance(card, PromptCard)
    assert (card.template, card.position) == ("Text: {text} Label:", "prefix")
    assert "v2" in there.asked


def test_an_old_adapters_files_are_of_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(repository: str, file: str, revision: str | None, library_name: str) -> str:
        asked.append((file, revision))
        if file == "adapter_model.safetensors":
            raise EntryNotFoundError("404")
        return str(tmp_path / "c0ffee" / file)

    monkeypatch.setattr("isogloss.prompts.hub.repository.hf_hub_download", download)
    assert fetch_adapter("somebody/old", revision="main") == tmp_path / "c0ffee"
    assert asked == [
        ("adapter_config.json", "main"),
        ("adapter_model.safetensors", "c0ffee"),
        ("adapter_model.bin", "c0ffee"),
    ]


def test_a_repository_without_an_adapter_says_so(there: Hub, tmp_path: Path) -> None:
    there.files["somebody/model"] = {}
    given = ("--model", "pocket-bloom", "--store", tmp_path / "s")
    code, _, told = isogloss(
        there.url, tmp_path, "prompts", "import-peft", "somebody/model", *given
    )
    assert code != 0
    assert "'somebody/model' has no adapter_config.json; an adapter has one" in told


@pytest.mark.parametrize("repository", ["", "a", "a/b/c", "a b/c", "a/\n"])
def test_a_repository_has_an_owner_and_a_name(repository: str) -> None:
    with pytest.raises(InvalidInput, match="give OWNER/NAME"):
        check_repository(repository)


def test_the_readme_tells_what_the_card_knows() -> None:
    training = {"source": "fra_Latn,spa_Latn"}
    card = samples.card().model_copy(update={"training": training, "dev_accuracy": 0.715})
    prompt = samples.prompt(1, of_card=card)
    readme = model_card(prompt, "romance", REPOSITORY)
    front = dict(line.split(": ", 1) for line in readme.split("---\n")[1].splitlines())
    assert json.loads(front["language"]) == ["fra", "spa"]
    assert json.loads(front["pipeline_tag"]) == "text-classification"
    assert "It learned from French, Spanish." in readme
    assert "right on 71.5 %" in readme
    assert card.model.fingerprint in readme


def test_the_readme_tells_the_template() -> None:
    fields = samples.card().model_dump(exclude={"format_version"})
    card = PromptCard.model_validate({**fields, "template": 'He said "{text}"'})
    readme = model_card(samples.prompt(1, of_card=card), "romance", REPOSITORY)
    assert r'It reads texts in the template `"He said \"{text}\""`.' in readme
    assert "template" not in model_card(samples.prompt(1), "romance", REPOSITORY)


def test_a_readme_names_no_base_model_that_is_a_folder(tmp_path: Path) -> None:
    store = fake_store(tmp_path)
    prompt = read_prompt(store.read_bytes(store.state().digest_of("romance")))
    assert "base_model" not in model_card(prompt, "romance", REPOSITORY)
