"""What a container may be asked to be: every check that needs no other object, in docker's words.

What passes here reaches the runtime and files that the container reads, whose errors come late and read badly; so
names are known, strings that go to the kernel hold no NUL, and what becomes a line of a file holds no line break.
"""

from __future__ import annotations

import ipaddress
import os
import posixpath
import re
from collections.abc import Iterable, Mapping

from darse.core.errors import InvalidParameter
from darse.runtime.oci import capabilities
from darse.runtime.oci.cdi import check_request
from darse.runtime.oci.security import read_security_options
from darse.runtime.oci.validate_resources import check_resources
from darse.runtime.seccomp.profiles import custom_profile
from darse.runtime.sysinfo import SysInfo
from darse.wire.containers import ContainerConfig, HealthConfig
from darse.wire.execs import ExecConfig
from darse.wire.host_config import HostConfig

_LARGEST = 2**63 - 1
# execve(2): MAX_ARG_STRLEN, 32 pages, with the final NUL.
_LONGEST_ARGUMENT = 32 * 4096 - 1
_HOSTNAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?\Z")
_DOMAIN = re.compile(r"[^\s#]+\Z")
_SYSCTL = re.compile(r"[a-z0-9_]+([./][a-zA-Z0-9_-]+)+\Z")
_NAMESPACED_SYSCTLS = frozenset(
    {
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    }
)


def check_config(config: ContainerConfig) -> None:
    """Raise InvalidParameter for a container configuration that can never run."""
    _check_words("Cmd", config.Cmd)
    _check_words("Entrypoint", config.Entrypoint)
    _check_text("User", config.User)
    _check_working_directory(config.WorkingDir)
    if config.Hostname and (len(config.Hostname) > 63 or _HOSTNAME.match(config.Hostname) is None):
        raise InvalidParameter(f"invalid hostname format: {config.Hostname}")
    if config.Domainname:
        _check_text("Domainname", config.Domainname)
        if len(config.Domainname.encode()) > 64 or _DOMAIN.match(config.Domainname) is None:
            raise InvalidParameter(f"invalid domainname: {config.Domainname}")
    check_environment(config.Env)
    for label, value in (config.Labels or {}).items():
        _check_text("Labels", label)
        _check_text("Labels", value)
    if config.StopTimeout is not None and not -1 <= config.StopTimeout <= 2**31:
        raise InvalidParameter(f"invalid StopTimeout: {config.StopTimeout}")
    if config.Healthcheck is not None:
        _check_health(config.Healthcheck)


def check_together(config: ContainerConfig, host: HostConfig, macs: Iterable[str] = ()) -> None:
    """Raise InvalidParameter for options of a request that exclude each other.

    `config` is the request's, without its image's: what an image exposes is no option. `macs` are the hardware
    addresses that its endpoints ask for.
    """
    if host.UTSMode == "host" and (config.Hostname or config.Domainname):
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if host.NetworkMode == "host" and host.Links:
        raise InvalidParameter(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if not host.NetworkMode.startswith("container:"):
        return
    conflicts = (
        (config.Hostname, "hostname and the network mode"),
        (host.Links, "container type network can't be used with links. This would result in undefined behavior"),
        (host.Dns, "dns and the network mode"),
        (host.ExtraHosts, "custom host-to-IP mapping and the network mode"),
        (config.MacAddress or any(macs), "mac-address and the network mode"),
        (host.PortBindings or host.PublishAllPorts, "port publishing and the container type network mode"),
        (config.ExposedPorts, "port exposing and the container type network mode"),
    )
    for given, what in conflicts:
        if given:
            raise InvalidParameter(f"conflicting options: {what}")


def check_exec(config: ExecConfig) -> None:
    """Raise InvalidParameter for an exec that no start could say more about: see `launchable` for the others."""
    if not config.Cmd:
        raise InvalidParameter("No exec command specified")
    _check_words("Cmd", config.Cmd)
    _check_text("User", config.User)
    _check_text("WorkingDir", config.WorkingDir)
    _check_path("working directory", config.WorkingDir)
    check_environment(config.Env)
    check_console(config.ConsoleSize)


def check_environment(entries: Iterable[str] | None) -> None:
    """Raise InvalidParameter for an entry without a name."""
    for entry in entries or ():
        _check_argument("Env", entry)
        if not entry.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {entry}")


def _check_working_directory(path: str) -> None:
    _check_text("WorkingDir", path)
    if path and not path.startswith("/"):
        raise InvalidParameter(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    _check_path("working directory", path)


def _check_health(health: HealthConfig) -> None:
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = getattr(health, name)
        if value < 0 or 0 < value < 1_000_000:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
        if value > _LARGEST:
            raise InvalidParameter(f"{name} in Healthcheck is too large")
    if health.Retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    if health.Test and health.Test[0] not in ("NONE", "CMD", "CMD-SHELL", ""):
        raise InvalidParameter(f"Unknown healthcheck type {health.Test[0]!r} (expected 'CMD', 'CMD-SHELL' or 'NONE')")
    _check_words("Healthcheck", health.Test)


def check_host(host: HostConfig, facts: SysInfo, runtimes: Mapping[str, object]) -> list[str]:
    """Check the host configuration; return warnings about what this host cannot do, which is taken out of `host`.

    Raises InvalidParameter.
    """
    warnings: list[str] = []
    check_resources(host, facts, warnings)
    capabilities.check(host.CapAdd or (), host.CapDrop or (), facts.capabilities)
    _check_security(host, facts)
    check_restart(host)
    for key, value in (host.Sysctls or {}).items():
        _check_sysctl(host, key, value)
    if host.Runtime and host.Runtime not in runtimes:
        raise InvalidParameter(f"unknown or invalid runtime name: {host.Runtime}")
    if host.Isolation not in ("", "default"):
        raise InvalidParameter(f'invalid isolation "{host.Isolation}" on linux')
    for request in host.DeviceRequests or ():
        check_request(request)
    _check_namespaces(host)
    if host.StorageOpt:
        raise InvalidParameter("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    _check_names(host)
    _check_words("GroupAdd", host.GroupAdd)
    for path in [*(host.MaskedPaths or ()), *(host.ReadonlyPaths or ())]:
        _check_text("MaskedPaths", path)
        if not path.startswith("/") or posixpath.normpath(path) in ("/", "//") or "/../" in f"{path}/":
            raise InvalidParameter(f"invalid masked or read-only path: {path!r}: must be an absolute path below /")
        _check_path("masked or read-only path", path)
    for key, value in (host.Annotations or {}).items():
        _check_text("Annotations", key)
        _check_text("Annotations", value)
        if not key:
            raise InvalidParameter("invalid Annotations: the empty string is not permitted as an annotation key")
    check_console(host.ConsoleSize)
    return warnings


def check_remapped(host: HostConfig) -> None:
    """Raise InvalidParameter for what a container in a user namespace cannot be given."""
    if host.Privileged:
        raise InvalidParameter(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace "
            "when running privileged mode"
        )
    if host.NetworkMode == "host":
        raise InvalidParameter("cannot share the host's network namespace when user namespaces are enabled")
    if host.PidMode == "host":
        raise InvalidParameter("cannot share the host PID namespace when user namespaces are enabled")


def check_console(size: list[int] | None) -> None:
    """Raise InvalidParameter for what is no size of a terminal."""
    if size is not None and (len(size) not in (0, 2) or not all(0 <= one <= 65535 for one in size)):
        raise InvalidParameter("ConsoleSize must be [height, width], each at most 65535")


def _check_security(host: HostConfig, facts: SysInfo) -> None:
    security = read_security_options(host.SecurityOpt)
    if security.seccomp not in ("", "unconfined", "builtin"):
        custom_profile(security.seccomp, frozenset())
    if security.apparmor:
        _check_text("apparmor", security.apparmor)
        if security.apparmor != "unconfined" and not facts.apparmor:
            raise InvalidParameter(
                f"AppArmor is not enabled on this host: the profile {security.apparmor} cannot be applied"
            )


def check_restart(host: HostConfig) -> None:
    """Raise InvalidParameter for a restart policy that makes no sense."""
    policy = host.RestartPolicy
    if policy.Name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{policy.Name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if policy.MaximumRetryCount < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    if policy.MaximumRetryCount and policy.Name != "on-failure":
        raise InvalidParameter("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if policy.MaximumRetryCount > 2**31:
        raise InvalidParameter("invalid restart policy: maximum retry count is too large")
    if host.AutoRemove and policy.Name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def _check_sysctl(host: HostConfig, key: str, value: str) -> None:
    _check_text("Sysctls", value)
    if _SYSCTL.match(key) is None:
        raise InvalidParameter(f"sysctl '{key}' is not allowed")
    name = key.replace("/", ".")
    if name in _NAMESPACED_SYSCTLS or name.startswith("fs.mqueue."):
        if host.IpcMode == "host":
            raise InvalidParameter(f"sysctl '{key}' is not allowed as ipc mode is host")
    elif name == "kernel.domainname":
        if host.UTSMode == "host":
            raise InvalidParameter(f"sysctl '{key}' is not allowed as UTS mode is host")
    elif name.startswith("net."):
        if host.NetworkMode == "host":
            raise InvalidParameter(f"sysctl '{key}' is not allowed in the host network namespace")
    else:
        raise InvalidParameter(f"sysctl '{key}' is not in a separate kernel namespace")
    # Settings of interfaces exist when these do, in the container.
    per_interface = ".conf." in name or ".neigh." in name
    if not per_interface and not os.path.exists(f"/proc/sys/{name.replace('.', '/')}"):
        raise InvalidParameter(f"sysctl '{key}' does not exist in this kernel")


def _check_namespaces(host: HostConfig) -> None:
    if host.IpcMode not in ("", "none", "host", "private", "shareable") and not host.IpcMode.startswith("container:"):
        raise InvalidParameter(f"invalid IPC mode: {host.IpcMode}")
    if host.PidMode not in ("", "host", "private") and not host.PidMode.startswith("container:"):
        raise InvalidParameter(f"invalid PID mode: {host.PidMode}")
    if host.UTSMode not in ("", "host", "private"):
        raise InvalidParameter(f"invalid UTS mode: {host.UTSMode}")
    if host.UsernsMode not in ("", "host"):
        raise InvalidParameter(f"invalid user namespace mode: {host.UsernsMode}")
    if host.CgroupnsMode not in ("", "host", "private"):
        raise InvalidParameter(f"invalid cgroup namespace mode: {host.CgroupnsMode}")
    _check_text("CgroupParent", host.CgroupParent)
    parts = host.CgroupParent.split("/")
    if (
        ".." in parts
        or "\n" in host.CgroupParent
        or len(host.CgroupParent.encode()) > 1024
        or any(len(part.encode()) > 200 for part in parts)
    ):
        raise InvalidParameter(f"invalid cgroup parent: {host.CgroupParent}")


def _check_names(host: HostConfig) -> None:
    """Check what becomes lines of /etc/hosts and /etc/resolv.conf."""
    for server in host.Dns or ():
        if not _is_address(server):
            raise InvalidParameter(f"invalid IP address: {server}")
    for name, words in (("DnsSearch", host.DnsSearch), ("DnsOptions", host.DnsOptions)):
        for word in words or ():
            _check_text(name, word)
            if _DOMAIN.match(word) is None:
                raise InvalidParameter(f"invalid {name}: {word!r}")
    for entry in host.ExtraHosts or ():
        _check_text("ExtraHosts", entry)
        name, colon, address = entry.partition(":")
        if not colon or _DOMAIN.match(name) is None:
            raise InvalidParameter(f'bad format for add-host: "{entry}"')
        numbers = address.removeprefix("[").removesuffix("]")
        # A zone means nothing in /etc/hosts of another namespace; docker takes none.
        if address != "host-gateway" and ("%" in numbers or not _is_address(numbers)):
            raise InvalidParameter(f'invalid IP address in add-host: "{address}"')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return re.search(r"[\s#]", text) is None


def _check_words(name: str, words: Iterable[str] | None) -> None:
    for word in words or ():
        _check_argument(name, word)


def _check_argument(name: str, text: str) -> None:
    _check_text(name, text)
    if len(text) > _LONGEST_ARGUMENT // 4 and len(text.encode()) > _LONGEST_ARGUMENT:
        raise InvalidParameter(f"invalid {name}: argument list too long: one of {len(text.encode())} bytes")


def _check_path(name: str, path: str) -> None:
    raw = path.encode()
    if len(raw) > 4000 or any(len(part) > 255 for part in raw.split(b"/")):
        raise InvalidParameter(f"invalid {name}: file name too long")


def _check_text(name: str, text: str) -> None:
    if "\0" in text:
        raise InvalidParameter(f"invalid {name}: it contains a NUL byte")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"invalid {name}: it is no valid UTF-8") from None
