"""Paths from the environment and from options, where no shell expanded them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from isogloss.prompts.console.console import ReportingGroup
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.given_paths import cache_folder, expanded, from_environment, user_data
from isogloss.prompts.store.objects import default_cache
from isogloss.prompts.store.seed import default_store_path
from isogloss.serving.batching.kept_costs import cost_folder
from isogloss.serving.config import ServingSettings
from isogloss.training.data.labelled import language_codes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ISOGLOSS_STORE", "ISOGLOSS_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("~/store", "{home}/store"),
        ("~", "{home}"),
        ("  ~/my store\t", "{home}/my store"),
        ('"~/store"', "{home}/store"),
        ("' /srv/store '", "/srv/store"),
        ("$HOME/store", "{home}/store"),
        ("/srv/a~b/$UNKNOWN_NAME", "/srv/a~b/$UNKNOWN_NAME"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ('"', '"'),
        ("", None),
        (" ", None),
        ("''", None),
        (None, None),
    ],
)
def test_a_variable_is_read_as_it_was_meant(
    value: str | None, wanted: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("ISOGLOSS_STORE", value)
    found = from_environment("ISOGLOSS_STORE")
    assert found == (wanted.format(home=home) if wanted else None)
    meant = Path(found) if found else user_data() / "store"
    assert default_store_path() == meant


def test_the_cache_is_in_one_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == home / ".cache" / "isogloss"
    monkeypatch.setenv("ISOGLOSS_CACHE", " '~/kept'")
    assert cost_folder() == home / "kept" / "costs"
    default_cache().put("x", b"1")
    assert (home / "kept" / "objects" / "x").read_bytes() == b"1"
    assert not (home.parent / "~").exists()


def test_nobodys_home_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"--store '~no-such-user-here/x': there is no home"):
        expanded("~no-such-user-here/x", "--store")


def test_options_and_settings_are_expanded_too(home: Path) -> None:
    app = typer.Typer(cls=ReportingGroup)
    seen: list[object] = []

    @app.command()
    def one(
        files: Annotated[list[Path], typer.Argument()],
        store: Annotated[Path | None, typer.Option()] = None,
        text: str = "",
    ) -> None:
        seen.extend((*files, store, text))

    app.command("two")(lambda: None)
    done = CliRunner().invoke(app, ["one", "~/a", "/b", "--store=~/store", "--text", "~/kept"])
    assert done.exit_code == 0, done.output
    assert seen == [home / "a", Path("/b"), home / "store", "~/kept"]
    assert ServingSettings(store=Path("~/store")).store == home / "store"


def test_data_is_found_at_home(home: Path) -> None:
    (home / "tickets" / "eng_Latn").mkdir(parents=True)
    (home / "tickets" / "eng_Latn" / "train.tsv").write_bytes(b"")
    assert language_codes("~/tickets") == ["eng_Latn"]
