"""How many containers a service has, and what they may use."""

from __future__ import annotations

import msgspec

from darse.compose.model.base import ModelPart
from darse.compose.model.quantities import ByteCount, DeviceCount, Duration, Processors


class ServiceDeviceRequest(ModelPart):
    """Devices that a container gets by what they can: GPUs."""

    capabilities: list[str] = []
    driver: str = ""
    count: DeviceCount = DeviceCount(0)
    device_ids: list[str] = []
    options: dict[str, str] = {}


class DiscreteResource(ModelPart):
    """So many of a kind of resource."""

    kind: str = ""
    value: int = 0


class GenericResource(ModelPart):
    """A resource of an administrator's own kind."""

    discrete_resource_spec: DiscreteResource | None = None


class Resource(ModelPart):
    """What is limited, or reserved."""

    cpus: Processors = Processors(0)
    memory: ByteCount = ByteCount(0)
    pids: int = 0
    devices: list[ServiceDeviceRequest] = []
    generic_resources: list[GenericResource] = []


class DeployResources(ModelPart):
    """Limits and reservations."""

    limits: Resource | None = None
    reservations: Resource | None = None


class UpdateConfig(ModelPart):
    """How containers are replaced."""

    parallelism: int | None = None
    delay: Duration = Duration(0)
    failure_action: str = ""
    monitor: Duration = Duration(0)
    max_failure_ratio: Processors = Processors(0)
    order: str = ""


class DeployRestart(ModelPart):
    """When a container is started again."""

    condition: str = ""
    delay: Duration | None = None
    max_attempts: int | None = None
    window: Duration | None = None


class Preference(ModelPart):
    """Over which label containers are spread."""

    spread: str = ""


class Placement(ModelPart):
    """On which nodes containers may run."""

    constraints: list[str] = []
    preferences: list[Preference] = []
    max_replicas_per_node: int = 0


class Deploy(ModelPart):
    """`deploy` of a service."""

    mode: str = ""
    replicas: int | None = None
    labels: dict[str, str] = {}
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    resources: DeployResources = msgspec.field(default_factory=DeployResources)
    restart_policy: DeployRestart | None = None
    placement: Placement = msgspec.field(default_factory=Placement)
    endpoint_mode: str = ""
