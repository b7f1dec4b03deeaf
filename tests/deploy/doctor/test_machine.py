"""What `isogloss doctor` says of machines that are well, and of those that are not."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from isogloss.deploy.doctor import gpu, limits, machine, packages, processor
from isogloss.deploy.doctor.finding import GIB
from isogloss.serving.ray.hooks import guard
from tests.deploy.doctor.findings import asked, only

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("version", "system", "level"),
    [((3, 11), "linux", "ok"), ((3, 10), "linux", "fail"), ((3, 12), "darwin", "warn")],
)
def test_python(
    version: tuple[int, int], system: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    monkeypatch.setattr(sys, "platform", system)
    only(machine.python(asked()), level, "Python 3.")


def test_cores_and_what_is_asked_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "cores", lambda: 4.0)
    only(machine.cores(asked(threads=2, replicas=2)), "ok", "4 cores for 4 threads")
    only(machine.cores(asked(threads=2, replicas=2, models=("a", "b"))), "warn", "for 8 threads")
    monkeypatch.setattr(limits, "cores", lambda: 0.5)
    only(machine.cores(asked()), "ok", "0.5 cores")


@pytest.mark.parametrize(("free", "level"), [(16 * GIB, "ok"), (GIB, "warn")])
def test_memory(free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_bytes", lambda: (32 * GIB, free))
    only(machine.memory(asked()), level, "of 32.0 GiB memory are free")


@pytest.mark.parametrize(("free", "level"), [(2 * GIB, "ok"), (GIB // 2, "warn")])
def test_disks_of_store_and_cache(
    free: int, level: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked: list[Path] = []

    def usage(path: Path) -> Usage:
        looked.append(path)
        return Usage(9 * GIB, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = list(machine.disks(asked(store=tmp_path / "a" / "b")))
    assert [each.check for each in found] == ["disk of the cache", "disk of the store"]
    assert {each.level for each in found} == {level}
    assert looked[1] == tmp_path
    assert len(list(machine.disks(asked(store="s3://bucket/prefix")))) == 1


def test_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path)
    for free, level in ((GIB, "ok"), (64 << 20, "warn")):
        usage = Usage(GIB, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        only(machine.shared_memory(asked()), level, "are free in")
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path / "none")
    only(machine.shared_memory(asked()), "warn", "there is no")


@pytest.mark.parametrize(
    ("limit", "level"), [((1024, 65536), "ok"), ((256, 1024), "warn"), ((1024, -1), "ok")]
)
def test_open_files(limit: tuple[int, int], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: limit)
    only(machine.open_files(asked()), level, f"{limit[0]} open files")


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 32 GiB, half of it free, and this process in a group of it."""
    (tmp_path / "meminfo").write_text(f"MemTotal: {32 << 20} kB\nMemAvailable: {16 << 20} kB\n")
    (tmp_path / "own").write_text("0::/pod/container\n")
    group = tmp_path / "cgroup" / "pod" / "container"
    group.mkdir(parents=True)
    monkeypatch.setattr(limits, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(limits, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return group


def test_a_containers_limits_are_honoured(cgroup: Path) -> None:
    assert (limits.cores(), limits.memory_bytes()) == (8.0, (32 * GIB, 16 * GIB))
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "cpu.max").write_text("max 100000\n")
    assert (limits.cores(), limits.memory_bytes()) == (8.0, (32 * GIB, 16 * GIB))
    (cgroup.parent / "memory.max").write_text(f"{4 * GIB}\n")
    (cgroup.parent / "memory.current").write_text(f"{3 * GIB}\n")
    (cgroup.parent / "memory.stat").write_text(f"anon 1\ninactive_file {GIB}\n")
    (cgroup.parent / "cpu.max").write_text("150000 100000\n")
    assert (limits.cores(), limits.memory_bytes()) == (1.5, (4 * GIB, 2 * GIB))


def test_an_older_containers_limits_are_honoured(cgroup: Path) -> None:
    limits.OWN_CGROUP.write_text("5:memory:/pod\n4:cpu,cpuacct:/pod\n")
    for kind, name, text in (
        ("memory", "memory.limit_in_bytes", f"{2 * GIB}"),
        ("memory", "memory.usage_in_bytes", f"{GIB}"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
    ):
        folder = limits.CGROUPS / kind / "pod"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert (limits.cores(), limits.memory_bytes()) == (0.5, (2 * GIB, GIB))


def test_the_processors_features_and_the_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("model name : x\nflags\t: fpu avx2 avx512_bf16 amx_bf16\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    widths: list[int] = []

    def fastest(width: int) -> torch.dtype:
        widths.append(width)
        return torch.bfloat16

    monkeypatch.setattr("isogloss.prompts.model.packed.pack.auto_dtype", fastest)
    found = only(processor.processor(asked()), "ok", "avx2, avx512_bf16, amx_bf16")
    assert found.said.endswith("read in bfloat16")
    assert widths == [256]
    only(processor.processor(asked(dtype="int8")), "ok", "int8 was asked for")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    only(processor.processor(asked(dtype="int8")), "ok", "none of avx2")


BUILT_FOR_CPUS, SEES = gpu.Torch("2.13.0", None, False), gpu.Torch("2.13.0", "13.0", True)
SEES_NONE = gpu.Torch("2.13.0", "13.0", False)


@pytest.mark.parametrize(
    ("device", "count", "built", "level", "said"),
    [
        ("auto", 0, BUILT_FOR_CPUS, "ok", "no NVIDIA GPU"),
        ("cuda", 0, BUILT_FOR_CPUS, "fail", "no NVIDIA GPU"),
        ("auto", 2, BUILT_FOR_CPUS, "warn", "leaves 2 GPUs unused"),
        ("cuda", 2, BUILT_FOR_CPUS, "fail", "leaves 2 GPUs unused"),
        ("auto", 1, SEES, "ok", "sees the GPUs"),
        ("auto", 1, SEES_NONE, "warn", "does not see the 1 GPUs"),
        ("cuda", 1, SEES_NONE, "fail", "does not see"),
        ("cpu", 1, SEES_NONE, "ok", "none of which is used"),
        ("auto", 0, None, "fail", "torch is not installed"),
    ],
)
def test_whether_torch_sees_the_gpus(
    device: str, count: int, built: gpu.Torch | None, level: str, said: str
) -> None:
    only(gpu.used(device, count, built), level, said)


def test_what_the_driver_says_of_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 570.1, 143771, 143000\nOdd, 1, [N/A], 5'")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpu, "torch_here", lambda: SEES)
    first, second, used = gpu.gpus(asked())
    assert first.said == "NVIDIA H200, driver 570.1, 139.6 GiB of 140.4 GiB are free"
    assert second.said == "Odd, driver 1, 5 MiB of 0 MiB are free"
    assert used.level == "ok"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9")
    assert gpu.nvidia_gpus() == []
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert gpu.nvidia_gpus() == []


def test_packages_in_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    only(packages.packages(asked()), "ok", f"torch {torch.__version__.partition('+')[0]}")
    real = packages._installed
    odd: dict[str, str | None] = {"torch": "1.0", "ray": None}
    monkeypatch.setattr(packages, "_installed", lambda name: odd.get(name, real(name)))
    found = only(packages.packages(asked()), "fail", "torch<2.14,>=2.11 (is 1.0)")
    assert "(is missing)" in found.said
    assert "pip install" in found.remedy


def test_hooks_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def misfit() -> None:
        raise guard.HookMisfit("ray 3.0 does not fit this server; run pip install 'ray<2.61'; x")

    monkeypatch.setattr(guard, "check_hooks", misfit)
    found = only(packages.hooks(asked()), "fail", "ray 3.0 does not fit")
    assert found.remedy.startswith("run pip install")
