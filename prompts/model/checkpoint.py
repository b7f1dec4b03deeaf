"""From a model's name to its tensors: hub ids, folders in the hub's layout, pocket models.

transformers reads the files (safetensors, or .bin through torch's weights-only loader); its module
is taken apart at once and dropped.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound, Unavailable
from isogloss.prompts.languages.pretraining import Pretraining, pretraining_of
from isogloss.prompts.model.checkpoint_checks import (
    check_configuration,
    check_stored_types,
    check_tensors,
    check_tokenizer,
)
from isogloss.prompts.model.conversion import architecture_of
from isogloss.prompts.model.cuda.fp8 import E4M3, check_fp8
from isogloss.prompts.model.names import resolve
from isogloss.prompts.model.tokenizer import Tokenizer

Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8", "fp8"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A transformers causal LM with its tokenizer."""

    model: Any
    tokenizer: Tokenizer | None
    revision: str | None
    pretraining: Pretraining | None


def load_checkpoint(
    model: str, revision: str | None = None, dtype: torch.dtype | Literal["auto"] = "auto"
) -> Checkpoint:
    """Load a causal language model and its tokenizer; "auto" leaves the numbers as they are stored.

    Raises:
        NotFound: no such model, or its files are missing or damaged.
        InvalidInput: another architecture, or its parts do not go together.
        Unavailable: the hub could not be reached.
    """
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils.hub import cached_file, extract_commit_hash

    source = resolve(model)
    with _readable_errors(model), _quiet():
        config = AutoConfig.from_pretrained(source, revision=revision)
        architecture_of(model, config.model_type)
        check_configuration(model, config)
        loaded = _read_weights(model, source, revision, config, dtype)
        read_from = str(cached_file(source, "config.json", revision=revision))
        check_stored_types(model, loaded.state_dict(), Path(read_from).parent)
        tokenizer = Tokenizer(AutoTokenizer.from_pretrained(source, revision=revision))
        check_tokenizer(model, tokenizer, len(loaded.get_input_embeddings().weight))
    folder = Path(source) if Path(source).is_dir() else None
    rows = len(loaded.get_input_embeddings().weight)
    diet = pretraining_of(folder, config.model_type, rows)
    return Checkpoint(loaded, tokenizer, extract_commit_hash(read_from, None), diet)


def _read_weights(
    model: str,
    source: str,
    revision: str | None,
    config: Any,
    dtype: torch.dtype | Literal["auto"],
) -> Any:
    from transformers import AutoModelForCausalLM

    read: Any = AutoModelForCausalLM.from_pretrained
    loaded, report = read(
        source,
        revision=revision,
        dtype=dtype,
        weights_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused by name
    )
    check_tensors(model, config, report)
    return loaded.eval().requires_grad_(False)


def choose_device(device: Device) -> torch.device:
    """`auto` is CUDA where there is one.

    Raises:
        InvalidInput: CUDA was asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("device 'cuda': torch sees no GPU; use --device cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def choose_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """`auto` is float32 on CPU and bfloat16 on GPUs that have it.

    Raises:
        InvalidInput: int8 on a GPU, or fp8 without a GPU that has it.
    """
    if dtype == "int8" and device.type != "cpu":
        raise InvalidInput("dtype 'int8' is for processors; on a GPU use bfloat16 or auto")
    if dtype == "fp8":
        check_fp8(device)
        return E4M3
    if dtype != "auto":
        named: torch.dtype = getattr(torch, dtype)
        return named
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


@contextmanager
def _readable_errors(model: str) -> Iterator[None]:
    try:
        yield
    except IsoglossError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        if "couldn't connect" in reason.lower() or "offline" in reason.lower():
            raise Unavailable(
                f"model {model!r} is not in the local cache and the hub cannot be reached; "
                "download it first or name a folder"
            ) from error
        raise NotFound(f"model {model!r} cannot be loaded: {reason}") from error
    except Exception as error:  # unpickling and safetensors errors share no public base class
        reason = " ".join(str(error).split())[:300]
        raise NotFound(f"model {model!r}: its files were refused: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or advice on stderr while loading: our callers say what they are doing."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
