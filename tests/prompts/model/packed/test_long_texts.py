"""Long texts: read block by block, with the same answers, and in memory that grows as they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.packed import attention
from tests.architectures import VARIANTS, decoder_case
from tests.models import random_model

_BLOCK = attention._BLOCK_QUERIES
_LENGTHS = (1, _BLOCK - 1, _BLOCK, _BLOCK + 1, 300)


class LargestTensor(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operator made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [each for each in tree_leaves(out) if isinstance(each, Tensor)]
        self.bytes = max([self.bytes, *(each.untyped_storage().nbytes() for each in made)])
        return out


def _model() -> Backbone:
    model = random_model("bloom", 0, seq_length=2048)
    return Backbone.from_transformers(model, None, model_id="random")


def _texts(model: Backbone, lengths: Sequence[int]) -> list[list[int]]:
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randint(3, model.vocab_size, (length,), generator=draw).tolist() for length in lengths
    ]


def _largest(model: Backbone, tokens: int) -> int:
    prompt = torch.zeros(4, model.hidden_size)
    with torch.inference_mode(), LargestTensor() as largest:
        model.read_suffixed(_texts(model, [tokens]), [[prompt]])
    return int(largest.bytes)


def test_no_tensor_grows_with_the_square_of_a_texts_length() -> None:
    model = _model()
    assert _largest(model, 1600) < 2.5 * _largest(model, 800)


@pytest.mark.parametrize("prompts", [1, 3])
def test_a_text_of_many_blocks_is_read_as_its_keys_and_values_are(prompts: int) -> None:
    model = _model()
    texts = _texts(model, _LENGTHS)
    behind = [
        [torch.randn(length + 2, model.hidden_size) for length in range(prompts)] for _ in texts
    ]
    with torch.inference_mode():
        whole = model.read(model.encode(texts), behind)
        torch.testing.assert_close(model.read_suffixed(texts, behind), whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", list(VARIANTS))
def test_windows_and_caps_hold_from_block_to_block(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = decoder_case(architecture, 0)
    with torch.inference_mode():
        whole = case.backbone.read_suffixed(case.texts, case.prompts)
        monkeypatch.setattr(attention, "_BLOCK_QUERIES", 3)
        blocks = case.backbone.read_suffixed(case.texts, case.prompts)
    torch.testing.assert_close(blocks, whole, atol=1e-4, rtol=1e-4)
