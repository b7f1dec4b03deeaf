"""llama.cpp as a peer: BLOOM written as a GGUF file, embeddings as its input.

It is called as its `llama_batch` allows and its documentation advises for many short sequences: all
texts of a batch in one call, each a sequence of its own, the last position's logits alone. XGLM is
not among its architectures.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from isogloss.deploy.bench.engine_settings import CurveName
from isogloss.deploy.bench.peers import Position
from isogloss.deploy.bench.texts import Batch, Workload

_MOST_TOKENS = 8192  # of a batch
_MOST_TEXTS = 256


class LlamaCpp:
    """llama.cpp through its Python binding, weights in the precision of the model it is given."""

    name: ClassVar[str] = "llama_cpp"
    needs: ClassVar[tuple[str, ...]] = ("transformers", "llama_cpp", "gguf")
    devices: ClassVar[frozenset[str]] = frozenset(("cpu",))
    fixed: ClassVar[torch.dtype | None] = None
    position: ClassVar[Position] = "suffix"
    curves: ClassVar[frozenset[CurveName]] = frozenset(("batch_size",))
    model_types: ClassVar[frozenset[str] | None] = frozenset(("bloom",))
    rounding: ClassVar[torch.dtype | None] = torch.float16  # GELU is looked up in a table

    def __init__(self, model: Any, work: Workload) -> None:
        self._embedding = model.get_input_embeddings()
        self.dtype = self.fixed or self._embedding.weight.dtype
        self._prompts = torch.stack(work.prompts).float()
        self._labels = list(work.label_ids)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.gguf"
            write_bloom(model, self.dtype, file)
            self._run = _Context(file, model.config.hidden_size)

    def score(self, batch: Batch) -> Tensor:
        """Prompts after the texts: (prompts of the batch, labels)."""
        prompts = self._prompts[list(batch.prompts)]
        rows = [
            torch.cat([self._embedding(torch.tensor(text)).float(), prompt])
            for text, prompt in zip(batch.texts, prompts, strict=True)
        ]
        return self._run.last_logits(rows)[:, self._labels].log_softmax(dim=-1)


class LlamaCppInt8(LlamaCpp):
    """The same with weights and activations in blocks of eight bits (Q8_0)."""

    name: ClassVar[str] = "llama_cpp_int8"
    fixed: ClassVar[torch.dtype | None] = torch.int8


class _Context:
    """A loaded model and the room for one batch."""

    def __init__(self, file: Path, hidden_size: int) -> None:
        import llama_cpp

        self._cpp: Any = llama_cpp
        self._keep_quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._keep_quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        how = llama_cpp.llama_model_default_params()
        how.use_mmap = False  # the file goes when this is made
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), how)
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._tokens = int(llama_cpp.llama_vocab_n_tokens(vocabulary))
        room = llama_cpp.llama_context_default_params()
        room.n_ctx = room.n_batch = room.n_ubatch = _MOST_TOKENS
        room.n_seq_max, room.kv_unified = _MOST_TEXTS, True
        room.n_threads = room.n_threads_batch = torch.get_num_threads()
        room.type_k = room.type_v = llama_cpp.GGML_TYPE_F32
        self._context = llama_cpp.llama_init_from_model(self._model, room)
        self._batch = llama_cpp.llama_batch_init(_MOST_TOKENS, hidden_size, 1)

    def last_logits(self, rows: list[Tensor]) -> Tensor:
        """Of each sequence's vectors, (length, hidden) float32: (sequences, vocabulary)."""
        cpp, batch = self._cpp, self._batch
        vectors = torch.cat(rows).contiguous()
        ctypes.memmove(batch.embd, vectors.data_ptr(), vectors.numel() * vectors.element_size())
        batch.n_tokens, ends, place = len(vectors), [], 0
        for sequence, row in enumerate(rows):
            for position in range(len(row)):
                batch.pos[place], batch.n_seq_id[place] = position, 1
                batch.seq_id[place][0], batch.logits[place] = sequence, position == len(row) - 1
                place += 1
            ends.append(place - 1)
        cpp.llama_memory_clear(cpp.llama_get_memory(self._context), True)
        if status := cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode answers {status}")
        logits = (cpp.llama_get_logits_ith(self._context, end) for end in ends)
        found = [np.ctypeslib.as_array(each, (self._tokens,)) for each in logits]
        return torch.from_numpy(np.stack(found))


def write_bloom(model: Any, dtype: torch.dtype, file: Path) -> None:
    """Write transformers' BLOOM as GGUF: linear layers in a precision, the rest in float32.

    Args:
        model: of transformers.
        dtype: float32, bfloat16, float16, or int8 (Q8_0).
        file: to be written.
    """
    import gguf

    config = model.config
    out: Any = gguf.GGUFWriter(file, "bloom")
    out.add_context_length(_MOST_TOKENS)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(4 * config.hidden_size)
    out.add_block_count(config.n_layer)
    out.add_head_count(config.n_head)
    out.add_head_count_kv(config.n_head)
    out.add_layer_norm_eps(config.layer_norm_epsilon)
    out.add_vocab_size(config.vocab_size)
    out.add_tokenizer_model("none")
    kinds = {
        torch.bfloat16: gguf.GGMLQuantizationType.BF16,
        torch.float16: gguf.GGMLQuantizationType.F16,
        torch.int8: gguf.GGMLQuantizationType.Q8_0,
    }
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BLOOM, config.n_layer)
    for name, tensor in _bloom_tensors(model).items():
        values, kind = tensor.float().numpy(), None
        if tensor.dim() == 2:
            kind = kinds.get(dtype)
        if kind is not None:
            values = gguf.quants.quantize(values, kind)
        stem, _, part = name.rpartition(".")
        out.add_tensor(f"{names.get_name(stem)}.{part}", values, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _bloom_tensors(model: Any) -> Mapping[str, Tensor]:
    """transformers' tensors, queries, keys and values of all heads one after the other."""
    heads = model.config.n_head
    found = {}
    for name, tensor in model.transformer.state_dict().items():
        if "query_key_value" in name:
            by_head = tensor.unflatten(0, (heads, 3, -1))
            tensor = by_head.transpose(0, 1).flatten(0, 2)
        found[name] = tensor
    return found
