"""What only a GPU can show: captured graphs, their memory, and that nothing waits in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.cuda.fp8 import E4M3, OLDEST_CAPABILITY
from isogloss.prompts.model.full_size import full_size_config, random_model
from tests import models
from tests.models import ARCHITECTURES, full_size_backbone
from tests.prompts.cuda_cases import needs_gpu
from tests.some import some

pytestmark = [
    pytest.mark.skipif(needs_gpu[0], reason=needs_gpu[1]),
    pytest.mark.filterwarnings("default"),  # torch's compiler warns of torch's own deprecations
]

LABELS = [5, 7, 9]
SIZES = {
    "bloom": {"hidden_size": 96, "n_head": 3, "seq_length": 1024},  # as BLOOM-1B1: no power of two
    "xglm": {"d_model": 128, "attention_heads": 2, "max_position_embeddings": 1024},
}


def batch(hidden: int, texts: int = 9) -> tuple[list[list[int]], list[list[torch.Tensor]]]:
    draw = torch.Generator().manual_seed(texts)
    lengths = [1 + 37 * place % 130 for place in range(texts)]
    ids = [torch.randint(6, 300, (n,), generator=draw).tolist() for n in lengths]
    prompts = [torch.randn(n, hidden, generator=draw) for n in (3, 8, 1)]
    return ids, [[prompts[(t + s) % 3] for s in range((t + 1) % 4)] for t in range(texts)]


def on_gpu(model: object, dtype: torch.dtype) -> Backbone:
    gpu = torch.device("cuda")
    return Backbone.from_transformers(model, None, model_id="tiny", device=gpu, dtype=dtype)


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    """Whatever makes the host wait for the GPU is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.5)])
def test_graphs_equal_the_cpu(architecture: str, dtype: torch.dtype, tolerance: float) -> None:
    model = models.random_model(architecture, 2, **SIZES[architecture])
    reference = Backbone.from_transformers(model, None, model_id="fp32")
    backbone = on_gpu(model, dtype)
    backbone.warm_up(2048)
    assert backbone.graphed.rungs, "the warm-up failed: run with -o log_cli=true to see why"
    for texts in (1, 9, 33, 9):
        ids, prompts = batch(backbone.hidden_size, texts)
        expected = label_log_probs(
            reference.read_suffixed(ids, prompts), reference.label_rows(LABELS)
        )
        with torch.inference_mode():
            states = backbone.graphed.read(ids, prompts)
        assert states is not None
        found = label_log_probs(states, backbone.label_rows(LABELS)).cpu()
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_rung_gives_the_same(architecture: str) -> None:
    backbone = on_gpu(models.random_model(architecture, 2, **SIZES[architecture]), torch.bfloat16)
    backbone.warm_up(2048)
    ids, prompts = batch(backbone.hidden_size, 1)
    prompts = [[prompts[0][0].to(backbone.device, backbone.dtype)]]
    answers = []
    for rung, program in some(backbone.graphed._programs.items()):
        backbone.graphed._programs = {rung: program}
        answers.append(backbone.graphed.read(ids, prompts))
    for each in some(answers):
        assert each is not None
        torch.testing.assert_close(each, answers[0], atol=0.1, rtol=0.05)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "kernels"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_waits_for_the_gpu(architecture: str, graphs: bool) -> None:
    backbone = on_gpu(models.random_model(architecture, 2, **SIZES[architecture]), torch.bfloat16)
    if graphs:
        backbone.warm_up(2048)
        assert backbone.graphed.rungs, "the warm-up failed: run with -o log_cli=true to see why"
    ids, prompts = batch(backbone.hidden_size)
    prompts = [[p.to(backbone.device, backbone.dtype) for p in own] for own in prompts]
    with torch.inference_mode():
        backbone.read_suffixed(ids, prompts)  # libraries are loaded with the first call
        with waiting_forbidden():
            states = backbone.read_suffixed(ids, prompts)
    assert len(states) == sum(map(len, prompts))
    assert states.isfinite().all()


def test_tables_stay_on_the_host_unless_asked_for() -> None:
    model = models.random_model("xglm", 2, **SIZES["xglm"])
    backbone = on_gpu(model, torch.bfloat16)
    assert backbone.weights.embedding.device.type == "cpu"
    assert backbone.device.type == backbone.label_rows(LABELS).device.type == "cuda"
    copy, parameters = backbone.trainable_copy()
    assert {parameter.device.type for parameter in parameters} == {"cuda"}
    ids, prompts = batch(backbone.hidden_size)
    copy.read_suffixed(ids, prompts).float().sum().backward()
    assert copy.weights.embedding.grad is not None


@pytest.mark.full_size
def test_memory_is_three_fifths_of_transformers() -> None:
    config = full_size_config("bloom-560m")
    gpu = torch.device("cuda")
    ids = torch.randint(6, 1000, (32, 65), device=gpu)

    def theirs() -> object:
        model = random_model(config, 0, device=gpu, dtype=torch.bfloat16)
        with torch.inference_mode():
            model(input_ids=ids, use_cache=False, logits_to_keep=1)
        return model

    def ours() -> object:
        backbone = full_size_backbone("bloom-560m", device=gpu, dtype=torch.bfloat16)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()  # not of transformers' copy, which is gone
        backbone.warm_up(4096)
        assert backbone.graphed.rungs
        prompt = torch.randn(10, backbone.hidden_size).to(gpu, torch.bfloat16)
        with torch.inference_mode():
            backbone.read_suffixed(ids[:, :55].tolist(), [[prompt]] * 32)
        return backbone

    assert _peak(ours) <= 0.6 * _peak(theirs)


def _peak(call: Callable[[], object]) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    kept = call()
    torch.cuda.synchronize()
    assert kept is not None
    return torch.cuda.max_memory_reserved()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fp8_stays_near_bf16(architecture: str) -> None:
    if torch.cuda.get_device_capability() < OLDEST_CAPABILITY:
        pytest.skip("this GPU has no fp8")
    sizes = SIZES[architecture] | ({"ffn_dim": 256} if architecture == "xglm" else {})
    model = models.random_model(architecture, 2, **sizes)
    half, rounded = on_gpu(model, torch.bfloat16), on_gpu(model, E4M3)
    rounded.warm_up(1024)
    assert rounded.graphed.rungs
    ids, prompts = batch(half.hidden_size)
    with torch.inference_mode():
        expected = half.read_suffixed(ids, prompts).float()
        found = rounded.read_suffixed(ids, prompts).float()
    likeness = torch.cosine_similarity(found, expected, dim=1)
    assert float(likeness.min()) > 0.9
