"""The compiled peers of `bench engine` answer as transformers does, on all its architectures.

torch's compiler itself takes a minute a model: `ISOGLOSS_COMPILE=1` runs it.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest

from isogloss.deploy.bench import compiled_peers, peer_list
from isogloss.deploy.bench.compiled_peers import (
    OpenVino,
    OpenVinoInt8,
    TorchCompile,
    TorchCompileInt8,
    TransformersBuckets,
    buckets,
)
from isogloss.deploy.bench.engine import bench_engine
from isogloss.deploy.bench.engine_settings import EngineSettings, PeerName
from isogloss.deploy.bench.llama_cpp_peer import LlamaCpp
from isogloss.deploy.bench.markdown import markdown_table
from isogloss.deploy.bench.peers import Peer
from tests.deploy.small_models import tiny_model
from tests.some import some

MODELS = ("bloom-560m", "xglm-564M", "qwen3-0.6b", "gemma3-270m")
pytestmark = pytest.mark.filterwarnings("default")  # converters warn of what they convert with


def needing(peer: type[Peer], dtypes: Sequence[str], *more: Any) -> Any:
    missing = [n for n in peer.needs if n not in ("g++",) and find_spec(n) is None]
    marks = [pytest.mark.skipif(bool(missing), reason=f"needs {missing}"), *more]
    return pytest.param(peer.name, dtypes, marks=marks, id=peer.name)


needs_llama_cpp = pytest.mark.skipif(
    not all(map(find_spec, LlamaCpp.needs)), reason=f"needs {LlamaCpp.needs}"
)
compiler = pytest.mark.skipif("ISOGLOSS_COMPILE" not in os.environ, reason="takes minutes")


def settings_of(model: str, peer: str, dtypes: Sequence[str] = ()) -> EngineSettings:
    return EngineSettings(
        models=(model,),
        device="cpu",
        dtypes=("float32",),
        curves=("batch_size",),
        batch_sizes=(9,),
        peers=("transformers", peer),
        peer_dtypes=tuple(dtypes) or None,
        prompts=3,
        rounds=1,
        seconds=0,
    )


def measured(model: str, peer: str, dtypes: Sequence[str] = ()) -> dict[str, Any]:
    """A run refuses to report answers that are not transformers'."""
    return bench_engine(settings_of(model, peer, dtypes), make_model=tiny_model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("peer", "dtypes"),
    [
        needing(TransformersBuckets, ()),
        needing(OpenVino, ()),
        needing(OpenVinoInt8, ()),
        needing(TorchCompile, (), compiler),
        needing(TorchCompileInt8, (), compiler),
    ],
)
def test_a_peer_answers_as_transformers(model: str, peer: str, dtypes: Sequence[str]) -> None:
    (result,) = measured(model, peer, dtypes)["results"]
    assert result["agreement"][peer]["answers"] == 9
    assert result["contenders"][peer]["precision"] == ("int8" if peer.endswith("int8") else "fp32")
    assert f"vs_{peer}" in result["ratios"]["isogloss_fp32"]


@needs_llama_cpp
@pytest.mark.parametrize("peer", ["llama_cpp", "llama_cpp_int8"])
def test_llama_cpp_answers_as_transformers(peer: str) -> None:
    (result,) = measured("bloom-560m", peer)["results"]
    assert result["agreement"][peer]["answers"] == 9


def test_a_peer_is_left_out_where_it_does_not_run_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LlamaCpp, "needs", ())
    settings = settings_of("xglm-564M", "llama_cpp")
    said: list[str] = []
    (result,) = bench_engine(settings, said.append, make_model=tiny_model)["results"]
    assert "llama_cpp" not in result["contenders"]
    assert "xglm-564M: llama_cpp is left out: it does not run xglm" in said


@pytest.mark.parametrize("model", MODELS)
def test_what_torch_is_given_to_compile_is_the_same_model(
    model: str, uncompiled: list[dict[str, Any]]
) -> None:
    for peer in (TorchCompile, TorchCompileInt8):
        report = measured(model, peer.name)
        assert report["results"][0]["agreement"][peer.name]["answers"] == 9
    assert uncompiled == [{"dynamic": True, "options": {"freezing": True}}] * 2


def test_peers_run_in_every_precision_that_is_asked_for() -> None:
    report = measured("xglm-564M", "transformers_buckets", ("float32", "float16"))
    (result,) = report["results"]
    precisions = {name: own["precision"] for name, own in result["contenders"].items()}
    assert precisions == {
        "isogloss_fp32": "fp32",
        "transformers": "fp32",
        "transformers_fp16": "fp16",
        "transformers_buckets": "fp32",
        "transformers_buckets_fp16": "fp16",
    }
    assert "fp16" in result["rates_gflop_per_s"]
    assert "fp32, times faster than transformers in buckets (fp16)" in markdown_table(report)


def test_buckets_hold_each_text_once_by_length() -> None:
    lengths = [7, 3, 9, 1, 5, 5, 8, 2, 6, 4, 30, 31, 32, 33, 34, 35, 36]
    cut = buckets(lengths)
    assert sorted(row for rows in some(cut) for row in rows) == list(range(17))
    assert [len(rows) for rows in cut] == [4, 4, 4, 5]
    assert [max(lengths[row] for row in rows) for rows in cut] == [4, 7, 31, 36]
    assert [len(buckets([1] * texts)) for texts in (1, 3, 8, 15, 16, 32)] == [1, 1, 2, 3, 4, 4]


def test_every_peer_has_a_name_on_the_command_line() -> None:
    assert [each.value.replace("-", "_") for each in PeerName] == [
        peer.name for peer in peer_list.PEERS
    ]


def test_what_a_peer_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_list, "find_spec", lambda name: None if name == "nncf" else name)
    monkeypatch.setattr("shutil.which", lambda name: None)
    names = [peer.name for peer in peer_list.PEERS]
    _, lacks = peer_list.chosen_peers(names, "cpu")
    assert lacks == {
        "torch_compile": "g++ is not installed",
        "torch_compile_int8": "g++ is not installed",
        "openvino_int8": "nncf is not installed",
    }
    assert "does not run on cuda" in peer_list.chosen_peers(names, "cuda")[1]["openvino"]


def test_nobody_is_told_that_openvino_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with compiled_peers._quiet():
        assert os.environ["CI"] == "true"
    assert "CI" not in os.environ
