"""The strongest peers: transformers' model compiled by torch or by OpenVINO, and in int8.

All are given what a careful user would: texts in four buckets of similar lengths, no cache, and the
last position's logits alone. A bucket is padded on the left.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isogloss.deploy.bench.engine_settings import CurveName
from isogloss.deploy.bench.peers import Transformers, appended
from isogloss.deploy.bench.texts import Batch, Workload

BUCKETS = 4
_LEAST_TEXTS = 4  # of a bucket, where there are enough


class TransformersBuckets(Transformers):
    """As `transformers`, a batch in buckets: less padding, more calls."""

    name: ClassVar[str] = "transformers_buckets"
    curves: ClassVar[frozenset[CurveName]] = frozenset(("batch_size",))

    def score(self, batch: Batch) -> Tensor:
        """(prompts of the batch, labels)."""
        scores = torch.empty(len(batch.texts), len(self._labels), device=self._prompts.device)
        for rows in buckets([len(text) for text in batch.texts]):
            prompts = self._prompts[[batch.prompts[row] for row in rows]]
            logits = self._last_logits([batch.texts[row] for row in rows], prompts)
            scores[rows] = logits[:, self._labels].float().log_softmax(dim=-1)
        return scores

    def _last_logits(self, texts: Sequence[Sequence[int]], prompts: Tensor) -> Tensor:
        inputs = appended(self._model, texts, prompts)
        logits: Tensor = self._model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        return logits


class TorchCompile(TransformersBuckets):
    """torch.compile (inductor) with dynamic shapes; on CPUs with weights frozen and packed."""

    name: ClassVar[str] = "torch_compile"
    needs: ClassVar[tuple[str, ...]] = ("transformers", "g++")

    def __init__(self, model: Any, work: Workload) -> None:
        super().__init__(model, work)
        freezing: dict[str, Any] = {"freezing": True} if self._prompts.device.type == "cpu" else {}
        self._compiled = torch.compile(LastLogits(self._model), dynamic=True, options=freezing)

    def _last_logits(self, texts: Sequence[Sequence[int]], prompts: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's compiler warns of torch's own deprecations
            logits: Tensor = self._compiled(**masked(self._model, texts, prompts))
        return logits


class TorchCompileInt8(TorchCompile):
    """The same with linear layers in int8: torchao's, or torch's own dynamic quantizer."""

    name: ClassVar[str] = "torch_compile_int8"
    fixed: ClassVar[torch.dtype | None] = torch.int8

    def __init__(self, model: Any, work: Workload) -> None:
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(_in_int8(copy.deepcopy(model)), work)
        self.dtype = torch.int8


class OpenVino(TransformersBuckets):
    """OpenVINO: the model converted with embeddings as its input, tuned for one caller."""

    name: ClassVar[str] = "openvino"
    needs: ClassVar[tuple[str, ...]] = ("transformers", "openvino")
    devices: ClassVar[frozenset[str]] = frozenset(("cpu",))

    def __init__(self, model: Any, work: Workload) -> None:
        super().__init__(model, work)
        with torch.inference_mode(False), torch.no_grad(), _quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing
            self._compiled = self._compile(work)

    def _compile(self, work: Workload) -> Any:
        import openvino

        model = self._model if self.dtype == torch.float32 else copy.deepcopy(self._model).float()
        example = masked(model, [text[:9] for text in work.texts[:2]], self._prompts[:2].float())
        # Clones: tensors made in inference mode cannot be traced.
        cloned = {name: value.clone() for name, value in example.items()}
        self._names = list(cloned)
        converted = self._changed(
            openvino.convert_model(LastLogits(model), example_input=cloned, verbose=False)
        )
        how = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if self.dtype == torch.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return openvino.Core().compile_model(converted, "CPU", how)

    def _changed(self, converted: Any) -> Any:
        return converted

    def _last_logits(self, texts: Sequence[Sequence[int]], prompts: Tensor) -> Tensor:
        inputs = masked(self._model, texts, prompts)
        given = [inputs[name].float() if name == _EMBEDS else inputs[name] for name in self._names]
        (logits,) = self._compiled([each.numpy() for each in given]).values()
        return torch.from_numpy(logits)


class OpenVinoInt8(OpenVino):
    """The same with weights in int8 by nncf; activations are quantized on the way (by default)."""

    name: ClassVar[str] = "openvino_int8"
    needs: ClassVar[tuple[str, ...]] = ("transformers", "openvino", "nncf")
    fixed: ClassVar[torch.dtype | None] = torch.int8

    def __init__(self, model: Any, work: Workload) -> None:
        super().__init__(model, work)
        self.dtype = torch.int8

    def _changed(self, converted: Any) -> Any:
        import nncf

        return nncf.compress_weights(converted, mode=nncf.CompressWeightsMode.INT8_SYM)


_EMBEDS = "inputs_embeds"


class LastLogits(nn.Module):
    """A transformers model from embeddings, always with a mask, to the last position's logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self._windows = _windows(model.config)

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor | None = None
    ) -> Tensor:
        """(texts, longest, hidden) -> (texts, vocabulary)."""
        seen = {
            kind: _seen(attention_mask, window) for kind, window in self._windows.items()
        } or attention_mask
        places = {} if position_ids is None else {"position_ids": position_ids}
        logits: Tensor = self._model(
            inputs_embeds=inputs_embeds,
            attention_mask=seen,
            use_cache=False,
            logits_to_keep=1,
            **places,
        ).logits[:, -1]
        return logits


def _windows(config: Any) -> dict[str, int | None]:
    """How far each kind of layer sees; none where transformers' own masks are converted right."""
    if config._attn_implementation != "sdpa":
        return {}
    return {
        kind: config.sliding_window if kind == "sliding_attention" else None
        for kind in set(config.layer_types)
    }


def _seen(mask: Tensor, window: int | None) -> Tensor:
    """(texts, longest) -> what each sees: padding itself, or OpenVINO would divide by nothing."""
    places = torch.arange(mask.shape[1], device=mask.device)
    back = places[:, None] - places
    near = back >= 0 if window is None else (back >= 0) & (back < window)
    return (near & mask[:, None, None, :].bool()) | (back == 0)


def masked(model: Any, texts: Sequence[Sequence[int]], prompts: Tensor) -> dict[str, Tensor]:
    """What `appended` gives, with the mask and positions even where nothing is padded."""
    inputs = appended(model, texts, prompts)
    embeds = inputs[_EMBEDS]
    mask = inputs.setdefault("attention_mask", embeds.new_ones(embeds.shape[:2]).long())
    if model.config.model_type == "xglm":
        inputs.setdefault("position_ids", (mask.cumsum(-1) - 1).clamp(min=0))
    return inputs


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of texts in up to four groups of as many, of similar lengths.

    >>> buckets([5, 1, 6, 2, 9, 9, 9, 9])
    [[1, 3, 0, 2], [4, 5, 6, 7]]
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    count = min(BUCKETS, max(1, len(lengths) // _LEAST_TEXTS))
    cuts = [len(order) * cut // count for cut in range(count + 1)]
    return [order[begin:end] for begin, end in pairwise(cuts)]


def _in_int8(model: Any) -> Any:
    if find_spec("torchao") is not None:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        quantize_(model, Int8DynamicActivationInt8WeightConfig())
        return model
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(model, {nn.Linear}, torch.qint8, inplace=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenVINO and nncf tell their makers of each use, unless they believe to be tested."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before
