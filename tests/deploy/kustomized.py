"""The manifests of `deploy/kuberay`, as they are written and as kustomize puts them together."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

KUBERAY = Path(__file__).parents[2] / "deploy" / "kuberay"
Manifest = dict[str, Any]

_OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../base]
components: [{components}]
"""


def written(folder: Path = KUBERAY / "base") -> dict[str, Manifest]:
    """The resources of a folder by kind, before anything is put together."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    texts = [(folder / name).read_text(encoding="utf-8") for name in listed["resources"]]
    return {each["kind"]: each for text in texts for each in yaml.safe_load_all(text)}


def rendered(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k` would apply; the test is skipped where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders the manifests, is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def rendered_with(components: Sequence[str], scratch: Path) -> list[Manifest]:
    """The base with components, in a copy of the folder."""
    copy = shutil.copytree(KUBERAY, scratch / "kuberay")
    overlay = copy / "overlay"
    overlay.mkdir()
    named = ", ".join(f"../components/{name}" for name in components)
    (overlay / "kustomization.yaml").write_text(_OVERLAY.format(components=named))
    return rendered(overlay)


def of_kind(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The one manifest of a kind."""
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


def templates(service: Manifest) -> list[Manifest]:
    """The pods' templates of a RayService: the head's and those of the workers."""
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len(groups) > 1
    return [group["template"] for group in groups]


def settings(manifests: Sequence[Manifest]) -> dict[str, str]:
    """The variables that every pod gets from config maps, in whose order the later one wins."""
    found = []
    data = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "ConfigMap"}
    for template in templates(of_kind(manifests, "RayService")):
        (container,) = template["spec"]["containers"]
        names = [source["configMapRef"]["name"] for source in container["envFrom"]]
        found.append({k: v for name in names for k, v in data[name].get("data", {}).items()})
    first, *others = found
    assert all(other == first for other in others)
    return first
