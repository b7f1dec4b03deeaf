"""`auto` decides once on a processor: a second measurement near the threshold may differ."""

import logging
from pathlib import Path

import pytest
import torch

from isogloss.prompts.model.packed import choice, pack
from isogloss.prompts.model.packed.choice import kept_choice


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path))
    return tmp_path


def never(width: int) -> torch.dtype:
    raise AssertionError(f"measured again for {width}")


@pytest.mark.parametrize("chosen", [torch.bfloat16, torch.float32])
def test_what_was_chosen_once_is_chosen_again(chosen: torch.dtype) -> None:
    assert kept_choice(64, lambda width: chosen) == chosen
    assert kept_choice(64, never) == chosen


def test_another_width_number_of_threads_or_processor_is_measured_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kept_choice(64, lambda width: torch.bfloat16) == torch.bfloat16
    assert kept_choice(128, lambda width: torch.float32) == torch.float32
    with monkeypatch.context() as other:
        other.setattr(torch, "get_num_threads", lambda: 77)
        assert kept_choice(64, lambda width: torch.float32) == torch.float32
    monkeypatch.setattr(choice, "processor_features", lambda: b"another")
    assert kept_choice(64, lambda width: torch.float32) == torch.float32


@pytest.mark.parametrize("damaged", [b"", b"int8", b"\xff", b"float32" * 100])
def test_what_cannot_be_read_is_measured_and_kept_again(cache: Path, damaged: bytes) -> None:
    kept_choice(64, lambda width: torch.float32)
    (kept,) = (cache / "precision").iterdir()
    kept.write_bytes(damaged)
    assert kept_choice(64, lambda width: torch.bfloat16) == torch.bfloat16
    assert kept.read_text() == "bfloat16"


def test_a_folder_that_cannot_be_written_costs_the_measuring_alone(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (cache / "precision").write_text("a file in the way")
    with caplog.at_level(logging.WARNING, logger=choice.__name__):
        assert kept_choice(64, lambda width: torch.bfloat16) == torch.bfloat16
    assert any("is not kept" in each.message for each in caplog.records)


def test_a_model_is_served_in_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "fastest_dtype", lambda width: torch.bfloat16)
    assert pack.auto_dtype(64) == torch.bfloat16
    monkeypatch.setattr(pack, "fastest_dtype", never)
    assert pack.auto_dtype(64) == torch.bfloat16
