"""What Kubernetes takes of a pod's template: the fields that our manifests use, strictly."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
DottedName = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Mode = Annotated[int, Field(ge=0, le=0o777)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Seconds = Annotated[int, Field(ge=1, lt=2**31)]


class Strict(BaseModel):
    """No unknown field, and no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(Strict):
    name: Name
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class LabelSelector(Strict):
    match_labels: dict[str, str] = {}


class KeySelector(Strict):
    name: Name
    key: str
    optional: bool = False


class ValueFrom(Strict):
    secret_key_ref: KeySelector


class EnvironmentVariable(Strict):
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: str | None = None
    value_from: ValueFrom | None = None

    @model_validator(mode="after")
    def _has_one_of_both(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError("either value or valueFrom")
        return self


class Reference(Strict):
    name: Name


class EnvironmentSource(Strict):
    config_map_ref: Reference


class VolumeMount(Strict):
    name: Name
    mount_path: Annotated[str, Field(pattern=r"^/")]
    read_only: bool = False


class KeyToPath(Strict):
    key: str
    path: str


class ProjectedConfigMap(Strict):
    name: DottedName
    items: list[KeyToPath]


class FieldReference(Strict):
    field_path: str


class DownwardFile(Strict):
    path: str
    field_ref: FieldReference


class DownwardApi(Strict):
    items: list[DownwardFile]


class ServiceAccountToken(Strict):
    path: str
    expiration_seconds: Annotated[int, Field(ge=600)]


class ProjectedSource(Strict):
    service_account_token: ServiceAccountToken | None = None
    config_map: ProjectedConfigMap | None = None
    downward_api: DownwardApi | None = Field(None, alias="downwardAPI")


class Projected(Strict):
    sources: list[ProjectedSource]


class EmptyDir(Strict):
    size_limit: Quantity


class ClaimVolume(Strict):
    claim_name: Name


class SecretVolume(Strict):
    secret_name: Name
    default_mode: Mode


class Volume(Strict):
    name: Name
    persistent_volume_claim: ClaimVolume | None = None
    empty_dir: EmptyDir | None = None
    secret: SecretVolume | None = None
    projected: Projected | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if len(self.model_fields_set - {"name"}) != 1:
            raise ValueError("one kind of volume")
        return self


class Resources(Strict):
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}


class Capabilities(Strict):
    drop: list[str]


class ContainerSecurity(Strict):
    allow_privilege_escalation: bool
    read_only_root_filesystem: bool | None = None
    capabilities: Capabilities


class ContainerPort(Strict):
    name: Annotated[str, Field(max_length=15)]
    container_port: Port


class HttpGet(Strict):
    path: Annotated[str, Field(pattern=r"^/")]
    port: str | Port


class Probe(Strict):
    http_get: HttpGet
    period_seconds: Seconds
    timeout_seconds: Seconds
    failure_threshold: Seconds


class Container(Strict):
    name: Name
    image: str
    security_context: ContainerSecurity
    ports: list[ContainerPort] = []
    env_from: list[EnvironmentSource]
    env: list[EnvironmentVariable]
    readiness_probe: Probe | None = None
    volume_mounts: list[VolumeMount]
    resources: Resources


class SeccompProfile(Strict):
    type: Literal["RuntimeDefault", "Unconfined", "Localhost"]


class PodSecurity(Strict):
    run_as_non_root: bool
    run_as_user: int
    run_as_group: int
    fs_group: int
    seccomp_profile: SeccompProfile


class Toleration(Strict):
    key: str
    operator: Literal["Exists", "Equal"]
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class TopologySpread(Strict):
    max_skew: Seconds
    topology_key: str
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: LabelSelector


class PodSpec(Strict):
    automount_service_account_token: bool
    security_context: PodSecurity
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume]
    tolerations: list[Toleration] = []
    topology_spread_constraints: list[TopologySpread] = []


class TemplateMetadata(Strict):
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class PodTemplate(Strict):
    metadata: TemplateMetadata
    spec: PodSpec
