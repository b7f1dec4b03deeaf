"""`serve.yaml` is what Ray Serve and our settings accept, and KubeRay's copy says the same."""

import inspect
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from isogloss.prompts.model.checkpoint import POCKET
from isogloss.serving.config import ServingSettings
from isogloss.serving.ray.haproxy import haproxy_everywhere
from tests.some import some

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning")
DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def serve_config() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "serve.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def kubernetes() -> dict[str, dict[str, Any]]:
    """Documents of rayservice.yaml by kind."""
    text = (DEPLOY / "kuberay" / "rayservice.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_ray_serve_accepts_it(serve_config: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    parsed = ServeDeploySchema.model_validate(serve_config)
    (application,) = parsed.applications
    assert application.import_path == "isogloss.serving.ray.app:application"
    assert application.route_prefix == "/"


def test_its_arguments_are_our_settings(serve_config: dict[str, Any]) -> None:
    arguments = serve_config["applications"][0]["args"]
    settings = ServingSettings.model_validate(arguments)  # refuses unknown names
    assert set(settings.models) <= {folder.name for folder in POCKET.iterdir()}


def test_the_builder_gets_settings_where_ray_hands_it_a_mapping(
    serve_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    from isogloss.serving.ray import app as serving_app

    (application,) = serve_config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert module == serving_app.__name__
    built_with: list[ServingSettings] = []

    class NotDeployed(Exception):
        pass

    def build_application(settings: ServingSettings, build: object) -> None:
        built_with.append(settings)
        raise NotDeployed

    monkeypatch.setattr(serving_app, "build_application", build_application)
    builder = getattr(serving_app, name)
    assert inspect.isfunction(builder)
    with pytest.raises(NotDeployed):
        call_user_app_builder_with_args_if_necessary(builder, application["args"])
    assert built_with == [ServingSettings.model_validate(application["args"])]


def test_options_in_comments_are_right_too() -> None:
    """Taking the comment marks off the options must leave a file that Ray Serve accepts."""
    from ray.serve.schema import ServeDeploySchema

    lines = (DEPLOY / "serve.yaml").read_text(encoding="utf-8").splitlines()
    options = {"store", "threads", "deployments", "-", "autoscaling_config", "min_replicas"}
    options |= {"max_replicas", "target_ongoing_requests", "ray_actor_options", "num_cpus"}
    options |= {"num_gpus", "- name"}
    uncommented = [
        line.replace("# ", "", 1)
        if line.strip().startswith("# ") and line.strip()[1:].split(":")[0].strip() in options
        else line
        for line in lines
    ]
    config = yaml.safe_load("\n".join(uncommented))
    (application,) = ServeDeploySchema.model_validate(config).applications
    settings = ServingSettings.model_validate(config["applications"][0]["args"])
    assert (settings.store, settings.threads) == (Path("/var/lib/isogloss/store"), 4)
    (deployment,) = application.deployments
    assert deployment.name == _ingress_name()
    assert deployment.ray_actor_options.num_gpus == 1


def _ingress_name() -> str:
    from isogloss.serving.ray import app as serving_app

    source = inspect.getsource(serving_app.build_application)
    return source.rpartition('.options(name="')[2].partition('"')[0]


def test_kuberay_serves_the_same(
    serve_config: dict[str, Any], kubernetes: dict[str, dict[str, Any]]
) -> None:
    embedded = yaml.safe_load(kubernetes["RayService"]["spec"]["serveConfigV2"])
    assert embedded == serve_config


def test_kuberay_runs_the_pinned_ray_on_one_shared_store(
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    cluster = kubernetes["RayService"]["spec"]["rayClusterConfig"]
    pins = (DEPLOY.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
    claim = kubernetes["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in pods):
        (container,) = pod["containers"]
        environment = {entry["name"]: entry for entry in container["env"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        store = volumes["store"]["persistentVolumeClaim"]
        assert store["claimName"] == claim["metadata"]["name"]
        (mount,) = (each for each in container["volumeMounts"] if each["name"] == "store")
        assert environment["ISOGLOSS_STORE"]["value"].startswith(mount["mountPath"] + "/")
        assert "secretKeyRef" in environment["ISOGLOSS_ADMIN_TOKEN"]["valueFrom"]


Spec = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(kubernetes: dict[str, Spec]) -> Spec:
    return dict(kubernetes["RayService"]["spec"]["rayClusterConfig"])


@pytest.fixture(scope="module")
def templates(cluster: Spec) -> list[Spec]:
    """The pods' templates: the head's and those of the workers."""
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len(groups) > 1
    return [group["template"] for group in groups]


def test_ray_asks_for_a_token(cluster: Spec) -> None:
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["ray-client-server-port"] == "0"


def test_pods_can_do_no_more_than_they_must(templates: list[Spec]) -> None:
    for pod in some(template["spec"] for template in templates):
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


def test_what_is_written_has_a_place_to_be_written_to(templates: list[Spec]) -> None:
    for pod in some(template["spec"] for template in templates):
        (container,) = pod["containers"]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        assert set(mounts) == {"/var/lib/isogloss", "/tmp", "/home/isogloss"}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for path in ("/tmp", "/home/isogloss"):
            assert volumes[mounts[path]]["emptyDir"]["sizeLimit"]


def selected_by(selector: Spec, template: Spec) -> bool:
    labels = template["metadata"]["labels"]
    return bool(selector["matchLabels"].items() <= labels.items())


def test_only_http_is_open_to_everybody(
    kubernetes: dict[str, Spec], templates: list[Spec], serve_config: Spec
) -> None:
    policy = kubernetes["NetworkPolicy"]["spec"]
    assert all(selected_by(policy["podSelector"], template) for template in templates)
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    callers, each_other, operator = policy["ingress"]
    assert callers == {"ports": [{"protocol": "TCP", "port": serve_config["http_options"]["port"]}]}
    assert set(each_other) == {"from"}
    (peers,) = each_other["from"]
    assert all(selected_by(peers["podSelector"], template) for template in templates)
    assert "namespaceSelector" not in peers, "pods of other namespaces could call themselves so"
    assert [port["port"] for port in operator["ports"]] == [8265]
    (who,) = operator["from"]
    assert who["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}


def test_the_head_declares_what_the_operator_needs_and_no_more(templates: list[Spec]) -> None:
    (head,) = templates[0]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in head["ports"]}
    assert ports == {"gcs-server": 6379, "dashboard": 8265, "serve": 8000}


def test_haproxy_is_told_the_same_on_every_kind_of_cluster(
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    wanted = haproxy_everywhere()
    cluster = kubernetes["RayService"]["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        for container in group["template"]["spec"]["containers"]:
            given = {each["name"]: each.get("value") for each in container["env"]}
            assert given.items() >= wanted.items()
    shell = "set -a; . deploy/haproxy.env; env -0"
    told = subprocess.run(
        ["sh", "-c", shell], cwd=DEPLOY.parent, env={}, capture_output=True, text=True, check=True
    ).stdout
    found = dict(line.split("=", 1) for line in told.split("\0") if line)
    assert found.items() >= wanted.items()
