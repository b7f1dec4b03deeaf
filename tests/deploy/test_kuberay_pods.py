"""What the pods of `deploy/kuberay` may do, who reaches them, and what goes by their labels."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from isogloss.serving.ray.haproxy import haproxy_everywhere
from tests.deploy.kustomized import (
    KUBERAY,
    Manifest,
    of_kind,
    rendered,
    settings,
    templates,
)
from tests.some import some

DEPLOY = KUBERAY.parent
TOKEN = "kube-api-access"


@pytest.fixture(scope="module")
def cluster(base: dict[str, Manifest]) -> Manifest:
    return dict(base["RayService"]["spec"]["rayClusterConfig"])


@pytest.fixture(scope="module")
def pods(base: dict[str, Manifest]) -> list[Manifest]:
    return templates(base["RayService"])


def test_they_share_one_store(base: dict[str, Manifest], pods: list[Manifest]) -> None:
    claim = base["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    path = settings(rendered(KUBERAY / "base"))["ISOGLOSS_STORE"]
    for pod in some(template["spec"] for template in pods):
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        store = volumes["store"]["persistentVolumeClaim"]
        assert store["claimName"] == claim["metadata"]["name"]
        (mount,) = (each for each in container["volumeMounts"] if each["name"] == "store")
        assert path.startswith(mount["mountPath"] + "/")
        environment = {entry["name"]: entry for entry in container["env"]}
        assert "secretKeyRef" in environment["ISOGLOSS_ADMIN_TOKEN"]["valueFrom"]
        assert "ISOGLOSS_STORE" not in environment, "it would win over an overlay's"


def test_ray_asks_for_a_token(cluster: Manifest) -> None:
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["ray-client-server-port"] == "0"


def test_replicas_go_to_workers_one_a_pod(cluster: Manifest) -> None:
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert workers["rayStartParams"]["num-cpus"] == "1"


def test_a_replica_has_the_threads_that_its_pod_has_cores(example: list[Manifest]) -> None:
    _, workers = templates(of_kind(example, "RayService"))
    (container,) = workers["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == settings(example)["ISOGLOSS_THREADS"]


def test_they_can_do_no_more_than_they_must(pods: list[Manifest]) -> None:
    for pod in some(template["spec"] for template in pods):
        assert pod["automountServiceAccountToken"] is False
        whole = pod["securityContext"]
        assert whole["runAsNonRoot"] is True
        assert whole["runAsUser"] == whole["runAsGroup"] == whole["fsGroup"] == 1000
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_what_is_written_has_a_place_to_be_written_to(pods: list[Manifest]) -> None:
    for pod in some(template["spec"] for template in pods):
        (container,) = pod["containers"]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        assert set(mounts) == {"/var/lib/isogloss", "/tmp", "/home/isogloss"}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for path in ("/tmp", "/home/isogloss"):
            assert volumes[mounts[path]]["emptyDir"]["sizeLimit"]


def test_only_the_autoscaler_may_ask_kubernetes(example: list[Manifest]) -> None:
    service = of_kind(example, "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
    head, *workers = (template["spec"] for template in templates(service))
    assert mount["name"] == TOKEN
    assert TOKEN in {volume["name"] for volume in head["volumes"]}
    for pod in (head, *workers):
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert TOKEN not in {each["name"] for each in container["volumeMounts"]}


def test_keys_are_where_the_server_looks(example: list[Manifest]) -> None:
    folder, _, _ = settings(example)["ISOGLOSS_API_KEYS_FILE"].rpartition("/")
    for template in some(templates(of_kind(example, "RayService"))):
        (container,) = template["spec"]["containers"]
        (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == folder)
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert volumes[mount["name"]]["secret"]["secretName"] == "isogloss-keys"


def selected_by(selector: Manifest, template: Manifest, node_type: str) -> bool:
    """Whether a pod has the labels; the operator gives it `ray.io/node-type`."""
    labels = {**template["metadata"]["labels"], "ray.io/node-type": node_type}
    return bool(selector.items() <= labels.items())


def test_a_drain_leaves_a_worker_and_may_take_the_head(example: list[Manifest]) -> None:
    budget = of_kind(example, "PodDisruptionBudget")["spec"]
    head, workers = templates(of_kind(example, "RayService"))
    assert selected_by(budget["selector"]["matchLabels"], workers, "worker")
    assert not selected_by(budget["selector"]["matchLabels"], head, "head")
    (group,) = of_kind(example, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert group["minReplicas"] > budget["minAvailable"], "or no node could ever be drained"
    (spread,) = workers["spec"]["topologySpreadConstraints"]
    assert selected_by(spread["labelSelector"]["matchLabels"], workers, "worker")


def test_prometheus_scrapes_one_pod(example: list[Manifest]) -> None:
    """Any pod has the numbers of all: those of two would be counted twice."""
    scraped, service = of_kind(example, "ServiceMonitor")["spec"], of_kind(example, "Service")
    assert scraped["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert [(each["port"], each["path"]) for each in scraped["endpoints"]] == [
        (port["name"], "/metrics")
    ]
    head, workers = templates(of_kind(example, "RayService"))
    assert selected_by(service["spec"]["selector"], head, "head")
    assert not selected_by(service["spec"]["selector"], workers, "worker")
    assert named_ports(head)[port["targetPort"]] == port["port"]


def named_ports(template: Manifest) -> dict[str, int]:
    (container,) = template["spec"]["containers"]
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def test_workers_are_asked_only_while_their_proxy_answers(pods: list[Manifest]) -> None:
    _, workers = pods
    (container,) = workers["spec"]["containers"]
    probe = container["readinessProbe"]["httpGet"]
    assert (probe["path"], named_ports(workers)[probe["port"]]) == ("/healthz", 8000)


def test_only_http_is_open_to_everybody(base: dict[str, Manifest], pods: list[Manifest]) -> None:
    policy = base["NetworkPolicy"]["spec"]
    labels = policy["podSelector"]["matchLabels"]
    assert all(selected_by(labels, template, "any") for template in pods)
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    callers, each_other, operator = policy["ingress"]
    http = yaml.safe_load((DEPLOY / "serve.yaml").read_text(encoding="utf-8"))["http_options"]
    assert callers == {"ports": [{"protocol": "TCP", "port": http["port"]}]}
    assert set(each_other) == {"from"}
    (peers,) = each_other["from"]
    assert all(selected_by(peers["podSelector"]["matchLabels"], each, "any") for each in pods)
    assert "namespaceSelector" not in peers, "pods of other namespaces could call themselves so"
    assert [port["port"] for port in operator["ports"]] == [8265]
    (who,) = operator["from"]
    assert who["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}


def test_the_head_declares_what_the_operator_needs_and_no_more(pods: list[Manifest]) -> None:
    assert named_ports(pods[0]) == {"gcs-server": 6379, "dashboard": 8265, "serve": 8000}


def test_haproxy_is_told_the_same_on_every_kind_of_cluster(pods: list[Manifest]) -> None:
    wanted = haproxy_everywhere()
    for template in some(pods):
        (container,) = template["spec"]["containers"]
        given: dict[str, Any] = {each["name"]: each.get("value") for each in container["env"]}
        assert given.items() >= wanted.items()
    shell = "set -a; . deploy/haproxy.env; env -0"
    told = subprocess.run(
        ["sh", "-c", shell], cwd=DEPLOY.parent, env={}, capture_output=True, text=True, check=True
    ).stdout
    found = dict(line.split("=", 1) for line in told.split("\0") if line)
    assert found.items() >= wanted.items()
