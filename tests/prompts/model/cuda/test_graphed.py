"""The GPU's forward pass, run on the CPU, against transformers and the other forward passes."""

import logging
import os
import random
import shutil
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.cuda.capture import GraphCapture, Run
from isogloss.prompts.model.cuda.forward import (
    Layers,
    compiled_layers,
    inner_layer,
    last_layer,
)
from isogloss.prompts.model.cuda.graphed import GraphedDecoder
from isogloss.prompts.model.decoder import buckets
from isogloss.prompts.model.decoder.decoder import look_up
from isogloss.prompts.model.decoder.weights import DecoderWeights
from tests.models import ARCHITECTURES, Case, random_case, random_model
from tests.prompts.cuda_cases import LAYERS, Rerun, ready
from tests.some import some

TOLERANCE = 1e-4  # of label log-probabilities in fp32
TOP = 512


def ragged(seed: int) -> tuple[list[int], list[list[int]]]:
    """Lengths of a batch: 1 to 7 texts, 0 to 4 prompts each, at least one prompt."""
    pick = random.Random(seed)
    texts = [pick.choice([1, 2, 7, 31, 55, 56]) for _ in range(pick.choice([1, 1, 2, 5, 7]))]
    prompts = [[pick.randint(1, 8) for _ in range(pick.randint(0, 4))] for _ in texts]
    prompts[-1] = prompts[-1] or [3]
    return texts, prompts


@pytest.fixture(params=[(a, s) for a in ARCHITECTURES for s in range(8)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    architecture, seed = request.param
    return random_case(architecture, seed, *ragged(seed))


def read(decoder: GraphedDecoder, case: Case, prompts: Sequence[Sequence[Tensor]]) -> Tensor:
    with torch.inference_mode():
        states = decoder.read(case.texts, prompts)
    assert states is not None
    return states


def test_it_equals_transformers_and_the_other_passes(case: Case) -> None:
    found = read(ready(case.backbone.weights, TOP), case, case.prompts)
    for expected in (
        case.backbone.read_suffixed(case.texts, case.prompts),
        buckets.read_suffixed(case.backbone.weights, case.texts, case.prompts),
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    scores = label_log_probs(found, case.rows)
    torch.testing.assert_close(scores, case.expected(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_rung_gives_the_same(architecture: str) -> None:
    case = random_case(architecture, 5, [20, 7, 1], [[3, 8], [], [5]])
    decoder = ready(case.backbone.weights, TOP)
    expected = case.backbone.read_suffixed(case.texts, case.prompts)
    for rung, program in some(decoder._programs.items()):
        decoder._programs = {rung: program}
        found = read(decoder, case, case.prompts)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=str(rung))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batches_through_the_same_buffers_keep_their_own_answers(architecture: str) -> None:
    first = random_case(architecture, 2, [50, 30, 9], [[3], [8, 2], [1]])
    second = random_case(architecture, 2, [2, 56, 1, 13], [[5], [], [7], [1, 1, 1]])
    decoder = ready(first.backbone.weights, 128)
    pointers = [program.inputs.vectors.data_ptr() for program in decoder._programs.values()]
    found = [read(decoder, each, each.prompts) for each in (first, second, first)]
    for states, each in zip(found, (first, second, first), strict=True):
        expected = each.backbone.read_suffixed(each.texts, each.prompts)
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    assert pointers == [p.inputs.vectors.data_ptr() for p in decoder._programs.values()]
    assert len(set(pointers)) == 1, "the rungs share their memory"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_over_the_top_rung_is_cut(architecture: str) -> None:
    case = random_case(architecture, 1, [50, 40, 30, 56, 1, 20], [[3], [8, 2], [], [1], [4], [2]])
    found = read(ready(case.backbone.weights, 64), case, [own[:1] for own in case.prompts])
    expected = case.backbone.read_suffixed(case.texts, [own[:1] for own in case.prompts])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_what_no_rung_holds_is_left_to_the_other_passes() -> None:
    case = random_case("bloom", 1, [56], [[8, 8]])
    small = ready(case.backbone.weights, 64)
    cold = GraphedDecoder(case.backbone.weights)
    for decoder in (small, cold):
        assert decoder.read(case.texts, case.prompts) is None
        case.backbone.__dict__["graphed"] = decoder
        with torch.inference_mode():
            states = case.backbone.read_suffixed(case.texts, case.prompts)
        scores = label_log_probs(states, case.rows)
        torch.testing.assert_close(scores, case.expected(), atol=TOLERANCE, rtol=0)


def test_the_backbone_takes_it_where_no_gradient_is_asked_for() -> None:
    case = random_case("xglm", 4, [20, 7], [[3], [5]])
    calls: list[int] = []

    class Counted(GraphedDecoder):
        def read(
            self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
        ) -> Tensor | None:
            calls.append(len(texts))
            return super().read(texts, prompts)

    decoder = Counted(case.backbone.weights, lambda: LAYERS, Rerun())
    decoder.warm_up(64)
    case.backbone.__dict__["graphed"] = decoder
    with torch.inference_mode():
        found = case.backbone.read_suffixed(case.texts, case.prompts)
    assert calls == [2]
    prompts = [[prompt.clone().requires_grad_(True) for prompt in own] for own in case.prompts]
    states = case.backbone.read_suffixed(case.texts, prompts)
    states.sum().backward()
    assert calls == [2]
    assert prompts[0][0].grad is not None
    torch.testing.assert_close(found, states.detach(), atol=1e-5, rtol=1e-5)
    copy, _ = case.backbone.trainable_copy()
    assert copy.graphed is not decoder, "other weights, other graphs"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torch_compiles_a_layer_a_few_times_and_not_for_every_size(architecture: str) -> None:
    """Traced whole, without a break, as for a GPU; what it traced runs uncompiled."""
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Run:
        compiled.append(len(inputs))
        forward: Run = graph.forward
        return forward

    case = random_case(architecture, 3, [40, 3, 17, 56], [[4], [1, 6], [2, 3, 8], []])
    torch._dynamo.reset()
    layers = Layers(
        torch.compile(inner_layer, fullgraph=True, backend=backend),
        torch.compile(last_layer, fullgraph=True, backend=backend),
    )
    decoder = GraphedDecoder(case.backbone.weights, lambda: layers, Traced())
    decoder.warm_up(1024)
    kinds = 2 if len(case.backbone.weights.layers) > 1 else 1
    # As it is (1,024 rows), for any size, and for sizes of a single block.
    assert len(decoder.rungs) == 5
    assert len(compiled) <= 3 * kinds
    with torch.no_grad():
        states = decoder.read(case.texts, case.prompts)
    assert states is not None
    scores = label_log_probs(states, case.rows)
    torch.testing.assert_close(scores, case.expected(), atol=TOLERANCE, rtol=0)
    assert len(compiled) <= 3 * kinds, "nothing is compiled once the sizes are ready"


class Traced:
    """Runs each size once, as a capture does, and leaves attention to the compiler."""

    def missing(self, weights: DecoderWeights) -> str | None:
        return None

    def __call__(self, run: Run) -> Run:
        run()
        return run


@pytest.fixture
def tables_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers on `cpu:0`, the tables on `cpu`: to torch, two devices with the same memory."""
    monkeypatch.setattr(DecoderWeights, "device", property(lambda own: torch.device("cpu", 0)))


@pytest.mark.usefixtures("tables_elsewhere")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tables_on_the_host_give_what_tables_on_the_device_give(architecture: str) -> None:
    case = random_case(architecture, 6, [20, 7, 33], [[3], [5, 2], [1]])
    table, ids = case.backbone.weights.embedding, torch.tensor([5, 0, 310, 5])
    assert torch.equal(look_up(table, ids, case.backbone.device), table[ids])
    assert torch.equal(case.rows, case.backbone.weights.head[case.labels])
    for states in (
        read(ready(case.backbone.weights, 256), case, case.prompts),
        case.backbone.read_suffixed(case.texts, case.prompts),
        buckets.read_suffixed(case.backbone.weights, case.texts, case.prompts),
        case.backbone.read(case.backbone.encode(case.texts), case.prompts),
    ):
        found = label_log_probs(states, case.rows)
        torch.testing.assert_close(found, case.expected(), atol=TOLERANCE, rtol=0)
    found = label_log_probs(case.backbone.read_prefixed(case.texts, case.prompts), case.rows)
    torch.testing.assert_close(found, case.expected("prefix"), atol=TOLERANCE, rtol=0)


def test_without_a_gpu_it_says_so_once_and_stays_out_of_the_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backbone = Backbone.from_transformers(random_model("bloom", 0), None, model_id="tiny")
    backbone.warm_up(1024)
    assert caplog.messages == [], "on the CPU nothing is asked of it"
    decoder = backbone.graphed
    decoder.warm_up(1024)
    assert decoder.rungs == ()
    (message,) = caplog.messages
    assert "the weights are on 'cpu', not on a GPU" in message


def test_a_failed_capture_is_named_and_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Rerun):
        def __call__(self, run: Run) -> Run:
            if self.done:
                raise RuntimeError("operation not permitted\nwhen stream is capturing")
            self.done = True
            return super().__call__(run)

        done = False

    case = random_case("bloom", 0, [4], [[2]])
    decoder = GraphedDecoder(case.backbone.weights, lambda: LAYERS, Broken())
    with caplog.at_level(logging.WARNING):
        decoder.warm_up(512)
    (message,) = caplog.messages
    assert "RuntimeError: operation not permitted when stream is capturing" in message
    assert decoder.rungs == ()
    assert decoder.read(case.texts, case.prompts) is None


@pytest.mark.parametrize(
    ("capability", "triton", "head_size", "reason"),
    [
        ((7, 5), True, 16, "compute capability (7, 5) is below (8, 0)"),
        ((9, 0), False, 16, "the package triton, which compiles kernels, is not installed"),
        ((9, 0), True, 8, "head size 8 is below 16"),
        ((9, 0), True, 16, None),
    ],
)
def test_what_a_gpu_must_have(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    triton: bool,
    head_size: int,
    reason: str | None,
) -> None:
    model = random_model("bloom", 0, hidden_size=2 * head_size, n_head=2)
    weights = Backbone.from_transformers(model, None, model_id="tiny").weights
    monkeypatch.setattr(DecoderWeights, "device", property(lambda own: torch.device("cuda", 0)))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr(
        "isogloss.prompts.model.cuda.capture.find_spec", lambda name: triton or None
    )
    assert GraphCapture().missing(weights) == reason


@pytest.mark.filterwarnings("default")  # torch's compiler warns of torch's own deprecations
@pytest.mark.skipif("ISOGLOSS_COMPILE" not in os.environ, reason="a minute: ISOGLOSS_COMPILE=1")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++: torch compiles C++ here")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiled_for_the_processor_it_gives_the_same(architecture: str) -> None:
    """The kernel that torch makes of what rows see skips blocks; the uncompiled one does not."""
    case = random_case(architecture, 3, [40, 3, 17, 56, 9], [[4], [1, 6], [2, 3, 8], [], [5]])
    decoder = GraphedDecoder(case.backbone.weights, compiled_layers, Traced())
    decoder.warm_up(256)
    assert len(decoder.rungs) == 3
    with torch.no_grad():
        states = decoder.read(case.texts, case.prompts)
    assert states is not None
    scores = label_log_probs(states, case.rows)
    torch.testing.assert_close(scores, case.expected(), atol=TOLERANCE, rtol=0)
