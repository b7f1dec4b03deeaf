"""Encoded texts: once each, in memory up to a budget, then in a file that leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.texts import CacheBudget, CachedTexts, FreshTexts, Texts, tokenize
from tests.training.tiny import sentences, tiny


def ids(model: Backbone) -> Texts:
    return tokenize(model, [text for _, _, text in sentences("eng_Latn", "train")], None)


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_disk_and_fresh_texts_read_the_same(
    architecture: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = tiny(architecture)
    if dtype is not torch.float32:
        model = half_precision(architecture, dtype)
    texts = ids(model)
    memory = CachedTexts(model, CacheBudget())
    rows = memory.add(texts)
    mixed = CachedTexts(model, CacheBudget(memory.held_bytes // 2, tmp_path))
    disk = CachedTexts(model, CacheBudget(0, tmp_path))
    fresh = FreshTexts(model)
    for kept in (mixed, disk, fresh):
        assert kept.add(texts) == rows
    assert 0 < mixed.held_bytes <= memory.held_bytes // 2
    assert disk.held_bytes == 0
    assert list(tmp_path.iterdir()) == []  # the files have no names
    prompt = torch.randn(3, 32)
    for chosen in ([3], [20, 1, 7, 7], list(range(24))):
        own = [[prompt]] * len(chosen)
        expected = model.read(memory.batch(chosen), own)
        for cached in (mixed, disk):
            assert torch.equal(model.read(cached.batch(chosen), own), expected)
        tolerance = 1e-5 if dtype is torch.float32 else 5e-2
        torch.testing.assert_close(
            model.read(fresh.batch(chosen), own), expected, atol=tolerance, rtol=tolerance
        )


def half_precision(architecture: str, dtype: torch.dtype) -> Backbone:
    from dataclasses import replace

    from isogloss.prompts.model.decoder.weights import cast

    model = tiny(architecture)
    return replace(model, weights=cast(model.weights, model.device, dtype))


def test_a_text_is_encoded_once_however_often_it_is_added() -> None:
    model = tiny("bloom")
    told: list[tuple[int, int]] = []
    cached = CachedTexts(model, CacheBudget(), lambda done, total: told.append((done, total)))
    texts = ids(model)
    first = cached.add(texts[:20])
    again = cached.add([*texts[10:], texts[0]])
    assert first == list(range(20))
    assert again == [*range(10, 24), 0]
    assert told == [(20, 20), (4, 4)]


def test_more_texts_than_are_encoded_at_a_time_keep_their_places() -> None:
    model = tiny("bloom")
    texts = [[*text, 300 + i] for i in range(3) for text in ids(model)]  # 72, three chunks
    cached = CachedTexts(model, CacheBudget())
    rows = cached.add(texts)
    prompt = torch.randn(2, 32)
    picked = [70, 0, 33, 31]
    own = model.read(cached.batch([rows[i] for i in picked]), [[prompt]] * 4)
    alone = [model.read(model.encode([texts[i]]), [[prompt]]) for i in picked]
    torch.testing.assert_close(own, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_a_full_disk_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def seek(self, *args: Any) -> int:
            return 0

        def write(self, data: Any) -> int:
            raise OSError(28, os.strerror(28))

        def close(self) -> None:
            pass

    def full(**kwargs: Any) -> IO[bytes]:
        return Full()  # type: ignore[return-value]

    monkeypatch.setattr("isogloss.training.tuning.texts.tempfile.TemporaryFile", full)
    model = tiny("bloom")
    cached = CachedTexts(model, CacheBudget(0, tmp_path))
    with pytest.raises(InvalidInput, match=r"--cache-gb 0: 0 encoded texts fit.*No space left"):
        cached.add(ids(model))
    monkeypatch.undo()
    nowhere = CachedTexts(model, CacheBudget(0, tmp_path / "missing"))
    with pytest.raises(InvalidInput, match=r"cannot be written to .*missing"):
        nowhere.add(ids(model))
