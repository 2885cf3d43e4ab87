"""The OCI runtime spec of a container, whole, in one place.

`build_spec` is pure: what must be looked up on the host comes in `SpecInputs`. Defaults are docker's; where they
are security decisions the reason stands beside them. See config.md and config-linux.md of the OCI runtime spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from darse.runtime import capabilities, seccomp
from darse.runtime.container_mounts import BindMount, Mounts, TmpfsMount, container_mounts, root_propagation
from darse.runtime.devices import device_nodes
from darse.runtime.hostfacts import HostFacts
from darse.runtime.process import Limits, container_process, exec_process
from darse.runtime.resources import linux_resources
from darse.runtime.security import SecurityOptions, read_security_options
from darse.runtime.user import ResolvedUser
from darse.wire.containers import ContainerConfig, HostConfig

__all__ = [
    "MASKED_PATHS",
    "READONLY_PATHS",
    "BindMount",
    "SharedNamespaces",
    "SpecInputs",
    "TmpfsMount",
    "build_spec",
    "exec_process",
]

# What of the host's kernel a container could read or change through /proc and /sys (moby's oci/defaults.go).
MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Safe since Linux 4.11 within a network namespace, and what lets an unprivileged server bind port 80.
_NETWORK_SYSCTLS: Final = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


class SharedNamespaces(msgspec.Struct, frozen=True):
    """Paths of the namespaces to join; "" makes a new one, None shares the host's."""

    network: str | None = ""
    pid: str | None = ""
    ipc: str | None = ""
    uts: str | None = ""
    cgroup: str | None = ""


class SpecInputs(msgspec.Struct, frozen=True):
    """All that a spec is made from."""

    config: ContainerConfig
    host: HostConfig
    facts: HostFacts
    user: ResolvedUser
    rootfs: str
    hostname: str
    cgroup_path: str
    namespaces: SharedNamespaces
    mounts: Mounts
    shm_source: str = ""
    init_program: str = ""
    seccomp_profile: str = ""
    no_new_privileges: bool = False
    default_ulimits: Limits | None = None
    annotations: dict[str, str] | None = None
    link_variables: Sequence[str] = ()


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
        "devices": nodes,
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
            recursive_read_only=inputs.facts.recursive_read_only,
        ),
        "linux": linux,
    }
    if inputs.namespaces.uts == "":
        spec["hostname"] = inputs.hostname
        if config.Domainname:
            linux["sysctl"]["kernel.domainname"] = config.Domainname
    if not (host.Privileged or security.unmasked):
        linux["maskedPaths"] = list(MASKED_PATHS) if host.MaskedPaths is None else host.MaskedPaths
        linux["readonlyPaths"] = list(READONLY_PATHS) if host.ReadonlyPaths is None else host.ReadonlyPaths
    profile = _seccomp(inputs, security, frozenset(granted))
    if profile is not None:
        linux["seccomp"] = profile
    annotations = {**(inputs.annotations or {}), **(host.Annotations or {})}
    if annotations:
        spec["annotations"] = annotations
    return spec


def _namespaces(shared: SharedNamespaces) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    for kind in ("network", "pid", "ipc", "uts", "cgroup"):
        path = getattr(shared, kind)
        if path is not None:
            namespaces.append({"type": kind, "path": path} if path else {"type": kind})
    return namespaces


def _sysctls(inputs: SpecInputs) -> dict[str, str]:
    wanted = dict(inputs.host.Sysctls or {})
    # A namespace that is another container's keeps what that one has set.
    if inputs.namespaces.network is not None and not inputs.host.NetworkMode.startswith("container:"):
        wanted = {**_NETWORK_SYSCTLS, **wanted}
    return wanted


def _seccomp(inputs: SpecInputs, security: SecurityOptions, granted: frozenset[str]) -> msgspec.Raw | None:
    choice = security.seccomp or inputs.seccomp_profile
    if choice == "unconfined" or (inputs.host.Privileged and not security.seccomp):
        return None
    if choice in ("", "builtin"):
        return seccomp.default_profile(granted)
    return seccomp.custom_profile(choice, granted)
