"""A job's steps: kept, found again, and made again where what they build on changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData, NotFound
from isogloss.training.evaluation.summary import PromptSummary
from isogloss.training.files import write_atomically
from isogloss.training.tailor.steps import Told, best_first, run_steps
from isogloss.training.tailor.words import Output, Step


class Runner:
    """Runs nothing, writes a file as a step would, and may fail."""

    def __init__(self, fails: str = "") -> None:
        self.ran: list[str] = []
        self._fails = fails

    def __call__(self, words: Sequence[str]) -> None:
        if words[0] == self._fails:
            raise KeyboardInterrupt
        self.ran.append(words[0])
        write_atomically(Path(words[1]) / "made", b"")


def chain(options: str = "") -> tuple[Step, ...]:
    return (
        Step("one", ("first", Output("one"), options)),
        Step("two", ("second", Output("two"), Output("one", "made")), ("one",)),
        Step("other", ("third", Output("other"))),
    )


def run(
    work: Path, run: Callable[[Sequence[str]], None], options: str = "", about: str = ""
) -> None:
    run_steps(chain(options), work, about, run, lambda told: None)


def test_finished_steps_are_skipped_and_an_interrupted_one_runs_again(tmp_path: Path) -> None:
    broken, again, once_more = Runner("second"), Runner(), Runner()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, broken)
    run(tmp_path, again)
    run(tmp_path, once_more)
    assert (broken.ran, again.ran, once_more.ran) == (["first"], ["second", "third"], [])


def test_a_changed_setting_runs_what_builds_on_it_again_and_nothing_else(tmp_path: Path) -> None:
    first, changed, back, retrained = Runner(), Runner(), Runner(), Runner()
    run(tmp_path, first)
    run(tmp_path, changed, "--epochs 3")
    run(tmp_path, back)
    run(tmp_path, retrained, about="other weights")
    assert first.ran == ["first", "second", "third"]
    assert changed.ran == ["first", "second"]
    assert back.ran == []
    assert retrained.ran == ["first", "second", "third"]


def test_each_step_is_told_when_it_begins_and_when_it_is_done(tmp_path: Path) -> None:
    told: list[Told] = []
    run_steps(chain()[:1], tmp_path, "", Runner(), told.append)
    run_steps(chain()[:1], tmp_path, "", Runner(), told.append)
    assert [(each.number, each.seconds is None, each.kept) for each in told] == [
        (1, True, False),
        (1, False, False),
        (1, False, True),
    ]


def test_the_best_on_dev_is_by_all_languages_or_by_one() -> None:
    found = [
        PromptSummary("a", "", 0.5, {"eng_Latn": 0.2, "fra_Latn": 0.8}, {}),
        PromptSummary("b", "", 0.4, {"eng_Latn": 0.6, "fra_Latn": 0.2}, {}),
        PromptSummary("c", "", 0.5, {"eng_Latn": 0.5, "fra_Latn": 0.5}, {}),
    ]
    assert best_first(found) == ["a", "c", "b"]
    assert best_first(found, "eng_Latn") == ["b", "c", "a"]
    with pytest.raises(InvalidData, match="deu_Latn was not evaluated"):
        best_first(found, "deu_Latn")
    with pytest.raises(NotFound, match="nothing was evaluated"):
        best_first([])
