from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import safetensors.torch
import torch
import typer
from typer.testing import CliRunner

from isogloss.prompts.cli.publish import name_from
from isogloss.prompts.console.console import ReportingGroup, exit_code
from isogloss.prompts.errors import InvalidPrompt, IsoglossError, NotFound, StoreError, TooLarge
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from tests.fakes import FakeTokenizer
from tests.prompts import samples
from tests.prompts.command_line import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_a_published_file_is_listed_shown_and_rolled_back(cli: Cli) -> None:
    world, romance = samples.prompt(1), samples.prompt(2)
    first = cli.json("publish", cli.file("World", world), "--route", "universal")
    assert first["generation"] == 1
    assert first["prompts"] == [{"name": "world", "version": 1, "digest": world.digest}]
    path = cli.file("seed 7", romance)
    second = cli.json("publish", path, "--name", "romance", "--route", "Romance", "--note", "why")
    assert (second["generation"], second["changed"]) == (2, True)

    listed = cli.json("list")
    assert [(p["name"], p["length"]) for p in listed["prompts"]] == [("romance", 3), ("world", 3)]
    assert listed["prompts"][0]["routes"] == [
        {
            "model": "pocket-bloom",
            "task": "topic",
            "clade": "Romance",
            "temperatures": {},
            "priors": {},
        }
    ]
    shown = cli.json("show", "romance@1")
    assert shown["digest"] == romance.digest
    assert shown["card"]["training"] == {"seed": 42, "learning_rate": 0.1}

    assert cli.json("rollback")["restores"] == 1
    listed = cli.json("list")
    assert listed["routes"][0]["clades"] == {}
    assert [(p["name"], p["current"]) for p in listed["prompts"]] == [
        ("romance", None),
        ("world", 1),
    ]
    assert cli.json("rollback", "--to", "2")["generation"] == 4
    history = cli.json("list", "--history")["generations"]
    assert [g["generation"] for g in history] == [4, 3, 2, 1]
    assert history[2]["note"] == "why"


def test_tables_say_the_same(cli: Cli) -> None:
    prompt = samples.prompt(1)
    published = cli.run("publish", cli.file("p", prompt), "--route", "universal", "--note", "[b]x")
    assert prompt.digest in published.stdout
    for arguments, expected in (
        (["list"], ["p", "pocket-bloom", "suffix", "0.750", "universal"]),
        (["list", "--history"], ["p@1", "[b]x"]),
        (["show", "p"], [prompt.digest, "sports (sports)", "training.seed"]),
        (["publish", str(cli.folder / "p.safetensors")], ["nothing changed"]),
    ):
        result = cli.run(*arguments)
        assert result.exit_code == 0, result.output
        assert [word for word in expected if word not in result.stdout] == []


def test_a_prompt_is_shown_with_the_temperatures_of_its_routes(cli: Cli) -> None:
    cli.json("publish", cli.file("world", samples.prompt(1)), "--route", "universal")
    cli.json("publish", cli.file("romance", samples.prompt(2)), "--route", "Romance")
    store = PromptStore.open(cli.store)
    (table,) = store.state().routes
    measured = {"universal": 1.5, "Germanic": 1.25, "Italic": 1.2, "Romance": 0.8, "Atlantean": 2.0}
    below = {**measured, "Western_Romance": 0.9}
    store.publish({}, [RouteTable.model_validate({**dict(table), "temperatures": below})])
    (romance,) = cli.json("show", "romance")["routes"]
    assert romance["temperatures"] == {"Romance": 0.8, "Western_Romance": 0.9}
    (world,) = cli.json("show", "world")["routes"]
    # A clade that no language has is nobody's but the universal prompt's.
    assert world["temperatures"] == {k: t for k, t in measured.items() if k != "Romance"}
    shown = cli.run("show", "romance").stdout
    assert "Romance 0.80, Western_Romance 0.90" in shown


def test_several_files_are_one_generation(cli: Cli) -> None:
    files = [cli.file(name, samples.prompt(n)) for n, name in enumerate("abc")]
    answer = cli.json("publish", *files)
    assert answer["generation"] == 1
    assert [prompt["name"] for prompt in answer["prompts"]] == ["a", "b", "c"]
    assert "single file" in cli.error(2, "publish", *files, "--name", "x")
    assert "two files" in cli.error(2, "publish", files[0], files[0])


def test_what_cannot_be_published_changes_nothing(cli: Cli) -> None:
    good, bad = cli.file("good", samples.prompt(1)), cli.folder / "bad.safetensors"
    bad.write_bytes(good.read_bytes()[:-1])
    assert "truncated" in cli.error(2, "publish", good, bad)
    assert not cli.store.exists()
    assert "no-such.safetensors" in cli.error(2, "publish", cli.folder / "no-such.safetensors")
    assert "universal" in cli.error(2, "publish", good, "--route", "Romance")
    assert "did you mean Romance" in cli.error(2, "publish", good, "--route", "Romanse")
    assert "prompt name" in cli.error(2, "publish", good, "--name", "../x")
    cli.json("publish", good, "--route", "universal")
    other = cli.file("mood", samples.prompt(2, of_card=samples.card(task="mood")))
    assert "task 'mood'" in cli.error(2, "publish", other, "--name", "good")
    assert cli.json("list")["generation"] == 1


def test_what_is_not_there_is_named(cli: Cli) -> None:
    assert f"no prompt store at {cli.store}" in cli.error(1, "list")
    cli.json("publish", cli.file("p", samples.prompt(1)))
    assert "'q'" in cli.error(2, "show", "q")
    assert "p@2" in cli.error(2, "show", "p@2")
    assert "before generation 1" in cli.error(2, "rollback")
    assert "no generation 9" in cli.error(2, "rollback", "--to", "9")
    assert "nothing changed" in cli.run("rollback", "--to", "1").stdout


def test_a_damaged_prompt_is_listed_with_its_problem(cli: Cli) -> None:
    cli.json("publish", cli.file("p", samples.prompt(1)), cli.file("q", samples.prompt(2)))
    digest = samples.prompt(1).digest.removeprefix("sha256:")
    (cli.store / "objects" / f"{digest}.safetensors").write_bytes(b"rot")
    listed = cli.json("list")["prompts"]
    assert "damaged" in listed[0]["problem"]
    assert listed[1]["problem"] is None
    assert "damaged" in cli.run("list").stdout


# PEFT


class Words(FakeTokenizer):
    def first_token(self, word: str, *, spaced: bool = True) -> tuple[int, str] | None:
        return 3 * len(word) + (not spaced), word[:3]


@dataclass(frozen=True)
class FakeBackbone:
    model_id: str
    fingerprint: str = samples.MODEL.fingerprint
    revision: str | None = None
    architecture: str = "bloom"
    layers: int = 2
    hidden_size: int = 8
    vocab_size: int = 200
    max_prompt_length: int = 16
    max_text_tokens: int = 60
    tokenizer: Words = field(default_factory=Words)


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def load(model: str, *, device: str) -> FakeBackbone:
        assert device == "cpu"
        return FakeBackbone(model)

    monkeypatch.setattr(Backbone, "load", load)
    folder = tmp_path / "My adapter"
    folder.mkdir()
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "token_dim": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {"prompt_embeddings": torch.ones(2, 8)}
    safetensors.torch.save_file(tensors, str(folder / "adapter_model.safetensors"))
    return folder


def test_an_adapter_goes_in_and_out(cli: Cli, adapter: Path) -> None:
    given = ["--model", "pocket-bloom", "--label", "yes", "--label", "no", "--word", "no=never"]
    answer = cli.json("import-peft", adapter, *given, "--task", "mood", "--route", "universal")
    assert answer["prompts"][0]["name"] == "my-adapter"
    card = cli.json("show", "my-adapter")["card"]
    assert (card["position"], card["task"]) == ("prefix", "mood")
    words = [(one["label"], one["word"], one["token_id"]) for one in card["labels"]]
    assert words == [("yes", "yes", 9), ("no", "never", 15)]
    out = cli.json("export-peft", "my-adapter", "--out", cli.folder / "out")
    tensors = safetensors.torch.load_file(str(Path(out["folder"]) / "adapter_model.safetensors"))
    assert torch.equal(tensors["prompt_embeddings"], torch.ones(2, 8))


def test_an_adapter_of_another_model_is_refused_before_one_is_loaded(
    cli: Cli, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str | Path] = ["--model", "pocket-bloom", "--label", "yes", "--label", "no"]
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    said = cli.run("import-peft", adapter, *given, "--name", "nameless").stderr
    assert "does not say which base model" in said
    path.write_text(json.dumps(config | {"base_model_name_or_path": "facebook/xglm-564M"}))
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "load", lambda *given, **options: pytest.fail("it was loaded"))
        message = cli.error(2, "import-peft", adapter, *given)
    assert "'facebook/xglm-564M', not 'pocket-bloom'" in message
    assert "my-adapter" not in {prompt["name"] for prompt in cli.json("list")["prompts"]}
    cli.json("import-peft", adapter, *given, "--origin-differs", "--name", "older-word")
    cli.json("import-peft", adapter, *given, "--force")
    training = cli.json("show", "my-adapter")["card"]["training"]
    assert training["origin_differs"] == [
        "its base model is 'facebook/xglm-564M', not 'pocket-bloom'"
    ]


def test_a_template_comes_with_an_adapter_and_is_said_when_it_goes(cli: Cli, adapter: Path) -> None:
    given: list[str | Path] = ["--model", "pocket-bloom", "--label", "yes", "--label", "never"]
    template = "Tweet text : {text} Label : "
    cli.json("import-peft", adapter, *given, "--template", template)
    shown = cli.json("show", "my-adapter")["card"]
    assert (shown["template"], shown["format_version"]) == (template, 3)
    # It ends in a space, so that the words have none of their own.
    assert [one["token_id"] for one in shown["labels"]] == [10, 16]
    said = cli.run("export-peft", "my-adapter", "--out", cli.folder / "out").stdout
    assert f"texts in the template {template!r}" in " ".join(said.split())
    again = [cli.folder / "out", *given, "--name"]
    cli.json("import-peft", *again, "again")
    assert cli.json("show", "again")["card"]["template"] == template
    cli.json("import-peft", *again, "bare", "--template", "{text}")
    assert "template" not in cli.json("show", "bare")["card"]
    message = cli.error(2, "import-peft", adapter, *given, "--template", "Label :")
    assert "--template 'Label :': it has 0 {text}" in message
    long = "{text}" + "a" * 31  # of 60 tokens
    assert "shorten it" in cli.error(2, "import-peft", adapter, *given, "--template", long)


def test_a_classifier_brings_its_own_rows(cli: Cli, adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task_type": "SEQ_CLS"}))
    tensors = {"prompt_embeddings": torch.ones(2, 8), "base_model.score.weight": torch.eye(2, 8)}
    safetensors.torch.save_file(tensors, str(adapter / "adapter_model.safetensors"))
    given: list[str | Path] = ["import-peft", adapter, "--model", "pocket-bloom"]
    labels = ["--label", "aa", "--label", "bb"]  # both would be one token here
    assert "reads no words" in cli.error(2, *given, *labels, "--word", "aa=x")
    cli.json(*given, *labels, "--task", "mood", "--route", "universal")
    card = cli.json("show", "my-adapter")["card"]
    assert card["head"] == "prompt"
    assert [(one["label"], one["token_id"]) for one in card["labels"]] == [("aa", 0), ("bb", 1)]
    cli.run("export-peft", "my-adapter", "--out", cli.folder / "out")
    kept = safetensors.torch.load_file(str(cli.folder / "out" / "adapter_model.safetensors"))
    assert torch.equal(kept["base_model.score.weight"], torch.eye(2, 8))
    # Labels of the routes are names: here they have no tokens, and words find them some.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task_type": "CAUSAL_LM"}))
    safetensors.torch.save_file(
        {"prompt_embeddings": torch.ones(2, 8)}, str(adapter / "adapter_model.safetensors")
    )
    message = cli.error(2, *given, "--task", "mood", "--name", "other")
    assert "labels 'aa' (word 'aa') and 'bb'" in message


def test_a_revision_is_of_a_repository(cli: Cli, adapter: Path) -> None:
    message = cli.error(2, "import-peft", adapter, "--model", "pocket-bloom", "--revision", "v1")
    assert "is no repository of the hub; give OWNER/NAME" in message


def test_labels_come_from_the_routes_unless_given(cli: Cli, adapter: Path) -> None:
    arguments: list[str | Path] = ["import-peft", adapter, "--model", "pocket-bloom"]
    assert "--label" in cli.error(2, *arguments)
    assert not cli.store.exists()
    cli.json("publish", cli.file("world", samples.prompt(1)), "--route", "universal")
    cli.json(*arguments, "--route", "Romance")
    store = PromptStore.open(cli.store)
    assert store.read(store.state().resolve("my-adapter")[2]).card.labels == samples.labels(
        "sports", "travel"
    )
    assert "--word needs --label" in cli.error(2, *arguments, "--word", "a=b")
    assert "write it as label=word" in cli.error(2, *arguments, "--word", "ab")


def test_a_suffix_prompt_is_not_exported(cli: Cli) -> None:
    cli.json("publish", cli.file("p", samples.prompt(1)))
    message = cli.error(2, "export-peft", "p", "--out", cli.folder / "out")
    assert "PEFT would put it before the text" in message


# Small things


@pytest.mark.parametrize(
    ("file", "name"),
    [("Romance plain.safetensors", "romance-plain"), ("--é7.safetensors", "7"), ("v1.2", "v1.2"),
     ("a" * 90, "a" * 64), (("a" * 63) + "-b", "a" * 63)],
)  # fmt: skip
def test_a_files_name_becomes_a_prompts(file: str, name: str) -> None:
    assert name_from(Path("folder") / file) == name


def test_a_file_whose_name_says_nothing_needs_one(cli: Cli) -> None:
    path = cli.file("日本", samples.prompt(1))
    assert "give --name" in cli.error(2, "publish", path)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidPrompt("a\nb"), 2),
        (NotFound("a b"), 2),
        (TooLarge("a b"), 2),
        (StoreError("a b"), 1),
    ],
)
def test_errors_are_one_line_and_an_exit_code(error: IsoglossError, code: int) -> None:
    failing = typer.Typer(cls=ReportingGroup)

    @failing.command()
    def fail() -> None:
        raise error

    @failing.command()
    def other() -> None: ...

    result = CliRunner().invoke(failing, ["fail"])
    assert (result.exit_code, result.stderr) == (code, "error: a b\n")
    assert exit_code(error) == code


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, isogloss.prompts.cli.commands\n"
        "print([m for m in ('torch', 'transformers', 'ray', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_a_folder_and_a_pattern_without_files_are_named(cli: Cli) -> None:
    assert "is a folder; name the prompt files in it" in cli.error(2, "publish", cli.folder)
    said = cli.error(2, "publish", cli.folder / "*.safetensors", "--name", "p")
    assert "check the path; the pattern matches no file" in said
