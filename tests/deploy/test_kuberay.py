"""`deploy/kuberay` is what Kubernetes and KubeRay take, and says what the rest of `deploy` says."""

from __future__ import annotations

import copy
import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from isogloss.serving.environment import settings_from, unknown_variables
from tests.deploy.kuberay_schema import check
from tests.deploy.kustomized import (
    KUBERAY,
    Manifest,
    of_kind,
    rendered,
    rendered_with,
    settings,
    written,
)
from tests.some import some

DEPLOY = KUBERAY.parent
COMPONENTS = sorted(folder.name for folder in (KUBERAY / "components").iterdir())


@pytest.fixture(scope="module")
def serve_config() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "serve.yaml").read_text(encoding="utf-8")))


def test_kubernetes_takes_what_is_written(base: dict[str, Manifest]) -> None:
    for manifest in some(base.values()):
        check(manifest)
    assert set(base) == {"RayService", "PersistentVolumeClaim", "NetworkPolicy"}


def test_kubernetes_takes_the_example(example: list[Manifest]) -> None:
    for manifest in some(example):
        check(manifest)
    kinds = {each["kind"] for each in example}
    assert {"PodDisruptionBudget", "ServiceMonitor", "Service", "ConfigMap"} < kinds


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_goes_with_the_base_alone(component: str, tmp_path: Path) -> None:
    manifests = rendered_with([component], tmp_path)
    assert manifests != rendered(KUBERAY / "base")
    for manifest in some(manifests):
        check(manifest)


def service(change: Callable[[Any], object]) -> Manifest:
    """The RayService with a mistake."""
    wrong = copy.deepcopy(written()["RayService"])
    change(wrong["spec"]["rayClusterConfig"])
    return wrong


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda cluster: cluster.update(rayversion="2.60.0"), "rayversion"),
        (lambda cluster: cluster.update(rayVersion="2.51.0"), "tokens need Ray 2.52"),
        (lambda cluster: cluster["authOptions"].update(mode="Token"), "authOptions.mode"),
        (lambda cluster: cluster["headGroupSpec"]["rayStartParams"].update(n=0), "string"),
        (lambda cluster: cluster["workerGroupSpecs"][0].update(replicas=9), "<= maxReplicas"),
        (lambda cluster: cluster["workerGroupSpecs"][0].update(replicas="1"), "integer"),
        (lambda cluster: cluster.update(enableInTreeAutoscaling="yes"), "boolean"),
        (lambda cluster: cluster["headGroupSpec"].pop("template"), "headGroupSpec.template"),
    ],
)
def test_mistakes_are_noticed(mistake: Callable[[Any], object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        check(service(mistake))


def test_kuberay_itself_takes_it(base: dict[str, Manifest], tmp_path: Path) -> None:
    """Where its own definition is at hand: a file of a release, ray.io_rayservices.yaml."""
    file = os.environ.get("KUBERAY_CRD")
    if file is None:
        pytest.skip("KUBERAY_CRD names no file of KubeRay's definition of a RayService")
    versions = yaml.safe_load(Path(file).read_text(encoding="utf-8"))["spec"]["versions"]
    (schema,) = (each["schema"] for each in versions if each["name"] == "v1")
    jsonschema: Any = importlib.import_module("jsonschema")
    validator = jsonschema.Draft202012Validator(closed(schema["openAPIV3Schema"]))
    everything = of_kind(rendered_with(COMPONENTS, tmp_path), "RayService")
    for manifest in (base["RayService"], everything):
        assert not [error.json_path for error in validator.iter_errors(manifest)]
    wrong = service(lambda cluster: cluster.update(rayversion="2.60.0"))
    assert list(validator.iter_errors(wrong)), "what is unknown is refused"


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without room for unknown fields; what may be number or string may be anything."""
    if schema.get("x-kubernetes-int-or-string"):
        return {}
    done = dict(schema)
    if "properties" in schema:
        done["properties"] = {name: closed(each) for name, each in schema["properties"].items()}
        if schema.get("type") == "object" and not schema.get(
            "x-kubernetes-preserve-unknown-fields"
        ):
            done["additionalProperties"] = False
    if "items" in schema:
        done["items"] = closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        done["additionalProperties"] = closed(schema["additionalProperties"])
    return done


def test_what_an_overlay_sets_wins(example: list[Manifest]) -> None:
    text = (KUBERAY / "example" / "kustomization.yaml").read_text(encoding="utf-8")
    (own,) = yaml.safe_load(text)["configMapGenerator"]
    given = dict(literal.split("=", 1) for literal in own["literals"])
    found = settings(example)
    assert found.items() >= given.items()
    assert found["ISOGLOSS_MAX_REPLICAS"] == "8", "and not a component's"


def test_settings_are_those_of_a_server(
    example: list[Manifest], serve_config: dict[str, Any]
) -> None:
    """As Ray builds the application: `args` beneath the pods' environment."""
    variables = settings(example)
    assert not unknown_variables(variables)
    found = settings_from({}, beneath=serve_config["applications"][0]["args"], environ=variables)
    assert (found.models, found.device) == (("bigscience/bloom-560m",), "cuda")
    assert (found.replicas, found.max_replicas, found.target_queue_tokens) == (2, 8, 16384)


def test_a_changed_setting_makes_a_new_cluster(tmp_path: Path) -> None:
    """KubeRay starts one where the RayService changes, so a name must change with what it names."""
    changed = shutil.copytree(KUBERAY, tmp_path / "kuberay") / "base"
    file = changed / "kustomization.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("/isogloss/store", "/elsewhere"))
    before, after = rendered(KUBERAY / "base"), rendered(changed)
    assert settings(after)["ISOGLOSS_STORE"] == "/var/lib/elsewhere"
    assert of_kind(after, "RayService")["spec"] != of_kind(before, "RayService")["spec"]


def test_rays_autoscaler_reads_places_and_bounds(example: list[Manifest]) -> None:
    """A replica takes a CPU and a GPU of Ray's: there are as many workers as replicas."""
    autoscaler: Any = importlib.import_module("ray.autoscaler._private.kuberay.autoscaling_config")
    spec = of_kind(example, "RayService")["spec"]["rayClusterConfig"]
    cluster = {"metadata": {"name": "isogloss", "namespace": "default"}, "spec": spec}
    found = autoscaler._derive_autoscaling_config_from_ray_cr(cluster)
    head, workers = (found["available_node_types"][name] for name in ("headgroup", "workers"))
    assert head["resources"]["CPU"] == 0
    assert (workers["resources"]["CPU"], workers["resources"]["GPU"]) == (1, 1)
    assert str(workers["min_workers"]) == settings(example)["ISOGLOSS_REPLICAS"]
    assert str(workers["max_workers"]) == settings(example)["ISOGLOSS_MAX_REPLICAS"]


def test_it_serves_what_serve_yaml_does(
    serve_config: dict[str, Any], base: dict[str, Manifest]
) -> None:
    embedded = yaml.safe_load(base["RayService"]["spec"]["serveConfigV2"])
    assert embedded == serve_config


def test_it_runs_the_pinned_ray(base: dict[str, Manifest]) -> None:
    cluster = base["RayService"]["spec"]["rayClusterConfig"]
    pins = (DEPLOY.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
