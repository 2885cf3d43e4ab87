"""A service: what its containers are made of."""

from __future__ import annotations

from darse.compose.model.base import ModelPart
from darse.compose.model.build import Build, Develop, FileReference, Provider, ServiceHook, ServiceModel, ServiceUlimit
from darse.compose.model.deploy import Deploy, ServiceDeviceRequest
from darse.compose.model.quantities import ByteCount, Duration, Processors


class WeightedDevice(ModelPart):
    """The share of a block device."""

    path: str = ""
    weight: int = 0


class ThrottledDevice(ModelPart):
    """The greatest rate of a block device."""

    path: str = ""
    rate: ByteCount = ByteCount(0)


class BlockIO(ModelPart):
    """`blkio_config`."""

    weight: int = 0
    weight_device: list[WeightedDevice] = []
    device_read_bps: list[ThrottledDevice] = []
    device_read_iops: list[ThrottledDevice] = []
    device_write_bps: list[ThrottledDevice] = []
    device_write_iops: list[ThrottledDevice] = []


class CredentialSpec(ModelPart):
    """Credentials of a Windows container."""

    config: str = ""
    file: str = ""
    registry: str = ""


class Dependency(ModelPart):
    """On what of another service a service waits."""

    condition: str = ""
    restart: bool = False
    required: bool = False


class ServiceDevice(ModelPart):
    """A device of the host in a container."""

    source: str = ""
    target: str = ""
    permissions: str = ""


class EnvFile(ModelPart):
    """A file with variables for containers."""

    path: str = ""
    required: bool = False
    format: str = ""


class Extends(ModelPart):
    """The service that a service is built upon."""

    file: str = ""
    service: str = ""


class Healthcheck(ModelPart):
    """The command that tells whether a container is healthy."""

    test: list[str] = []
    timeout: Duration | None = None
    interval: Duration | None = None
    retries: int | None = None
    start_period: Duration | None = None
    start_interval: Duration | None = None
    disable: bool = False


class Logging(ModelPart):
    """Where the output of containers goes."""

    driver: str = ""
    options: dict[str, str] = {}


class ServiceNetwork(ModelPart):
    """A service on a network."""

    aliases: list[str] = []
    driver_opts: dict[str, str] = {}
    gw_priority: int = 0
    interface_name: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: list[str] = []
    mac_address: str = ""
    priority: int = 0


class ServicePort(ModelPart):
    """A published port; `published` is a port or a range, as a text."""

    name: str = ""
    mode: str = ""
    host_ip: str = ""
    target: int = 0
    published: str = ""
    protocol: str = ""
    app_protocol: str = ""


class ServiceVolumeBind(ModelPart):
    """Of a mount of type bind."""

    selinux: str = ""
    propagation: str = ""
    create_host_path: bool = False
    recursive: str = ""


class ServiceVolumeVolume(ModelPart):
    """Of a mount of type volume."""

    labels: dict[str, str] = {}
    nocopy: bool = False
    subpath: str = ""


class ServiceVolumeTmpfs(ModelPart):
    """Of a mount of type tmpfs."""

    size: ByteCount = ByteCount(0)
    mode: int = 0


class ServiceVolumeImage(ModelPart):
    """Of a mount of type image."""

    subpath: str = ""


class ServiceVolume(ModelPart):
    """A mount of a container."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind: ServiceVolumeBind | None = None
    volume: ServiceVolumeVolume | None = None
    tmpfs: ServiceVolumeTmpfs | None = None
    image: ServiceVolumeImage | None = None


class Service(ModelPart):
    """A service of a project; its name is its key."""

    profiles: list[str] = []
    annotations: dict[str, str] = {}
    attach: bool | None = None
    build: Build | None = None
    develop: Develop | None = None
    blkio_config: BlockIO | None = None
    cap_add: list[str] = []
    cap_drop: list[str] = []
    cgroup_parent: str = ""
    cgroup: str = ""
    cpu_count: int = 0
    cpu_percent: Processors = Processors(0)
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpus: Processors = Processors(0)
    cpuset: str = ""
    cpu_shares: int = 0
    command: list[str] | None = None
    configs: list[FileReference] = []
    container_name: str = ""
    credential_spec: CredentialSpec | None = None
    depends_on: dict[str, Dependency] = {}
    deploy: Deploy | None = None
    device_cgroup_rules: list[str] = []
    devices: list[ServiceDevice] = []
    dns: list[str] = []
    dns_opt: list[str] = []
    dns_search: list[str] = []
    dockerfile: str = ""
    domainname: str = ""
    entrypoint: list[str] | None = None
    provider: Provider | None = None
    environment: dict[str, str | None] = {}
    env_file: list[EnvFile] = []
    expose: list[str] = []
    extends: Extends | None = None
    external_links: list[str] = []
    extra_hosts: dict[str, list[str]] = {}
    group_add: list[str] = []
    gpus: list[ServiceDeviceRequest] = []
    hostname: str = ""
    healthcheck: Healthcheck | None = None
    image: str = ""
    init: bool | None = None
    ipc: str = ""
    isolation: str = ""
    labels: dict[str, str] = {}
    label_file: list[str] = []
    links: list[str] = []
    logging: Logging | None = None
    log_driver: str = ""
    log_opt: dict[str, str] = {}
    mem_limit: ByteCount = ByteCount(0)
    mem_reservation: ByteCount = ByteCount(0)
    memswap_limit: ByteCount = ByteCount(0)
    mem_swappiness: ByteCount = ByteCount(0)
    mac_address: str = ""
    models: dict[str, ServiceModel | None] = {}
    net: str = ""
    network_mode: str = ""
    networks: dict[str, ServiceNetwork | None] = {}
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    pid: str = ""
    pids_limit: int = 0
    platform: str = ""
    ports: list[ServicePort] = []
    privileged: bool = False
    pull_policy: str = ""
    read_only: bool = False
    restart: str = ""
    runtime: str = ""
    scale: int | None = None
    secrets: list[FileReference] = []
    security_opt: list[str] = []
    shm_size: ByteCount = ByteCount(0)
    stdin_open: bool = False
    stop_grace_period: Duration | None = None
    stop_signal: str = ""
    storage_opt: dict[str, str] = {}
    sysctls: dict[str, str] = {}
    tmpfs: list[str] = []
    tty: bool = False
    ulimits: dict[str, ServiceUlimit] = {}
    use_api_socket: bool = False
    user: str = ""
    userns_mode: str = ""
    uts: str = ""
    volume_driver: str = ""
    volumes: list[ServiceVolume] = []
    volumes_from: list[str] = []
    working_dir: str = ""
    post_start: list[ServiceHook] = []
    pre_stop: list[ServiceHook] = []
