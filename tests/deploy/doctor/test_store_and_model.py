"""What `isogloss doctor` says of stores, the hub, models and ports."""

from __future__ import annotations

import errno
import json
import socket
import tempfile
import urllib.error
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from isogloss.deploy.doctor import gpu, hub, limits, model, ports, store, weights
from isogloss.deploy.doctor.finding import GIB
from isogloss.prompts.errors import Unavailable
from isogloss.prompts.routing.trials import Trial
from tests.deploy.doctor.findings import asked, only
from tests.fakes import fake_store, route_table, soft_prompt
from tests.some import some


def test_a_store_that_is_whole(tmp_path: Path) -> None:
    fake_store(tmp_path / "store")
    opened, written = store.store(asked(store=tmp_path / "store"))
    only(opened, "ok", "generation 1, 3 prompts; all of them are whole")
    only(written, "ok", "can be written")


def test_a_store_with_a_damaged_file(tmp_path: Path) -> None:
    fake_store(tmp_path / "store")
    victim = some((tmp_path / "store" / "objects").rglob("*.safetensors"))[0]
    victim.write_bytes(victim.read_bytes()[:-4] + b"oops")
    opened, _ = store.store(asked(store=tmp_path / "store"))
    found = only(opened, "fail", "cannot be read")
    assert "verify --repair" in found.remedy


@pytest.mark.parametrize("damaged", ["everywhere@1", "congo@1", "romance@2", "congo@2"])
def test_every_file_that_may_answer_is_read(damaged: str, tmp_path: Path) -> None:
    """What was published last is not all: an older version may be current, routed or tried."""
    opened = fake_store(tmp_path / "store")
    newer = {"everywhere": soft_prompt(4.0), "romance": soft_prompt(5.0), "congo": soft_prompt(6.0)}
    table = route_table("everywhere", {"Romance": "romance", "Atlantic-Congo": "congo@1"})
    opened.publish(newer, [table])
    opened.publish({"everywhere": soft_prompt(1.0)})
    digest = opened.state().digest_of(damaged)
    (victim,) = (tmp_path / "store" / "objects").rglob(f"*{digest.removeprefix('sha256:')}*")
    victim.write_bytes(victim.read_bytes()[:-4] + b"oops")
    only(store.newest(opened), "fail", f"; {damaged.partition('@')[0]}")


def test_a_candidate_on_trial_is_read_and_what_nothing_means_is_not(tmp_path: Path) -> None:
    opened = fake_store(tmp_path / "store")
    opened.publish({"romance": soft_prompt(5.0)})
    state = opened.state()
    trial = Trial(
        name="romance", candidate="romance@1", fingerprint="a", task="b", kind="shadow", share=0.5,
        clades=("Romance",), started_at=datetime.now(UTC),
    )  # fmt: skip
    assert "romance@1" not in store.answering(state)
    assert "romance@1" in store.answering(state.with_trials((trial,)))


def test_a_store_that_is_none_or_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(store.store(asked(store=tmp_path / "none")), "fail", "no prompt store at")
    monkeypatch.setenv("ISOGLOSS_STORE", str(tmp_path / "mine"))
    only(store.store(asked()), "ok", "is not there yet")
    assert not (tmp_path / "mine").exists()
    fake_store(tmp_path / "store")

    def refused(dir: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    only(store.store(asked()), "fail", "cannot be made (Read-only file system)")
    opened, written = store.store(asked(store=tmp_path / "store"))
    assert opened.level == "ok"
    only(written, "warn", "cannot be written (Read-only file system)")


def test_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    only(hub.cache(asked()), "ok", "is not there yet")
    (tmp_path / "hub" / "a").mkdir(parents=True)
    (tmp_path / "hub" / "a" / "b").write_bytes(bytes(3 << 20))
    (tmp_path / "hub" / "link").symlink_to(tmp_path / "hub" / "a" / "b")
    assert only(hub.cache(asked()), "ok", "3 MiB in").said.endswith("hub (HF_HOME)")
    monkeypatch.setattr(hub, "_MOST_FILES", 1)
    only(hub.cache(asked()), "ok", "and more")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (urllib.error.HTTPError("u", 403, "no", None, None), "answers"),  # type: ignore[arg-type]
        (urllib.error.URLError("no route to host"), "offline (https://huggingface.co cannot be"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_offline_is_fine_and_said_so(
    answer: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def open_url(request: Any, timeout_s: float) -> None:
        sent.append((request.get_method(), timeout_s))
        raise answer

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(hub, "open_url", open_url)
    only(hub.hub(asked()), "ok", said)
    assert sent == [("HEAD", 3.0)]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    only(hub.hub(asked()), "ok", "HF_HUB_OFFLINE is set")
    assert len(sent) == 1


def a_model(folder: Path, card: str | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bloom", **config}))
    save_file({"a": torch.zeros(1000, 1000), "b": torch.zeros(24)}, folder / "model.safetensors")
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def test_a_model_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "nvidia_gpus", list)
    monkeypatch.setattr(limits, "memory_bytes", lambda: (GIB, 100 << 20))
    folder = a_model(tmp_path / "own", "---\ntags: [a]\nlicense: mit\n---\n# It\nlicense: other\n")
    where, allowed, room = model.models(asked(models=(str(folder),)))
    only(where, "ok", f"it is at {folder}")
    only(allowed, "ok", "mit")
    only(room, "ok", "1.0 M parameters, 4 MiB for each of 1 replicas")
    *_, room = model.models(asked(models=(str(folder),), dtype="int8"))
    only(room, "ok", "1 MiB for each")


@pytest.mark.parametrize(
    ("dtype", "on_cpu", "on_gpu"),
    [
        ("float32", "5 MiB", "1 MiB"),
        ("bfloat16", "4 MiB", "0 MiB"),
        ("int8", "4 MiB", "0 MiB"),
    ],
)
def test_tables_stay_on_the_host_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, on_cpu: str, on_gpu: str
) -> None:
    folder = a_model(tmp_path / "own", vocab_size=4000)
    tensors = {
        "wte": torch.zeros(4000, 250),
        "up": torch.zeros(500, 500),
        "norm": torch.zeros(4000),
    }
    save_file(tensors, folder / "model.safetensors")
    monkeypatch.setattr(limits, "memory_bytes", lambda: (GIB, GIB))
    for gpus, each in (([], on_cpu), ([gpu.Gpu("a", "1", GIB, GIB)], on_gpu)):
        monkeypatch.setattr(model, "nvidia_gpus", lambda gpus=gpus: gpus)
        said = f"1.3 M parameters, {each} for each of 1 replicas"
        only(model.room("own", folder, asked(dtype=dtype)), "ok", said)


@pytest.mark.parametrize(
    ("card", "config", "level", "said"),
    [
        ("---\nlicense: bigscience-bloom-rail-1.0\n---\n", {}, "warn", "rail-1.0 may limit"),
        ("# no head\nlicense: mit\n", {}, "warn", "name none"),
        (None, {}, "warn", "name none"),
        (None, {"license": "Apache-2.0"}, "ok", "Apache-2.0"),
        ("---\nlicense: 'cc-by-nc-4.0'\n---\n", {}, "warn", "cc-by-nc-4.0 may limit"),
    ],
)
def test_a_models_licence(
    card: str | None, config: dict[str, str], level: str, said: str, tmp_path: Path
) -> None:
    found = weights.licence(a_model(tmp_path / "own", card, **config))
    only(model.allowed("own", found), level, said)


@pytest.mark.parametrize(
    ("free", "replicas", "level"),
    [(100, 1, "ok"), (50, 1, "warn"), (30, 1, "fail"), (100, 3, "fail"), (100, 2, "warn")],
)
def test_whether_a_model_fits(free: int, replicas: int, level: str) -> None:
    found = model.fits("size", 10_000_000, 40e6, free * 1_000_000, replicas, "memory")
    only(found, level, f"10.0 M parameters, 38 MiB for each of {replicas} replicas")


def test_a_model_of_an_architecture_that_is_not_read(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "own", model_type="t5")
    found = only(model.models(asked(models=(str(folder),))), "fail", "is a 't5'")
    assert "gemma3_text" in found.remedy
    assert "docs/how-to/models.md" in found.remedy


def test_a_gpus_memory_is_what_a_model_must_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_model(tmp_path / "own")
    monkeypatch.setattr(model, "nvidia_gpus", lambda: [gpu.Gpu("a", "1", GIB, 1 << 20)])
    only(
        model.room("own", folder, asked()),
        "fail",
        "2 MiB for each of 1 replicas, of 1 MiB free GPU",
    )
    monkeypatch.setattr(limits, "memory_bytes", lambda: (GIB, GIB))
    only(model.room("own", folder, asked(device="cpu")), "ok", "1.0 GiB free memory")


def test_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(model, "why_unreachable", lambda: "")
    wanted = asked(models=("some/one",))
    assert "hf download some/one" in only(model.models(wanted), "warn", "downloads it").remedy
    monkeypatch.setattr(model, "why_unreachable", lambda: "no network")
    only(model.models(wanted), "fail", "the hub is offline (no network)")
    kept = tmp_path / "hub" / "models--some--one"
    folder = a_model(kept / "snapshots" / "abc", "---\nlicense: mit\n---\n")
    only(model.models(wanted), "fail", "offline")  # no revision is named yet
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    where, *_ = model.models(wanted)
    only(where, "ok", str(folder))


def test_a_model_that_is_none() -> None:
    only(model.models(asked(models=("nobody",))), "fail", "'nobody' is neither a folder")


def test_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "OF_RAY", {})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        mine, _ = ports.ports(asked(port=port))
        found = only(mine, "fail", f"port {port} on 127.0.0.1 is in use")
        assert "--port" in found.remedy
        monkeypatch.setattr(ports, "OF_RAY", {port: "Ray's head"})
        only(ports.of_ray(), "warn", f"{port} (Ray's head)")
    mine, ray = ports.ports(asked(port=port))
    only(mine, "ok", "nobody listens")
    only(ray, "ok", "are free")

    def none_left(host: str) -> int:
        raise Unavailable("no free port")

    monkeypatch.setattr(ports, "free_port", none_left)
    only(ports.of_ray(), "fail", "no free port")
