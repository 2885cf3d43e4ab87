"""docker's records, as what the engine's services are asked for. Pure functions, but for the times of a container."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import msgspec

from darse.containers.lifecycle.adopt import AdoptedContainer
from darse.containers.lifecycle.create import Fill
from darse.containers.model import RunState, Status
from darse.core.errors import InvalidParameter
from darse.core.times import parse_time
from darse.docker_import.records import (
    DockerContainer,
    DockerEndpoint,
    DockerMountPoint,
    DockerNetwork,
    IPAMData,
    IPAMPool,
    decoded,
)
from darse.volumes.mounts import MountPlan, parse_mount
from darse.wire.containers import CreateRequest, NetworkingConfig
from darse.wire.host_config import BindOptions, HostConfig, Mount
from darse.wire.networks import IPAM, ConfigReference, EndpointSettings, IPAMConfig, NetworkCreate

_GENERIC = "com.docker.network.generic"
# Go's zero time, which docker writes for what never was.
_NEVER = "0001-"


def network_request(found: DockerNetwork, *, chosen: bool = True) -> NetworkCreate:
    """What to ask for to get the network, with the subnets that it had; `chosen`: also with those that docker chose."""
    what = f"the record of network {found.name}"
    four, six = (found.ipamV4Info, found.ipamV6Info) if chosen else ("", "")
    pools = [
        *_pools(found.ipamV4Config, four, what),
        *(_pools(found.ipamV6Config, six, what) if found.enableIPv6 else ()),
    ]
    options = found.generic.get(_GENERIC, {})
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise InvalidParameter(f"{what} is damaged: its options are none")
    return NetworkCreate(
        Name=found.name,
        Driver=found.networkType,
        Internal=found.internal,
        Attachable=found.attachable,
        ConfigOnly=found.configOnly,
        ConfigFrom=ConfigReference(found.configFrom) if found.configFrom else None,
        IPAM=IPAM(found.ipamType or "default", found.ipamOptions, [] if found.configFrom else pools),
        EnableIPv6=found.enableIPv6,
        Options=dict(options),
        Labels=found.labels,
    )


def _pools(asked: str, given: str, what: str) -> list[IPAMConfig]:
    """The pools of a family. `given` has what each became; without it, it is what was asked for that counts."""
    requested = decoded(asked, list[IPAMPool], what) if asked else []
    became = [
        decoded(one.IPAMData, IPAMData, what)
        for one in (decoded(given, list[IPAMPool], what) if given else [])
        if one.IPAMData
    ]
    pools = []
    for index in range(max(len(requested), len(became))):
        pool = requested[index] if index < len(requested) else IPAMPool()
        real = became[index] if index < len(became) else IPAMData()
        subnet = pool.PreferredPool or real.Pool
        gateway = pool.Gateway or real.Gateway.partition("/")[0]
        if subnet:
            pools.append(IPAMConfig(_subnet(subnet, what), pool.SubPool, gateway, pool.AuxAddresses or None))
    return pools


def _subnet(text: str, what: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise InvalidParameter(f"{what} is damaged: {error}") from error


def adopted(found: DockerContainer, host: HostConfig, fill: Fill) -> AdoptedContainer:
    """What to ask for to get the container, whose files `fill` copies."""
    fields = {name: getattr(found.Config, name) for name in found.Config.__struct_fields__}
    # Of a container without a network mode of its own docker says `default`.
    endpoints = {
        "bridge" if name == "default" else name: _endpoint(one) for name, one in found.NetworkSettings.Networks.items()
    }
    request = CreateRequest(**fields, HostConfig=host, NetworkingConfig=NetworkingConfig(endpoints))
    return AdoptedContainer(
        id=found.ID,
        name=found.Name.removeprefix("/"),
        created_ns=_time(found.Created),
        image_id=found.Image,
        image_reference=found.Config.Image or found.Image,
        request=request,
        mounts=list(_mounts(found, host)),
        state=_state(found),
        fill=fill,
    )


def _endpoint(found: DockerEndpoint) -> EndpointSettings:
    return EndpointSettings(
        IPAMConfig=found.IPAMConfig,
        Links=found.Links or None,
        Aliases=found.Aliases or None,
        DriverOpts=found.DriverOpts or None,
        GwPriority=found.GwPriority,
    )


def _mounts(found: DockerContainer, host: HostConfig) -> Iterable[MountPlan]:
    named = {destination for text in host.Binds or () for destination in text.split(":")[1:2]}
    named |= {mount.Target for mount in host.Mounts or ()}
    for one in found.MountPoints.values():
        if one.Type not in ("volume", "bind") or not one.Destination:
            continue
        is_own = one.Destination not in named and one.Destination in (found.Config.Volumes or {})
        plan = _mount(one)
        plan.anonymous = one.Type == "volume" and is_own
        plan.from_container = one.Destination not in named and not is_own
        yield plan


def _mount(one: DockerMountPoint) -> MountPlan:
    """One mount, held to what is asked of every mount. Raises InvalidParameter."""
    if one.Type == "bind":
        options = BindOptions(Propagation=one.Propagation) if one.Propagation else None
        return parse_mount(
            Mount(Type="bind", Source=one.Source, Target=one.Destination, ReadOnly=not one.RW, BindOptions=options)
        )
    plan = parse_mount(Mount(Type="volume", Source=one.Name, Target=one.Destination, ReadOnly=not one.RW))
    plan.driver, plan.mode = one.Driver or "local", ""
    return plan


def _state(found: DockerContainer) -> RunState:
    state = found.State
    started = _time(state.StartedAt)
    if not started:
        return RunState(Status.CREATED)
    # A container that ran when its engine was killed has ended with it.
    return RunState(
        Status.EXITED,
        exit_code=137 if state.Running else state.ExitCode,
        error=state.Error,
        started_ns=started,
        finished_ns=max(started, _time(state.FinishedAt)),
        oom_killed=state.OOMKilled,
        restart_count=found.RestartCount,
        manually_stopped=found.HasBeenManuallyStopped,
    )


def _time(text: str) -> int:
    return 0 if not text or text.startswith(_NEVER) else max(0, parse_time(text, "time"))


def is_started(found: DockerContainer, host: HostConfig) -> bool:
    """Whether docker would start the container with itself."""
    policy = host.RestartPolicy.Name
    return policy == "always" or (policy == "unless-stopped" and not found.HasBeenManuallyStopped)


def depends_on(found: DockerContainer, host: HostConfig) -> set[str]:
    """Names and ids of the containers that must be there before this one."""
    modes = (host.NetworkMode, host.IpcMode, host.PidMode)
    used = {mode.partition(":")[2] for mode in modes if mode.startswith("container:")}
    used |= {text.partition(":")[0] for text in (*(host.VolumesFrom or ()), *(host.Links or ()))}
    return {one.removeprefix("/") for one in used} - {found.ID, found.Name.removeprefix("/")}


def without_volumes_from(host: HostConfig) -> HostConfig:
    """The same, for what other containers gave is among the mounts already."""
    return msgspec.structs.replace(host, VolumesFrom=None)
