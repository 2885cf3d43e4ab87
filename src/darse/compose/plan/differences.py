"""In what a container differs from what its service says: attribute by attribute, with the paths of the file.

What a container shows has the image's defaults and the engine's in it, and those say nothing of the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from darse.wire.containers import ContainerInspect, CreateRequest

_COMPOSE_LABEL = "com.docker.compose."
# The members of a container's configuration by the attributes that they come from; images have them, too.
_CONFIG = {
    "Cmd": "command",
    "Entrypoint": "entrypoint",
    "User": "user",
    "WorkingDir": "working_dir",
    "StopSignal": "stop_signal",
    "Healthcheck": "healthcheck",
}
_OWN_CONFIG = {
    "Image": "image",
    "Domainname": "domainname",
    "Tty": "tty",
    "OpenStdin": "stdin_open",
    "StopTimeout": "stop_grace_period",
}
_HOST = {
    "Annotations": "annotations",
    "Binds": "volumes",
    "BlkioDeviceReadBps": "blkio_config",
    "BlkioDeviceReadIOps": "blkio_config",
    "BlkioDeviceWriteBps": "blkio_config",
    "BlkioDeviceWriteIOps": "blkio_config",
    "BlkioWeight": "blkio_config",
    "BlkioWeightDevice": "blkio_config",
    "CapAdd": "cap_add",
    "CapDrop": "cap_drop",
    "CgroupParent": "cgroup_parent",
    "CpuCount": "cpu_count",
    "CpuPercent": "cpu_percent",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "CpuRealtimePeriod": "cpu_rt_period",
    "CpuRealtimeRuntime": "cpu_rt_runtime",
    "CpuShares": "cpu_shares",
    "CpusetCpus": "cpuset",
    "DeviceCgroupRules": "device_cgroup_rules",
    "DeviceRequests": "gpus",
    "Devices": "devices",
    "Dns": "dns",
    "DnsOptions": "dns_opt",
    "DnsSearch": "dns_search",
    "ExtraHosts": "extra_hosts",
    "GroupAdd": "group_add",
    "Init": "init",
    "Links": "links",
    "Memory": "mem_limit",
    "MemoryReservation": "mem_reservation",
    "MemorySwappiness": "mem_swappiness",
    "Mounts": "volumes",
    "NanoCpus": "cpus",
    "OomScoreAdj": "oom_score_adj",
    "PidMode": "pid",
    "PidsLimit": "pids_limit",
    "PortBindings": "ports",
    "Privileged": "privileged",
    "ReadonlyRootfs": "read_only",
    "RestartPolicy": "restart",
    "SecurityOpt": "security_opt",
    "StorageOpt": "storage_opt",
    "Sysctls": "sysctls",
    "Tmpfs": "tmpfs",
    "UTSMode": "uts",
    "Ulimits": "ulimits",
    "UsernsMode": "userns_mode",
    "VolumesFrom": "volumes_from",
}
# What the engine fills in: compared only where the service says something.
_FILLED = {
    "CgroupnsMode": "cgroup",
    "IpcMode": "ipc",
    "Isolation": "isolation",
    "LogConfig": "logging",
    "MemorySwap": "memswap_limit",
    "NetworkMode": "network_mode",
    "OomKillDisable": "oom_kill_disable",
    "Runtime": "runtime",
    "ShmSize": "shm_size",
}


@dataclass(frozen=True)
class AttributeDifference:
    """One attribute, by its path below the service; `before` and `after` are None where it is not there."""

    path: tuple[str, ...]
    before: Any
    after: Any


def differences(
    desired: CreateRequest, actual: ContainerInspect, image: Mapping[str, Any]
) -> list[AttributeDifference]:
    """What differs, attribute by attribute. `image` is `Config` of the image that the container is of."""
    required, config = _plain(desired), _plain(actual.Config)
    host, required_host = _plain(actual.HostConfig), required["HostConfig"]
    found = [
        *_mapping("environment", _variables(required), _variables(config), _variables(image)),
        *_mapping("labels", _labels(required), _labels(config), image.get("Labels") or {}),
    ]
    for member, attribute in _CONFIG.items():
        inherited = image.get(member) if member != "Cmd" or not required.get("Entrypoint") else None
        found += _one(attribute, config.get(member), required.get(member) or inherited)
    for member, attribute in _OWN_CONFIG.items():
        found += _one(attribute, config.get(member), required.get(member))
    if required.get("Hostname"):
        found += _one("hostname", config.get("Hostname"), required["Hostname"])
    for member, attribute in _HOST.items():
        found += _one(attribute, host.get(member), required_host.get(member))
    for member, attribute in _FILLED.items():
        if _trimmed(required_host.get(member)):
            found += _one(attribute, host.get(member), required_host[member])
    found += _networks(required, actual)
    return list({one.path: one for one in found}.values())


def _plain(part: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(part)
    return plain


def _variables(config: Mapping[str, Any]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in config.get("Env") or ())


def _labels(config: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in (config.get("Labels") or {}).items() if not key.startswith(_COMPOSE_LABEL)}


def _mapping(
    attribute: str, required: Mapping[str, str], there: Mapping[str, str], image: Mapping[str, str]
) -> Iterator[AttributeDifference]:
    """Entries that differ; one that only the image has is no entry of the service."""
    for key in sorted(required.keys() | there.keys()):
        before = there.get(key)
        after = required.get(key, image.get(key))
        if before != after:
            yield AttributeDifference((attribute, key), before, after)


def _one(attribute: str, before: Any, after: Any) -> list[AttributeDifference]:
    before, after = _trimmed(before), _trimmed(after)
    return [] if before == after else [AttributeDifference((attribute,), before, after)]


def _trimmed(value: Any) -> Any:
    """A value without what is empty in it; None for one that says nothing."""
    if isinstance(value, Mapping):
        # An option that is empty is none, but a port that is published has an empty address.
        return {key: found for key, one in value.items() if (found := _trimmed(one)) is not None} or None
    if isinstance(value, list):
        return [found for one in value if (found := _trimmed(one)) is not None] or None
    if value in ("no", "default"):
        return None
    return value or None


def _networks(required: Mapping[str, Any], actual: ContainerInspect) -> Iterator[AttributeDifference]:
    endpoints = required["NetworkingConfig"].get("EndpointsConfig")
    if not endpoints:
        return
    there = set(actual.NetworkSettings.Networks)
    for name in sorted(there ^ set(endpoints)):
        is_there = name in there
        yield AttributeDifference(("networks", name), name if is_there else None, None if is_there else name)
