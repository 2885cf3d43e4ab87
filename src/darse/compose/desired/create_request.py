"""The create request of a service's container: every attribute of the model reaches it, or is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from darse.compose.desired import labels
from darse.compose.desired.endpoints import endpoints, network_mode, ports
from darse.compose.desired.limits import limits
from darse.compose.desired.mounts import mount_requests
from darse.compose.desired.names import image_name
from darse.compose.desired.references import resolved, volumes_from
from darse.compose.errors import ComposeError
from darse.compose.inputs import read_bounded
from darse.compose.model.project import Project
from darse.compose.model.service import Healthcheck, Service
from darse.wire.containers import CreateRequest, HealthConfig, MountPoint, NetworkingConfig
from darse.wire.host_config import HostConfig, LogConfig, Mount, PortMap, RestartPolicy

_SECOND = 1_000_000_000
# Where a container finds the credentials that go with the engine's socket.
CREDENTIALS_DIRECTORY = "/run/secrets/docker"
_RESTART_CONDITIONS = {"": "always", "any": "always", "none": "no", "on-failure": "on-failure"}


@dataclass(frozen=True)
class ContainerContext:
    """What a container's request depends on beside the project.

    `image_id` and `image_volumes` are of its image; `ids` has a container of each service it may refer to, `linked` the
    names of all containers of each; `inherited` are the mounts of the container that this one takes the place of.
    """

    image_id: str = ""
    image_volumes: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)
    linked: Mapping[str, list[str]] = field(default_factory=dict)
    inherited: tuple[MountPoint, ...] = ()
    #: The container that this one is to take the place of, as docker compose marks it.
    replaces: str = ""
    #: The engine's socket on this machine, and whether registries' credentials go with it: for `use_api_socket`.
    api_socket: str = ""
    has_credentials: bool = False


def create_request(
    project: Project,
    name: str,
    container: str,
    number: int,
    context: ContainerContext,
    *,
    one_off: bool = False,
    with_aliases: bool = True,
) -> CreateRequest:
    """The request of container `number` of a service, named `container`. Raises ComposeError for what cannot be."""
    service = project.services[name]
    refuse(name, service)
    found_labels = labels.container_labels(
        project, name, resolved(service, context.ids), number=number, image=context.image_id, one_off=one_off
    )
    if context.replaces:
        found_labels[labels.REPLACES] = context.replaces
    if service.use_api_socket and not context.api_socket:
        raise ComposeError(
            f"services.{name}: use_api_socket needs an engine on a unix socket of this machine",
            ("services", name, "use_api_socket"),
        )
    exposed, bindings = ports(service)
    links = _links(service, context.linked)
    grace = service.stop_grace_period
    return CreateRequest(
        Hostname=service.hostname,
        Domainname=service.domainname,
        User=service.user,
        AttachStdout=True,
        AttachStderr=True,
        ExposedPorts=exposed,
        Tty=service.tty,
        OpenStdin=service.stdin_open,
        StdinOnce=one_off and service.stdin_open,
        Env=_environment(service, context),
        Cmd=service.command,
        Healthcheck=_health(service.healthcheck),
        Image=image_name(project, name),
        WorkingDir=service.working_dir,
        Entrypoint=service.entrypoint,
        Labels=found_labels,
        StopSignal=service.stop_signal,
        StopTimeout=None if grace is None else -(-int(grace) // _SECOND),
        HostConfig=_host(project, service, context, bindings, links),
        NetworkingConfig=NetworkingConfig(
            endpoints(project, name, service, container, links, with_aliases=with_aliases)
        ),
    )


def refuse(name: str, service: Service) -> None:
    """Raise ComposeError for attributes that this engine cannot give a container."""
    path = ("services", name)
    for attribute, reason in (
        ("models", "models need a model runner, which this engine has not"),
        ("credential_spec", "credential_spec is for Windows containers"),
        ("volume_driver", "volume_driver is of version 2 files: name the driver under volumes at the top"),
        ("log_driver", "log_driver is of version 1 files: use logging"),
        ("log_opt", "log_opt is of version 1 files: use logging"),
        ("net", "net is of version 1 files: use network_mode"),
    ):
        if getattr(service, attribute):
            raise ComposeError(f"services.{name}: {reason}", (*path, attribute))
    resources = service.deploy.resources if service.deploy is not None else None
    if resources is not None and resources.reservations is not None and resources.reservations.generic_resources:
        raise ComposeError(f"services.{name}: generic_resources need a cluster", (*path, "deploy"))


def _environment(service: Service, context: ContainerContext) -> list[str] | None:
    """A variable without a value takes one of the image away."""
    found = [key if value is None else f"{key}={value}" for key, value in service.environment.items()]
    if service.use_api_socket and context.has_credentials:
        found.append(f"DOCKER_CONFIG={CREDENTIALS_DIRECTORY}")
    return found or None


def _health(check: Healthcheck | None) -> HealthConfig | None:
    if check is None:
        return None
    if check.disable:
        return HealthConfig(Test=["NONE"])
    return HealthConfig(
        Test=check.test or None,
        Interval=int(check.interval or 0),
        Timeout=int(check.timeout or 0),
        Retries=check.retries or 0,
        StartPeriod=int(check.start_period or 0),
        StartInterval=int(check.start_interval or 0),
    )


def _links(service: Service, linked: Mapping[str, list[str]]) -> list[str]:
    found = []
    for text in service.links:
        other, _, alias = text.partition(":")
        for container in linked.get(other, ()):
            found += [f"{container}:{alias or other}", f"{container}:{container}"]
    for text in service.external_links:
        other, _, alias = text.partition(":")
        found.append(f"{other}:{alias or other}")
    return list(dict.fromkeys(found))


def _host(
    project: Project, service: Service, context: ContainerContext, bindings: PortMap, links: list[str]
) -> HostConfig:
    mounts = mount_requests(project, service, context.inherited, context.image_volumes)
    logging = service.logging
    host = HostConfig(
        Binds=mounts.binds or None,
        LogConfig=LogConfig(logging.driver, logging.options or None) if logging else LogConfig(),
        NetworkMode=network_mode(project, service)
        if not service.network_mode
        else resolved(service, context.ids).network_mode,
        PortBindings=bindings,
        RestartPolicy=_restart(service),
        VolumesFrom=volumes_from(service, context.ids) or None,
        Mounts=[*mounts.mounts, *_api_socket(service, context)] or None,
        Annotations=service.annotations or None,
        Dns=service.dns or None,
        DnsOptions=service.dns_opt or None,
        DnsSearch=service.dns_search or None,
        ExtraHosts=[f"{host}:{one}" for host, addresses in service.extra_hosts.items() for one in addresses] or None,
        Links=links or None,
        Tmpfs={path: options for path, _, options in (one.partition(":") for one in service.tmpfs)} or None,
        ShmSize=int(service.shm_size),
        StorageOpt=service.storage_opt or None,
        Runtime=service.runtime,
        Isolation=service.isolation,
        Init=service.init,
    )
    _isolate(host, resolved(service, context.ids))
    limits(host, service)
    return host


def _api_socket(service: Service, context: ContainerContext) -> list[Mount]:
    if not service.use_api_socket:
        return []
    return [Mount(Type="bind", Source=context.api_socket, Target="/var/run/docker.sock")]


def _isolate(host: HostConfig, service: Service) -> None:
    """Namespaces, capabilities and the like."""
    host.CapAdd = service.cap_add or None
    host.CapDrop = service.cap_drop or None
    host.CgroupnsMode = service.cgroup
    host.GroupAdd = service.group_add or None
    host.IpcMode = service.ipc
    host.PidMode = service.pid
    host.UTSMode = service.uts
    host.UsernsMode = service.userns_mode
    host.Privileged = service.privileged
    host.ReadonlyRootfs = service.read_only
    host.SecurityOpt = [_security(one) for one in service.security_opt] or None
    host.Sysctls = service.sysctls or None


def _security(text: str) -> str:
    """A security option; a profile of seccomp that is a file is what is in it. Raises ComposeError."""
    for separator in "=:":
        name, found, value = text.partition(separator)
        if found and name == "seccomp" and value not in ("unconfined", "builtin"):
            try:
                return f"seccomp={json.dumps(json.loads(read_bounded(value)), separators=(',', ':'))}"
            except (OSError, ValueError) as error:
                raise ComposeError(f"opening seccomp profile ({value}) failed: {error}") from error
    return text


def _restart(service: Service) -> RestartPolicy:
    policy = service.deploy.restart_policy if service.deploy is not None else None
    if policy is not None:
        return RestartPolicy(_RESTART_CONDITIONS.get(policy.condition, policy.condition), policy.max_attempts or 0)
    name, _, most = service.restart.partition(":")
    if most and not most.isdecimal():
        raise ComposeError(f"maximum retry count must be an integer: {service.restart}")
    return RestartPolicy(name, int(most or 0))
