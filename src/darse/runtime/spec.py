"""The OCI runtime spec of a container, whole, in one place; and the process of an exec.

`build_spec` is pure: what must be looked up on the host comes in `SpecInputs`. Defaults are docker's; where they
are security decisions the reason stands beside them. See config.md and config-linux.md of the OCI runtime spec.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from darse.engine.errors import InvalidParameter, SystemFault
from darse.runtime import capabilities, seccomp
from darse.runtime.devices import device_nodes
from darse.runtime.hostfacts import RLIMITS, HostFacts
from darse.runtime.resources import linux_resources
from darse.runtime.user import ResolvedUser
from darse.wire.containers import ContainerConfig, ExecConfig, HostConfig

DEFAULT_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH: Final = "/sbin/docker-init"

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


@dataclass(frozen=True)
class BindMount:
    """A path of the host shown in the container."""

    source: str
    destination: str
    writable: bool
    propagation: str
    recursive: bool = True


@dataclass(frozen=True)
class TmpfsMount:
    """Memory shown as a directory."""

    destination: str
    options: Sequence[str]


@dataclass(frozen=True)
class SharedNamespaces:
    """Paths of the namespaces to join; "" makes a new one, None shares the host's."""

    network: str | None = ""
    pid: str | None = ""
    ipc: str | None = ""
    uts: str | None = ""
    cgroup: str | None = ""


@dataclass(frozen=True)
class SpecInputs:
    """All that a spec is made from."""

    config: ContainerConfig
    host: HostConfig
    facts: HostFacts
    user: ResolvedUser
    rootfs: str
    hostname: str
    cgroup_path: str
    namespaces: SharedNamespaces
    mounts: Sequence[BindMount | TmpfsMount]
    shm_source: str = ""
    init_program: str = ""
    seccomp_profile: str = ""
    no_new_privileges: bool = False
    default_ulimits: dict[str, tuple[int, int]] | None = None
    annotations: dict[str, str] | None = None


@dataclass(frozen=True)
class SecurityOptions:
    """`--security-opt`, read."""

    seccomp: str = ""
    apparmor: str = ""
    no_new_privileges: bool = False
    unmasked: bool = False
    label_disabled: bool = False


def read_security_options(options: Iterable[str] | None) -> SecurityOptions:
    """Read `--security-opt`. Raises InvalidParameter."""
    found: dict[str, Any] = {}
    for option in options or ():
        # Both `key=value` and the older `key:value`.
        separator = "=" if "=" in option else ":"
        key, given, value = option.partition(separator)
        if option == "no-new-privileges":
            found["no_new_privileges"] = True
        elif key == "no-new-privileges" and value in ("true", "false"):
            found["no_new_privileges"] = value == "true"
        elif option in ("label=disable", "label:disable") or key == "label":
            found["label_disabled"] = True
        elif key == "seccomp" and given:
            found["seccomp"] = value
        elif key == "apparmor" and given:
            found["apparmor"] = value
        elif key == "systempaths" and value == "unconfined":
            found["unmasked"] = True
        elif key == "writable-cgroups" and value in ("true", "false"):
            continue
        else:
            raise InvalidParameter(f"invalid --security-opt 2: {json_text(option)}")
    return SecurityOptions(**found)


def json_text(text: str) -> str:
    """A string in quotes, as Go's %q prints it."""
    return msgspec.json.encode(text).decode()


def build_spec(inputs: SpecInputs) -> dict[str, Any]:
    """Return config.json. Raises InvalidParameter for options that the host cannot honour."""
    host = inputs.host
    granted = capabilities.effective(
        host.CapAdd or (), host.CapDrop or (), inputs.facts.capabilities, privileged=host.Privileged
    )
    security = read_security_options(host.SecurityOpt)
    nodes = device_nodes(host)
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _process(inputs, granted, security),
        "root": {"path": inputs.rootfs, "readonly": host.ReadonlyRootfs},
        "mounts": _mounts(inputs),
        "linux": {
            "namespaces": _namespaces(inputs.namespaces),
            "resources": linux_resources(host, nodes),
            "cgroupsPath": inputs.cgroup_path,
            "devices": nodes,
            "sysctl": _sysctls(inputs),
            "rootfsPropagation": _root_propagation(inputs.mounts),
        },
    }
    if inputs.namespaces.uts == "":
        spec["hostname"] = inputs.hostname
        if inputs.config.Domainname:
            spec["linux"]["sysctl"]["kernel.domainname"] = inputs.config.Domainname
    if not (host.Privileged or security.unmasked):
        spec["linux"]["maskedPaths"] = list(MASKED_PATHS) if host.MaskedPaths is None else host.MaskedPaths
        spec["linux"]["readonlyPaths"] = list(READONLY_PATHS) if host.ReadonlyPaths is None else host.ReadonlyPaths
    profile = _seccomp(inputs, security, frozenset(granted))
    if profile is not None:
        spec["linux"]["seccomp"] = profile
    annotations = {**(inputs.annotations or {}), **(host.Annotations or {})}
    if annotations:
        spec["annotations"] = annotations
    return spec


def _process(inputs: SpecInputs, granted: list[str], security: SecurityOptions) -> dict[str, Any]:
    config, host, user = inputs.config, inputs.host, inputs.user
    arguments = [*(config.Entrypoint or ()), *(config.Cmd or ())]
    if not arguments:
        raise InvalidParameter("no command specified")
    if inputs.init_program:
        arguments = [INIT_PATH, "--", *arguments]
    process: dict[str, Any] = {
        "terminal": config.Tty,
        "user": _user(user),
        "args": arguments,
        "env": environment(config, user, hostname=inputs.hostname),
        "cwd": config.WorkingDir or "/",
        "capabilities": _capability_sets(granted, user),
        "noNewPrivileges": security.no_new_privileges or inputs.no_new_privileges,
        "oomScoreAdj": _oom_score(host.OomScoreAdj, inputs.facts),
        "rlimits": _rlimits(inputs),
    }
    if config.Tty and host.ConsoleSize and len(host.ConsoleSize) == 2 and all(host.ConsoleSize):
        process["consoleSize"] = {"height": host.ConsoleSize[0], "width": host.ConsoleSize[1]}
    if security.apparmor and inputs.facts.apparmor:
        process["apparmorProfile"] = security.apparmor
    return process


def _user(user: ResolvedUser) -> dict[str, Any]:
    described: dict[str, Any] = {"uid": user.uid, "gid": user.gid}
    # The process's own group is among the supplementary ones, as initgroups(3) has it (CVE-2022-36109).
    described["additionalGids"] = [user.gid, *(gid for gid in user.additional_gids if gid != user.gid)]
    return described


def _capability_sets(granted: list[str], user: ResolvedUser) -> dict[str, list[str]]:
    # Inheritable stays empty: a file capability in the image must not revive a dropped one (CVE-2022-24769).
    sets = {"bounding": granted, "permitted": granted, "effective": granted}
    return sets if user.uid == 0 else {"bounding": granted}


def environment(config: ContainerConfig, user: ResolvedUser, *, hostname: str, extra: Sequence[str] = ()) -> list[str]:
    """The process's environment: docker's defaults, then the container's, then `extra`; a bare name unsets."""
    entries = {"PATH": DEFAULT_PATH, "HOSTNAME": f"HOSTNAME={hostname}"}
    if config.Tty:
        entries["TERM"] = "TERM=xterm"
    for entry in [*(config.Env or ()), *extra]:
        name, equals, _ = entry.partition("=")
        if equals:
            entries[name] = entry
        else:
            entries.pop(name, None)
    entries.setdefault("HOME", f"HOME={user.home}")
    return list(entries.values())


def _oom_score(wanted: int, facts: HostFacts) -> int:
    # Below the engine's own score needs CAP_SYS_RESOURCE; without it the write would fail the whole start.
    if wanted < 0 and not facts.may_raise_limits:
        return 0
    return wanted


def _rlimits(inputs: SpecInputs) -> list[dict[str, Any]]:
    wanted = dict(inputs.default_ulimits or {})
    for ulimit in inputs.host.Ulimits or ():
        wanted[ulimit.Name] = (ulimit.Soft, ulimit.Hard)
    limits = []
    for name, (soft, hard) in wanted.items():
        ceiling = inputs.facts.limits.get(name, -1)
        if not inputs.facts.may_raise_limits and ceiling >= 0:
            # A hard limit above the engine's own would fail the start (setrlimit(2), EPERM).
            hard = ceiling if hard < 0 or hard > ceiling else hard  # noqa: PLW2901
            soft = hard if soft < 0 or soft > hard else soft  # noqa: PLW2901
        limits.append(
            {
                "type": f"RLIMIT_{name.upper()}",
                "soft": soft if soft >= 0 else 2**64 - 1,
                "hard": hard if hard >= 0 else 2**64 - 1,
            }
        )
    return limits


def known_ulimit(name: str) -> bool:
    """Whether the kernel has a limit of this name."""
    return name in RLIMITS


def _mounts(inputs: SpecInputs) -> list[dict[str, Any]]:
    host = inputs.host
    cgroup_writable = host.Privileged
    mounts: list[dict[str, Any]] = [
        _mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
        _mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _sys_mount(inputs),
        _mount("cgroup", "cgroup", "/sys/fs/cgroup", "rw" if cgroup_writable else "ro", "nosuid", "noexec", "nodev"),
    ]
    if inputs.namespaces.ipc == "":
        mounts.append(_mount("mqueue", "mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"))
    user_mounts = {posixpath.normpath(mount.destination) for mount in inputs.mounts}
    if "/dev/shm" not in user_mounts:  # noqa: S108 - the container's
        mounts.append(_shm(inputs))
    if inputs.init_program:
        mounts.append(_bind(BindMount(inputs.init_program, INIT_PATH, writable=False, propagation="rprivate")))
    mounts = [mount for mount in mounts if mount["destination"] not in user_mounts]
    for mount in inputs.mounts:
        if isinstance(mount, TmpfsMount):
            mounts.append(_mount("tmpfs", "tmpfs", mount.destination, *mount.options))
        else:
            mounts.append(_bind(mount))
    return mounts


def _sys_mount(inputs: SpecInputs) -> dict[str, Any]:
    # A new sysfs shows the network namespace it is mounted in; mounting one for the host's is refused by the kernel
    # without CAP_SYS_ADMIN over it, but we are its owner.
    access = "rw" if inputs.host.Privileged else "ro"
    return _mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", access)


def _shm(inputs: SpecInputs) -> dict[str, Any]:
    if inputs.shm_source:
        return _bind(BindMount(inputs.shm_source, "/dev/shm", writable=True, propagation="rprivate"))  # noqa: S108
    size = inputs.host.ShmSize
    return _mount("tmpfs", "shm", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={size}")  # noqa: S108


def _mount(kind: str, source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"type": kind, "source": source, "destination": destination, "options": list(options)}


def _bind(mount: BindMount) -> dict[str, Any]:
    options = ["rbind" if mount.recursive else "bind", "rw" if mount.writable else "ro"]
    if mount.propagation:
        options.append(mount.propagation)
    return {"type": "bind", "source": mount.source, "destination": mount.destination, "options": options}


def _root_propagation(mounts: Sequence[BindMount | TmpfsMount]) -> str:
    """A bind that sends or receives mount events needs a root that lets them through."""
    modes = {mount.propagation for mount in mounts if isinstance(mount, BindMount)}
    if modes & {"shared", "rshared"}:
        return "shared"
    if modes & {"slave", "rslave"}:
        return "slave"
    return "private"


def _namespaces(shared: SharedNamespaces) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    for kind in ("network", "pid", "ipc", "uts", "cgroup"):
        path = getattr(shared, kind)
        if path is not None:
            namespaces.append({"type": kind, "path": path} if path else {"type": kind})
    return namespaces


def _sysctls(inputs: SpecInputs) -> dict[str, str]:
    wanted = dict(inputs.host.Sysctls or {})
    if inputs.namespaces.network is not None:
        wanted = {**_NETWORK_SYSCTLS, **wanted}
    return wanted


def _seccomp(inputs: SpecInputs, security: SecurityOptions, granted: frozenset[str]) -> msgspec.Raw | None:
    choice = security.seccomp or inputs.seccomp_profile
    if choice == "unconfined" or (inputs.host.Privileged and not security.seccomp):
        return None
    if choice in ("", "builtin"):
        return seccomp.default_profile(granted)
    return seccomp.custom_profile(choice, granted)


def exec_process(
    exec_config: ExecConfig,
    config: ContainerConfig,
    host: HostConfig,
    user: ResolvedUser,
    *,
    facts: HostFacts,
    hostname: str,
) -> dict[str, Any]:
    """Return process.json of an exec: the container's limits and environment, and what the exec adds."""
    granted = capabilities.effective(
        host.CapAdd or (),
        host.CapDrop or (),
        facts.capabilities,
        privileged=host.Privileged or exec_config.Privileged,
    )
    if not exec_config.Cmd:
        raise SystemFault("an exec without a command was stored")
    environment_config = msgspec.structs.replace(config, Tty=exec_config.Tty)
    process: dict[str, Any] = {
        "terminal": exec_config.Tty,
        "user": _user(user),
        "args": exec_config.Cmd,
        "env": environment(environment_config, user, hostname=hostname, extra=exec_config.Env or ()),
        "cwd": exec_config.WorkingDir or config.WorkingDir or "/",
        "capabilities": _capability_sets(granted, user),
        "noNewPrivileges": read_security_options(host.SecurityOpt).no_new_privileges,
    }
    if exec_config.Tty and exec_config.ConsoleSize and all(exec_config.ConsoleSize):
        process["consoleSize"] = {"height": exec_config.ConsoleSize[0], "width": exec_config.ConsoleSize[1]}
    return process
