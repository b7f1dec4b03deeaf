"""`isogloss prompts`: publish --canary and --shadow, promote, rollback --trial, trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.cli.trials import TrialOptions, parse_share
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.routing.trials import TrialLimits
from isogloss.prompts.store.store import PromptStore
from tests.prompts.command_line import Cli
from tests.prompts.trial_cases import BETTER, OTHER, ROMANCE, new_store


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    new_store(tmp_path)
    return Cli(tmp_path)


def begin(cli: Cli, *arguments: str) -> Any:
    return cli.json("publish", cli.file("better", BETTER), "--name", "romance", *arguments)


def test_a_canary_is_published_listed_and_promoted(cli: Cli) -> None:
    answer = begin(cli, "--canary", "5%", "--note", "why")
    assert (answer["generation"], answer["changed"]) == (2, True)
    assert answer["prompts"] == [{"name": "romance", "version": 2, "digest": BETTER.digest}]
    started_at = answer["trials"][0].pop("started_at")
    trial = {
        "name": "romance",
        "candidate": "romance@2",
        "digest": BETTER.digest,
        "model": "pocket-bloom",
        "task": "topic",
        "kind": "canary",
        "share": 0.05,
        "routed": {"Romance": "romance@1", "Gascon": "romance@1"},
        "limits": None,
    }
    assert answer["trials"] == [trial]
    trial["started_at"] = started_at
    assert cli.json("trials")["trials"] == [trial]
    assert cli.json("list")["trials"] == [trial]
    assert cli.json("show", "romance")["trial"] == trial
    assert cli.json("show", "world")["trial"] is None
    assert [g["trials"] for g in cli.json("list", "--history")["generations"]] == [[trial], []]

    assert begin(cli, "--canary", "0.2")["trials"][0]["share"] == 0.2
    promoted = cli.json("promote", "romance", "--note", "good")
    assert promoted["promoted"] == "romance@2"
    assert (promoted["generation"], promoted["digest"]) == (4, BETTER.digest)
    assert promoted["clades"] == ["Romance", "Gascon"]
    assert cli.json("trials")["trials"] == []
    assert cli.json("show", "romance")["digest"] == BETTER.digest


def test_a_shadow_with_limits_is_ended_by_itself(cli: Cli) -> None:
    arguments = ["--shadow", "--share", "25%", "--route", "Gascon", "--min-agreement", "95%"]
    arguments += ["--max-score-drop", "0.05", "--max-latency-ratio", "1.5", "--min-texts", "50"]
    (trial,) = begin(cli, *arguments)["trials"]
    assert (trial["kind"], trial["share"], [*trial["routed"]]) == ("shadow", 0.25, ["Gascon"])
    limits = {"min_agreement": 0.95, "max_score_drop": 0.05, "max_latency_ratio": 1.5}
    assert trial["limits"] == {**limits, "min_texts": 50}
    ended = cli.json("rollback", "--trial", "romance", "--note", "why")
    assert (ended["ended"], ended["generation"]) == ("romance@2", 3)
    assert cli.json("show", "romance@2")["digest"] == BETTER.digest
    assert cli.json("show", "romance")["digest"] == ROMANCE.digest
    assert begin(cli, "--shadow")["trials"][0]["share"] == 1
    assert cli.json("rollback")["restores"] == 3
    assert PromptStore(cli.store).state().trials == ()


def test_tables_say_the_same(cli: Cli) -> None:
    given = ["--canary", "2.5%", "--route", "Gascon", "--min-agreement", "0.9"]
    assert "nothing is on trial" in cli.run("trials").stdout
    begin(cli, *given)
    said = "romance@2, canary, 2.5% of Gascon"
    file = cli.folder / "better.safetensors"
    for arguments, expected in (
        (
            ["publish", str(file), "--name", "romance", *given],
            [f"on trial: {said}", "nothing"],
        ),
        (["list"], [f"on trial: {said}"]),
        (["show", "romance"], [said]),
        (["list", "--history"], [said]),
        (["trials"], ["romance@2", "2.5%", "romance@1 (Gascon)", "agreement 0.9, after 200 texts"]),
        (["publish", str(file), "--name", "romance", "--shadow"], ["shadow, 100% of Gascon"]),
        (["promote", "romance"], ["generation 4: romance@2 answers Gascon"]),
        (["publish", str(file), "--name", "new", "--shadow", "--route", "universal"], ["new@1"]),
        (["trials"], ["never"]),
        (["rollback", "--trial", "new"], ["generation 6: new@1 is not on trial any more"]),
    ):
        result = cli.run(*arguments)
        assert result.exit_code == 0, result.output
        assert [words for words in expected if words not in result.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--canary", "5%", "--shadow"], "--canary 5% and --shadow"),
        (["--canary", "5"], "--canary '5' must be a share above 0 and at most 1, such as 5% or"),
        (["--canary", "0%"], "--canary '0%'"),
        (["--canary", "101%"], "--canary '101%'"),
        (["--shadow", "--share", "many"], "--share 'many'"),
        (["--canary", "5%", "--share", "5%"], "--share 5% is for --shadow"),
        (["--share", "5%"], "--share 5% is for --shadow"),
        (["--min-agreement", "0.9"], "--min-agreement is for a trial: give --canary or --shadow"),
        (["--shadow", "--min-agreement", "9"], "--min-agreement '9'"),
        (["--shadow", "--max-score-drop", "-1"], "--max-score-drop '-1'"),
        (["--shadow", "--max-latency-ratio", "0"], "--max-latency-ratio 0.0"),
        (["--shadow", "--max-latency-ratio", "nan"], "--max-latency-ratio nan"),
        (["--shadow", "--min-texts", "5"], "--min-texts 5 alone"),
        (["--shadow", "--route", "Bantu"], "'Bantu' has no route of its own"),
        (["--shadow", "--name", "new"], "give --route"),
    ],
)
def test_options_that_make_no_sense_change_nothing(
    cli: Cli, arguments: list[str], reason: str
) -> None:
    file = cli.file("romance", BETTER)
    assert reason in cli.error(2, "publish", file, *arguments)
    assert PromptStore(cli.store).latest() == 1


def test_a_trial_is_of_one_file_in_a_store_that_is_there(cli: Cli) -> None:
    files = [cli.file("a", BETTER), cli.file("b", OTHER)]
    assert "single file" in cli.error(2, "publish", *files, "--shadow")
    cli.store = cli.folder / "nowhere"
    assert "no prompt store" in cli.error(1, "publish", files[0], "--shadow")
    assert not cli.store.exists()


def test_what_is_not_on_trial_is_named(cli: Cli) -> None:
    for arguments in (["promote", "world"], ["rollback", "--trial", "world"]):
        assert "'world' is not on trial" in cli.error(2, *arguments)
    begin(cli, "--shadow")
    assert "on trial: romance@2" in cli.error(2, "promote", "world")
    message = cli.error(2, "rollback", "--trial", "romance", "--to", "1")
    assert "--to 1 and --trial romance" in message
    assert "rollback --trial romance" in cli.error(2, "delete", "romance")
    assert PromptStore(cli.store).latest() == 2


@pytest.mark.parametrize(
    ("text", "share"),
    [("5%", 0.05), ("0.05", 0.05), (".5", 0.5), ("1", 1.0), ("100%", 1.0), ("0.7%", 0.007),
     (" 12.5% ", 0.125)],
)  # fmt: skip
def test_shares_are_read(text: str, share: float) -> None:
    assert parse_share("--canary", text) == share


@pytest.mark.parametrize(
    "text", ["", "%", "5 %", "0", "0.0%", "-5%", "1.01", "5e-2", "nan", "inf%", "1_0%", "٥%", "5%%"]
)
def test_what_is_no_share_is_named(text: str) -> None:
    with pytest.raises(InvalidInput, match="--canary") as refusal:
        parse_share("--canary", text)
    assert repr(text) in str(refusal.value)


def test_limits_are_read() -> None:
    assert TrialOptions().limits() is None
    assert TrialOptions(max_latency_ratio=2.0).limits() == TrialLimits(max_latency_ratio=2)


def test_what_is_asked_again_under_one_id_is_made_once_and_told_again(cli: Cli) -> None:
    asked = ["--name", "romance", "--canary", "5%", "--request-id", "begin"]
    begun = cli.json("publish", cli.file("better", BETTER), *asked)
    promoted = cli.json("promote", "romance", "--request-id", "promote")
    back = cli.json("rollback", "--to", "1", "--request-id", "back")
    assert (begun["generation"], promoted["generation"], back["generation"]) == (2, 3, 4)
    again = cli.json("publish", cli.file("better", BETTER), *asked)
    assert (again["generation"], again["prompts"]) == (2, begun["prompts"])
    assert cli.json("promote", "romance", "--request-id", "promote") == promoted
    assert cli.json("rollback", "--to", "1", "--request-id", "back") == back
    assert PromptStore.open(cli.store).latest() == 4
    message = cli.error(2, "rollback", "--to", "2", "--request-id", "back")
    assert "stands for rollback to generation 1" in message


def test_a_trial_is_ended_once_under_one_id(cli: Cli) -> None:
    begin(cli, "--canary", "5%")
    ended = cli.json("rollback", "--trial", "romance", "--request-id", "end")
    assert (ended["generation"], ended["ended"]) == (3, "romance@2")
    begin(cli, "--canary", "6%")
    assert cli.json("rollback", "--trial", "romance", "--request-id", "end") == ended
    assert len(cli.json("trials")["trials"]) == 1
