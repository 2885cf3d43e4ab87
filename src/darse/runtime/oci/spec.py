"""The OCI runtime spec of a container, whole, in one place.

`build_spec` is pure: what must be looked up on the host comes in `SpecInputs`. Defaults are docker's; where they
are security decisions the reason stands beside them. See config.md and config-linux.md of the OCI runtime spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from darse.linux.proc.userns import IdMaps, IdRange
from darse.runtime.oci import capabilities
from darse.runtime.oci.devices import device_nodes
from darse.runtime.oci.mounts import BindMount, Mounts, TmpfsMount, container_mounts, root_propagation
from darse.runtime.oci.process import Limits, container_process, exec_process
from darse.runtime.oci.resources import linux_resources
from darse.runtime.oci.security import SecurityOptions, read_security_options
from darse.runtime.oci.user import ResolvedUser
from darse.runtime.seccomp import profiles
from darse.runtime.sysinfo import SysInfo
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig

__all__ = [
    "LAST_GROUP",
    "MASKED_PATHS",
    "READONLY_PATHS",
    "BindMount",
    "SharedNamespaces",
    "SpecInputs",
    "TmpfsMount",
    "build_spec",
    "exec_process",
    "masked_paths",
]

# What of the host's kernel a container could read or change through /proc and /sys (moby's oci/defaults.go).
# Counters of interrupts, power and temperature tell what others do (GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p); those
# of temperature are per processor, see HostFacts.
MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Architectures of images whose programs make sockets by socketcall(2) only: Go's and Debian's for 32-bit x86.
_OF_SOCKETCALL: Final = frozenset({"386"})
# Every group there is; in a user namespace the kernel takes those that are mapped only.
LAST_GROUP: Final = 2**31 - 1


class SharedNamespaces(msgspec.Struct, frozen=True):
    """Paths of the namespaces to join; "" makes a new one, None shares the host's.

    A user namespace is always made ahead, see `darse.linux.proc.userns`.
    """

    user: str | None = None
    network: str | None = ""
    pid: str | None = ""
    ipc: str | None = ""
    uts: str | None = ""
    cgroup: str | None = ""


class SpecInputs(msgspec.Struct, frozen=True):
    """All that a spec is made from."""

    config: ContainerConfig
    host: HostConfig
    facts: SysInfo
    rootfs: str
    hostname: str
    cgroup_path: str
    namespaces: SharedNamespaces
    mounts: Mounts
    #: Looked up in the container's root.
    user: ResolvedUser = ResolvedUser()
    shm_source: str = ""
    init_program: str = ""
    seccomp_profile: str = ""
    #: In the words of OCI.
    image_architecture: str = ""
    no_new_privileges: bool = False
    default_ulimits: Limits | None = None
    annotations: dict[str, str] | None = None
    link_variables: Sequence[str] = ()
    #: The ids of the user namespace, where the runtime has to be told them again.
    id_maps: IdMaps | None = None
    #: The highest group that exists in the user namespace.
    last_group: int = LAST_GROUP
    #: Whether whoever has made the network namespace has set what containers find in it.
    network_is_set_up: bool = False


def build_spec(inputs: SpecInputs) -> dict[str, Any]:
    """Return config.json. Raises InvalidParameter for options that the host cannot honour."""
    host, config = inputs.host, inputs.config
    granted = capabilities.effective(
        host.CapAdd or (), host.CapDrop or (), inputs.facts.capabilities, privileged=host.Privileged
    )
    security = read_security_options(host.SecurityOpt)
    nodes = device_nodes(host)
    # An init makes sense as the first process of a namespace only.
    with_init = bool(inputs.init_program) and inputs.namespaces.pid == ""
    linux: dict[str, Any] = {
        "namespaces": _namespaces(inputs.namespaces),
        "resources": linux_resources(host, nodes, inputs.facts),
        "cgroupsPath": inputs.cgroup_path,
        # Nobody makes nodes in a user namespace: there, those of the host are bound (`darse.runtime.remapping`).
        "devices": [] if inputs.namespaces.user else nodes,
        "sysctl": _sysctls(inputs),
        "rootfsPropagation": root_propagation(inputs.mounts),
    }
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": container_process(
            config,
            host,
            inputs.user,
            inputs.facts,
            granted=granted,
            security=security,
            hostname=inputs.hostname,
            with_init=with_init,
            no_new_privileges=inputs.no_new_privileges,
            default_ulimits=inputs.default_ulimits,
            link_variables=inputs.link_variables,
        ),
        "root": {"path": inputs.rootfs, "readonly": host.ReadonlyRootfs},
        "mounts": container_mounts(
            host,
            inputs.mounts,
            shm_source=inputs.shm_source,
            init_program=inputs.init_program if with_init else "",
            writable_cgroups=security.writable_cgroups,
            cgroup_version=inputs.facts.cgroup_version,
            recursive_read_only=inputs.facts.recursive_read_only,
        ),
        "linux": linux,
    }
    if inputs.namespaces.uts == "":
        spec["hostname"] = inputs.hostname
        if config.Domainname:
            linux["sysctl"]["kernel.domainname"] = config.Domainname
    linux |= _id_mappings(inputs.id_maps)
    if not (host.Privileged or security.unmasked):
        linux |= _hidden_paths(host, inputs.facts)
    profile = _seccomp(inputs, security, frozenset(granted))
    if profile is not None:
        linux["seccomp"] = profile
    annotations = {**(inputs.annotations or {}), **(host.Annotations or {})}
    if annotations:
        spec["annotations"] = annotations
    return spec


def _hidden_paths(host: HostConfig, facts: SysInfo) -> dict[str, list[str]]:
    """The paths that a container cannot read, and those that it cannot change."""
    return {
        "maskedPaths": masked_paths(facts) if host.MaskedPaths is None else host.MaskedPaths,
        "readonlyPaths": list(READONLY_PATHS) if host.ReadonlyPaths is None else host.ReadonlyPaths,
    }


def masked_paths(facts: SysInfo) -> list[str]:
    """What is masked on this host when a container does not say it itself."""
    return [*MASKED_PATHS, *facts.thermal_counters]


def _namespaces(shared: SharedNamespaces) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    for kind in ("user", "network", "pid", "ipc", "uts", "cgroup"):
        path = getattr(shared, kind)
        if path is not None:
            namespaces.append({"type": kind, "path": path} if path else {"type": kind})
    return namespaces


def _id_mappings(maps: IdMaps | None) -> dict[str, list[dict[str, int]]]:
    def mappings(ranges: Sequence[IdRange]) -> list[dict[str, int]]:
        return [{"containerID": one.inside, "hostID": one.outside, "size": one.size} for one in ranges]

    return {} if maps is None else {"uidMappings": mappings(maps.users), "gidMappings": mappings(maps.groups)}


def _network_sysctls(last_group: int) -> dict[str, str]:
    """Safe since Linux 4.11 within a network namespace, and what lets an unprivileged server bind port 80."""
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {last_group}"}


def _sysctls(inputs: SpecInputs) -> dict[str, str]:
    sysctls = dict(inputs.host.Sysctls or {})
    # A namespace that is another container's keeps what that one has set.
    own = inputs.namespaces.network is not None and not inputs.host.NetworkMode.startswith("container:")
    if own and not inputs.network_is_set_up:
        sysctls = {**_network_sysctls(inputs.last_group), **sysctls}
    return sysctls


def _seccomp(inputs: SpecInputs, security: SecurityOptions, granted: frozenset[str]) -> msgspec.Raw | None:
    choice = security.seccomp or inputs.seccomp_profile
    if choice == "unconfined" or (inputs.host.Privileged and not security.seccomp):
        return None
    if choice in ("", "builtin"):
        return profiles.default_profile(granted, socketcall=inputs.image_architecture in _OF_SOCKETCALL)
    return profiles.custom_profile(choice, granted)
