"""What Kubernetes takes of our manifests: the fields that they use, strictly.

Of the RayService these are names, types and limits of KubeRay's own definition (ray.io/v1), the
same in v1.5.1, the oldest that has token authentication, and in v1.7.0, and what its operator
requires beyond those. The rest is of Kubernetes itself and of Prometheus' operator. A field that
is not here is refused: a cluster drops one that is misspelled, or refuses the manifest for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from tests.deploy.pod_schema import (
    ContainerSecurity,
    Count,
    LabelSelector,
    Metadata,
    Name,
    PodTemplate,
    Port,
    Resources,
    Seconds,
    Strict,
    VolumeMount,
)


class HeadGroup(Strict):
    ray_start_params: dict[str, str]
    template: PodTemplate


class WorkerGroup(Strict):
    group_name: Name
    replicas: Count
    min_replicas: Count
    max_replicas: Count
    ray_start_params: dict[str, str]
    template: PodTemplate

    @model_validator(mode="after")
    def _counts_go_together(self) -> Self:
        if not self.min_replicas <= self.replicas <= self.max_replicas:
            raise ValueError("minReplicas <= replicas <= maxReplicas")
        return self


class Authentication(Strict):
    mode: Literal["disabled", "token"]


class AutoscalerOptions(Strict):
    version: Literal["v1", "v2"]
    idle_timeout_seconds: Count
    upscaling_mode: Literal["Default", "Aggressive", "Conservative"] = "Default"
    security_context: ContainerSecurity
    volume_mounts: list[VolumeMount]
    resources: Resources


class RayCluster(Strict):
    ray_version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    auth_options: Authentication
    enable_in_tree_autoscaling: bool = False
    autoscaler_options: AutoscalerOptions | None = None
    head_group_spec: HeadGroup
    worker_group_specs: list[WorkerGroup]

    @model_validator(mode="after")
    def _operator_takes_it(self) -> Self:
        major, minor, _ = map(int, self.ray_version.split("."))
        if self.auth_options.mode == "token" and (major, minor) < (2, 52):
            raise ValueError("tokens need Ray 2.52")
        if self.autoscaler_options is not None and not self.enable_in_tree_autoscaling:
            raise ValueError("autoscalerOptions need enableInTreeAutoscaling")
        return self


class RayServiceSpec(Strict):
    service_unhealthy_second_threshold: Seconds
    deployment_unhealthy_second_threshold: Seconds
    serve_config_v2: str
    ray_cluster_config: RayCluster


class RayService(Strict):
    api_version: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: Metadata
    spec: RayServiceSpec


class ConfigMap(Strict):
    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str] = Field({})


class ClaimSpec(Strict):
    access_modes: list[Literal["ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany"]]
    resources: Resources
    storage_class_name: str | None = None


class Claim(Strict):
    api_version: Literal["v1"]
    kind: Literal["PersistentVolumeClaim"]
    metadata: Metadata
    spec: ClaimSpec


class ServicePort(Strict):
    name: Annotated[str, Field(max_length=15)]
    port: Port
    target_port: str | Port


class ServiceSpec(Strict):
    cluster_ip: Literal["None"] = Field(alias="clusterIP")
    selector: dict[str, str]
    ports: list[ServicePort]


class Service(Strict):
    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class BudgetSpec(Strict):
    min_available: Annotated[int, Field(ge=1)]
    selector: LabelSelector


class DisruptionBudget(Strict):
    api_version: Literal["policy/v1"]
    kind: Literal["PodDisruptionBudget"]
    metadata: Metadata
    spec: BudgetSpec


class Peer(Strict):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class PolicyPort(Strict):
    protocol: Literal["TCP", "UDP", "SCTP"]
    port: Port


class Ingress(Strict):
    from_: list[Peer] = Field([], alias="from")
    ports: list[PolicyPort] = Field([])


class Egress(Strict):
    to: list[Peer] = Field([])
    ports: list[PolicyPort] = Field([])


class PolicySpec(Strict):
    pod_selector: LabelSelector
    policy_types: list[Literal["Ingress", "Egress"]]
    ingress: list[Ingress]
    egress: list[Egress]


class NetworkPolicy(Strict):
    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: PolicySpec


class Endpoint(Strict):
    port: str
    path: Annotated[str, Field(pattern=r"^/")]
    interval: Annotated[str, Field(pattern=r"^\d+(ms|s|m|h)$")]


class MonitorSpec(Strict):
    selector: LabelSelector
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class ServiceMonitor(Strict):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: MonitorSpec


Manifest = Annotated[
    RayService | ConfigMap | Claim | Service | DisruptionBudget | NetworkPolicy | ServiceMonitor,
    Field(discriminator="kind"),
]
_ANY: TypeAdapter[Any] = TypeAdapter(Manifest)


def check(manifest: dict[str, Any]) -> None:
    """Require that Kubernetes would take a manifest.

    Raises:
        pydantic.ValidationError: it would not, or would drop something; says what and where.
    """
    _ANY.validate_python(manifest)
