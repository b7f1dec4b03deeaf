"""A model that was loaded before is the same model, to the last bit, and needs no transformers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ByT5Tokenizer

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model import loading, memo, memo_key, remembering
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.checkpoint import Dtype, load_checkpoint
from isogloss.prompts.model.names import POCKET
from isogloss.prompts.model.tokenizer import Tokenizer
from tests.architectures import VARIANTS, random_decoder
from tests.prompts.model.test_loading import byte_tokenizer, hub_folder
from tests.prompts.tokenizer_cases import KINDS, SPECIAL, edit, load, random_texts
from tests.some import some

TEXTS = ["The river rose.", "", "नदी रात में", "</s> <pad> x"]


class Loads:
    """How often transformers read a model."""

    count = 0


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loads:
    """Nothing is remembered yet, and full loads are counted."""
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path / "cache"))
    loads, real = Loads(), load_checkpoint

    def counted(*given: Any) -> Any:
        loads.count += 1
        return real(*given)

    monkeypatch.setattr(loading, "load_checkpoint", counted)
    return loads


def written(folder: Path, architecture: str, seed: int = 0, **how: Any) -> Path:
    """A random model in a folder; its dtype and how it is written may be told."""
    model = random_decoder(architecture, seed).to(how.pop("dtype", torch.float32))
    model.save_pretrained(folder, **how)
    byte_tokenizer(architecture == "xglm").save_pretrained(folder)
    return folder


def memos(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "models").glob("*"))


def tensors(value: Any) -> list[Tensor]:
    """Every tensor within dataclasses and tuples."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    return [t for each in value for t in tensors(each)] if isinstance(value, list | tuple) else []


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and remembering._same_bits(one, other)


@torch.no_grad()
def assert_same(one: Backbone, other: Backbone) -> None:
    assert one.fingerprint == other.fingerprint
    pairs = list(zip(some(tensors(one.weights)), tensors(other.weights), strict=True))
    assert all(same(*pair) for pair in pairs)
    assert (one.weights.head is one.weights.embedding) == (
        other.weights.head is other.weights.embedding
    )
    for name in ("model_id", "revision", "architecture", "max_positions", "config", "pretraining"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.folding.sizes == other.folding.sizes
    assert (
        one.weights.layers[0].activation.__class__ is other.weights.layers[0].activation.__class__
    )
    assert_same_tokenizers(one.tokenizer, other.tokenizer)
    assert same(scores(one), scores(other))


def scores(model: Backbone) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    prompts = [torch.randn(n, model.hidden_size, generator=draw) for n in (1, 4)]
    texts = [list(range(20, 20 + count)) for count in (3, 11, 30)]
    read = model.read_suffixed(texts, [[each.to(model.dtype) for each in prompts]] * 3)
    return label_log_probs(read, model.label_rows([17, 21, 30]))


def assert_same_tokenizers(one: Tokenizer, other: Tokenizer) -> None:
    texts = [*TEXTS, *random_texts(seed=1, count=40), *(f"a {name} b" for name in SPECIAL)]
    assert one.encode(texts, 50) == other.encode(texts, 50)
    assert one.encode(texts, 50, ("Say: ", " !")) == other.encode(texts, 50, ("Say: ", " !"))
    for word in ("river", "zebra", "", "<s>", "мост"):
        assert one.first_token(word) == other.first_token(word)
        assert one.first_token(word, spaced=False) == other.first_token(word, spaced=False)
    assert (one.start, one.roles) == (other.start, other.roles)
    assert one.vocabulary() == other.vocabulary()
    assert one.tokens_in_use() == other.tokens_in_use()


def both(full: Loads, folder: Path | str, dtype: Dtype = "float32") -> tuple[Backbone, Backbone]:
    """A model loaded in full, and as it is remembered."""
    before = full.count
    first = Backbone.load(str(folder), device="cpu", dtype=dtype)
    again = Backbone.load(str(folder), device="cpu", dtype=dtype)
    assert full.count == before + 1, "it was not remembered"
    return first, again


@pytest.mark.parametrize("architecture", ["bloom", "xglm", *VARIANTS])
def test_every_architecture_is_the_same_again(
    architecture: str, full: Loads, tmp_path: Path
) -> None:
    for seed in (0, 1):
        folder = written(tmp_path / f"model-{seed}", architecture, seed)
        assert_same(*both(full, folder))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", ["bloom", "xglm", "qwen3", "apertus"])
def test_half_precisions_are_the_same_again(
    architecture: str, stored: torch.dtype, dtype: Dtype, full: Loads, tmp_path: Path
) -> None:
    folder = written(tmp_path / "model", architecture, dtype=stored)
    first, again = both(full, folder, dtype)
    assert same(scores(first), scores(again))
    assert first.fingerprint == again.fingerprint


@pytest.mark.parametrize("architecture", ["bloom", "gemma3_text"])
def test_shards_are_read_as_one(architecture: str, full: Loads, tmp_path: Path) -> None:
    folder = written(tmp_path / "model", architecture, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert_same(*both(full, folder))


@pytest.mark.parametrize("name", ["pocket-bloom", "pocket-xglm"])
def test_pocket_models_are_the_same_again(name: str, full: Loads) -> None:
    assert_same(*both(full, name))
    served = Backbone.load_for_serving(name, device="cpu", dtype="bfloat16")
    assert full.count == 1
    assert served.pretraining is not None


@pytest.mark.parametrize("own", [True, False])
def test_heads_that_are_the_table_and_heads_that_are_not(
    own: bool, full: Loads, tmp_path: Path
) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    state = load_file(folder / "model.safetensors")
    head = state["transformer.word_embeddings.weight"].clone()
    save_file(
        {**state, "lm_head.weight": head * 2 if own else head},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    first, again = both(full, folder)
    assert (first.weights.head is first.weights.embedding) == (not own)
    assert_same(first, again)


def test_names_without_the_models_own_beginning(full: Loads, tmp_path: Path) -> None:
    """BLOOM's on the hub are `h.0.mlp...`, transformers' `transformer.h.0.mlp...`."""
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    state = load_file(folder / "model.safetensors")
    short = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    save_file(short, folder / "model.safetensors", metadata={"format": "pt"})
    assert_same(*both(full, folder))


def test_bin_weights_are_read_in_full_each_time(full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    for expected in (1, 2):
        Backbone.load(str(folder), device="cpu")
        assert full.count == expected
    assert memos(tmp_path) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_tokenizer_reads_alike(kind: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer(load(tmp_path, KINDS[kind]()))
    found = remembering._remembered(tokenizer, tmp_path)
    assert found is not None
    side_files, copy = found
    assert copy == {}
    document = (tmp_path / "tokenizer.json").read_bytes()
    again = remembering._bare(document, tokenizer.roles, side_files)
    assert_same_tokenizers(tokenizer, again)
    assert saved(tokenizer, tmp_path / "one") == saved(again, tmp_path / "other")


def test_a_tokenizer_of_other_files_is_copied(full: Loads, tmp_path: Path) -> None:
    """transformers adds to the tokenizer.json what tokenizer_config.json says."""
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    sign = {"content": "<sign>", "special": False, "normalized": False}
    sign |= dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    file.write_text(json.dumps(config | {"added_tokens_decoder": {"263": sign}}))
    first, again = both(full, folder)
    assert 263 in first.tokenizer.words("a <sign>")
    assert any(path.name.endswith(memo.TOKENIZER) for path in memos(tmp_path))
    assert_same(first, again)


def test_a_tokenizer_of_python_code_is_not_remembered(tmp_path: Path) -> None:
    assert remembering._remembered(Tokenizer(ByT5Tokenizer()), tmp_path) is None


def saved(model: Backbone | Tokenizer, folder: Path) -> dict[str, bytes]:
    if isinstance(model, Backbone):
        model.save_pretrained(folder)
    else:
        model.save(folder)
    return {path.name: path.read_bytes() for path in some(sorted(folder.iterdir()))}


@pytest.mark.parametrize("name", ["pocket-bloom", "pocket-xglm", "qwen3"])
def test_what_is_remembered_is_saved_and_trained_alike(
    name: str, full: Loads, tmp_path: Path
) -> None:
    folder = str(written(tmp_path / "model", name)) if name in VARIANTS else name
    first, again = both(full, folder)
    one, other = saved(first, tmp_path / "one"), saved(again, tmp_path / "other")
    assert one == other
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= set(
        one
    )
    stored = Backbone.load(str(tmp_path / "other"), device="cpu")
    assert stored.fingerprint == first.fingerprint
    copy, parameters = again.trainable_copy()
    scores(copy).sum().backward()
    assert all(some(p.grad is not None for p in parameters if p.dim() == 2))


def flip(path: Path, place: int) -> None:
    """Change one byte where it stands; size and inode stay."""
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        (byte,) = file.read(1)
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        file.write(bytes([byte ^ 1]))


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes())


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte of the weights": lambda folder: flip(folder / "model.safetensors", -3),
    "config.json": lambda folder: rewritten(folder / "config.json"),
    "tokenizer.json": lambda folder: rewritten(folder / "tokenizer.json"),
    "tokenizer_config.json": lambda folder: rewritten(folder / "tokenizer_config.json"),
    "a new file": lambda folder: (folder / "chat_template.jinja").write_text("x"),
    "a copy in its place": lambda folder: os.replace(
        shutil.copy2(folder / "model.safetensors", folder / "other"), folder / "model.safetensors"
    ),
    "a lost file": lambda folder: (folder / "generation_config.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_any_file_forgets(change: str, full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    first, _ = both(full, folder)
    CHANGES[change](folder)
    changed, again = both(full, folder)
    assert full.count == 2
    assert (first.fingerprint != changed.fingerprint) == ("weights" in change)
    assert_same(changed, again)


def test_a_byte_that_is_changed_back_in_time_forgets(full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    first, _ = both(full, folder)
    file = folder / "model.safetensors"
    facts = file.stat()
    flip(file, -3)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert Backbone.load(str(folder), device="cpu").fingerprint != first.fingerprint


def test_files_that_change_while_they_are_read(
    full: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    first, _ = both(full, folder)

    def changing(known: memo.Memo) -> Any:
        parts = remembering.rebuilt(known)
        flip(folder / "model.safetensors", -3)
        return parts

    monkeypatch.setattr(loading, "rebuilt", changing)
    assert Backbone.load(str(folder), device="cpu").fingerprint != first.fingerprint
    assert full.count == 2


def test_what_a_model_read_is_read_anew(full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    _, before = both(full, folder)
    said = {"format": 1, "source": "made up", "shares": {"eng_Latn": 1.0}}
    (folder / "pretraining.json").write_text(json.dumps(said))
    after = Backbone.load(str(folder), device="cpu")
    assert full.count == 1
    assert before.pretraining is None
    assert after.pretraining is not None


@pytest.mark.parametrize("name", ["isogloss", "sources", "packages"])
def test_other_versions_forget(
    name: str, full: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    both(full, folder)
    if name == "isogloss":
        monkeypatch.setattr("isogloss.__version__", "9")
    elif name == "sources":
        monkeypatch.setattr(memo_key, "_digest_of_sources", lambda: "other")
    else:
        monkeypatch.setattr(memo_key, "version", lambda package: "9")
    both(full, folder)
    assert full.count == 2


def test_our_own_source_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = memo_key._digest_of_sources.__wrapped__
    shutil.copytree(memo_key._SOURCES, tmp_path / "model")
    monkeypatch.setattr(memo_key, "_SOURCES", tmp_path / "model")
    before = digest()
    assert before == memo_key._digest_of_sources()
    with (tmp_path / "model" / "decoder" / "folding.py").open("a") as file:
        file.write("# changed\n")
    assert digest() != before


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no JSON": lambda path: path.write_bytes(b"\x00" * 99),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-50]),
    "a folder": replaced_by_a_folder,
    "another fingerprint": lambda path: edited(
        path, lambda d: d["memo"].update(fingerprint="sha256:0")
    ),
    "another size": lambda path: edited(
        path, lambda d: d["memo"]["sizes"].update(embedding_scale=7.0)
    ),
    "another format": lambda path: edited(path, lambda d: d["memo"]["key"].update(format=0)),
    "a field more": lambda path: edited(path, lambda d: d["memo"].update(more=1)),
    "tables lost": lambda path: path.with_suffix(memo.TABLES).unlink(),
    "tables damaged": lambda path: flip(path.with_suffix(memo.TABLES), -1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_memo_is_none(damage: str, full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "xglm")
    first, _ = both(full, folder)
    (path,) = [path for path in memos(tmp_path) if path.suffix == ".json"]
    DAMAGE[damage](path)
    again = Backbone.load(str(folder), device="cpu")
    assert full.count == 2
    assert_same(first, again)
    if damage != "a folder":
        assert_same(again, Backbone.load(str(folder), device="cpu"))
        assert full.count == 2


def test_a_memo_of_other_files_is_none(full: Loads, tmp_path: Path) -> None:
    one, _ = hub_folder(tmp_path / "one", "bloom", seed=1)
    other, _ = hub_folder(tmp_path / "other", "bloom", seed=2)
    both(full, one)
    (path,) = memos(tmp_path)
    expected, _ = both(full, other)
    (taken,) = [each for each in memos(tmp_path) if each != path]
    shutil.copy(path, taken)
    assert_same(Backbone.load(str(other), device="cpu"), expected)
    assert full.count == 3


def test_a_refused_model_is_refused_again(full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    edit(folder, lambda d: d["model"]["vocab"].update({"beyond": 5000}))
    for expected in (1, 2):
        with pytest.raises(InvalidInput, match="vocabulary has 5001 tokens"):
            Backbone.load(str(folder), device="cpu")
        assert full.count == expected
    assert memos(tmp_path) == []


def test_a_precision_is_checked_for_itself(full: Loads, tmp_path: Path) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    state = load_file(folder / "model.safetensors")
    state["transformer.ln_f.weight"] = state["transformer.ln_f.weight"].clone().fill_(1e6)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    both(full, folder)
    with pytest.raises(InvalidInput, match="float16 ends at 65504"):
        Backbone.load(str(folder), device="cpu", dtype="float16")


def test_a_folder_that_cannot_be_written_is_no_error(
    full: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path / "file"))
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    for expected in (1, 2):
        Backbone.load(str(folder), device="cpu")
        assert full.count == expected


def test_it_can_be_turned_off(full: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = hub_folder(tmp_path / "model", "bloom")
    monkeypatch.setenv(loading.FULL_CHECK_VARIABLE, "1")
    for expected in (1, 2):
        Backbone.load(str(folder), device="cpu")
        assert full.count == expected
    assert memos(tmp_path) == []
    monkeypatch.setenv(loading.FULL_CHECK_VARIABLE, "0")
    both(full, folder)


def test_memos_do_not_pile_up(full: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_MOST_MEMOS", 2)
    folders = [hub_folder(tmp_path / f"model-{seed}", "xglm", seed)[0] for seed in range(3)]
    for folder in folders:
        both(full, folder)
    assert len([path for path in memos(tmp_path) if path.suffix == ".json"]) == 2
    assert len(memos(tmp_path)) == 4
    both(full, folders[0])


_HUB = """
import sys
from isogloss.prompts.model.backbone import Backbone
model = Backbone.load("some/model", device="cpu")
print(model.fingerprint, model.revision, "transformers" in sys.modules)
"""


def test_a_model_of_the_hub_is_remembered_by_its_snapshot(tmp_path: Path) -> None:
    """As the hub's cache has it; nothing is asked of the network."""
    repository = tmp_path / "hub" / "models--some--model"
    for seed, commit in enumerate(("a" * 40, "b" * 40)):
        hub_folder(repository / "snapshots" / commit, "bloom", seed)
    main = repository / "refs" / "main"
    main.parent.mkdir()

    def load_it(commit: str) -> list[str]:
        main.write_text(commit)
        ran = subprocess.run(
            [sys.executable, "-c", _HUB],
            env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout.split()

    first, again = load_it("a" * 40), load_it("a" * 40)
    assert first[1:] == ["a" * 40, "True"]
    assert again == [*first[:2], "False"]
    moved = load_it("b" * 40)
    assert moved[0] != first[0]
    assert moved[1:] == ["b" * 40, "True"]


_COMMAND = """
import sys
from isogloss.deploy.cli import app
app(["classify", "The match ended in a draw.", "--json"], standalone_mode=False)
print(*({"transformers", "scipy"} & set(sys.modules)), file=sys.stderr)
"""


def test_the_second_classify_imports_neither_transformers_nor_scipy() -> None:
    assert (POCKET / "pocket-bloom").is_dir()
    first, again = (
        subprocess.run([sys.executable, "-c", _COMMAND], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert "transformers" in first.stderr.split()
    assert again.stderr.split() == []
    assert json.loads(again.stdout) == json.loads(first.stdout)
