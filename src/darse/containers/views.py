"""A container as the API shows it: made from the record, the state, and the answers of images, networks and volumes."""

from __future__ import annotations

import msgspec

from darse.containers.layout import ContainerFiles
from darse.containers.model import Container, RunState, Status
from darse.core.times import ZERO, rfc3339
from darse.volumes.mounts import mount_points
from darse.wire.containers import (
    ContainerInspect,
    ContainerState,
    ContainerSummary,
    GraphDriver,
    HealthSummary,
    MountPoint,
    NetworkSettings,
    Port,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from darse.wire.host_config import PortMap


class Sizes(msgspec.Struct, frozen=True):
    """Bytes of a container's own layer, and of that and its image together."""

    own: int
    total: int


def state_of(state: RunState) -> ContainerState:
    """The `State` of an inspect."""
    never_started = state.started_ns == 0
    return ContainerState(
        Status=state.status,
        Running=state.active,
        Paused=state.status is Status.PAUSED,
        Restarting=state.status is Status.RESTARTING,
        OOMKilled=state.oom_killed,
        Dead=False,
        Pid=state.pid if state.alive else 0,
        ExitCode=0 if state.alive else state.exit_code,
        Error=state.error,
        StartedAt=rfc3339(state.started_ns),
        FinishedAt=ZERO if never_started else rfc3339(state.finished_ns),
        Health=msgspec.UNSET if state.health is None else state.health,
    )


def inspect(
    container: Container,
    files: ContainerFiles,
    network: NetworkSettings,
    graph: GraphDriver,
    exec_ids: list[str],
    links: list[str],
    sizes: Sizes | None,
    apparmor: str,
) -> ContainerInspect:
    """The whole of a container."""
    record = container.record
    path, *arguments = record.command or [""]
    return ContainerInspect(
        Id=record.id,
        Created=rfc3339(record.created_ns),
        Path=path,
        Args=arguments,
        State=state_of(container.state),
        Image=record.image_id,
        ResolvConfPath=str(files.resolv_conf),
        HostnamePath=str(files.hostname),
        HostsPath=str(files.hosts),
        LogPath=str(files.log) if record.host.LogConfig.Type != "none" else "",
        Name=f"/{record.name}",
        RestartCount=container.state.restart_count,
        Driver=graph.Name,
        Platform="linux",
        AppArmorProfile=apparmor,
        ExecIDs=exec_ids or None,
        HostConfig=msgspec.structs.replace(record.host, Links=links) if links else record.host,
        GraphDriver=graph,
        SizeRw=sizes.own if sizes else msgspec.UNSET,
        SizeRootFs=sizes.total if sizes else msgspec.UNSET,
        Mounts=mount_points(record.mounts),
        Config=record.config,
        NetworkSettings=network,
    )


def summary(
    container: Container, image: str, network: NetworkSettings, sizes: Sizes | None, link_names: list[str]
) -> ContainerSummary:
    """A list entry; `image` is what its image is called now, `link_names` what others have named it by links."""
    record = container.record
    return ContainerSummary(
        Id=record.id,
        Names=[f"/{record.name}", *link_names],
        Image=image,
        ImageID=record.image_id,
        Command=" ".join(f"'{word}'" if " " in word else word for word in record.command),
        Created=record.created_ns // 1_000_000_000,
        Ports=ports(network.Ports),
        SizeRw=sizes.own if sizes else msgspec.UNSET,
        SizeRootFs=sizes.total if sizes else msgspec.UNSET,
        Labels=record.config.Labels or {},
        State=container.state.status,
        Status=container.state.describe(),
        HostConfig=SummaryHostConfig(NetworkMode=record.host.NetworkMode, Annotations=record.host.Annotations),
        NetworkSettings=SummaryNetworkSettings(network.Networks),
        Mounts=[_listed(point) for point in mount_points(record.mounts)],
        Health=_health(container.state),
    )


def _health(state: RunState) -> HealthSummary:
    """A list's health: that of a container which runs and is checked."""
    if state.health is None or not state.alive:
        return HealthSummary()
    return HealthSummary(state.health.Status, state.health.FailingStreak)


def ports(mapping: PortMap) -> list[Port]:
    """The list's form of the inspect's port map."""
    entries = []
    for key, bindings in mapping.items():
        number, _, protocol = key.partition("/")
        if not bindings:
            entries.append(Port(PrivatePort=int(number), Type=protocol or "tcp"))
        for binding in bindings or ():
            entries.append(
                Port(
                    IP=binding.HostIp,
                    PrivatePort=int(number),
                    PublicPort=int(binding.HostPort or 0),
                    Type=protocol or "tcp",
                )
            )
    return entries


def _listed(point: MountPoint) -> MountPoint:
    """docker's list shows a volume by its name, without the driver's path."""
    if point.Type == "volume":
        return msgspec.structs.replace(point, Source="")
    return point
