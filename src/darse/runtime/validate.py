"""What a container may be asked to be: every check that needs no other object, in docker's words.

What passes here reaches the runtime, whose errors come late and read badly; so numbers are bounded, names are known,
and strings that go to the kernel hold no NUL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from darse.engine.errors import InvalidParameter
from darse.runtime import capabilities
from darse.runtime.devices import device_nodes, device_rules, numbers_of
from darse.runtime.hostfacts import HostFacts
from darse.runtime.seccomp import custom_profile
from darse.runtime.spec import known_ulimit, read_security_options
from darse.wire.containers import ContainerConfig, HealthConfig, HostConfig

LOG_DRIVERS = ("json-file", "local", "none")
_MINIMUM_MEMORY = 6 * 1024 * 1024
_LARGEST = 2**63 - 1
_HOSTNAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?\Z")
_CPU_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z")
_SYSCTL = re.compile(r"[a-z0-9_]+([./][a-zA-Z0-9_*-]+)+\Z")
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
        "kernel.domainname",
    }
)


def check_config(config: ContainerConfig) -> None:
    """Raise InvalidParameter for a container configuration that can never run."""
    _check_words("Cmd", config.Cmd)
    _check_words("Entrypoint", config.Entrypoint)
    _check_text("User", config.User)
    _check_text("WorkingDir", config.WorkingDir)
    if config.WorkingDir and not config.WorkingDir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config.WorkingDir}' is invalid, it needs to be an absolute path"
        )
    if config.Hostname and (len(config.Hostname) > 63 or _HOSTNAME.match(config.Hostname) is None):
        raise InvalidParameter(f"invalid hostname format: {config.Hostname}")
    _check_text("Domainname", config.Domainname)
    if len(config.Domainname) > 64:
        raise InvalidParameter("invalid domainname: it is longer than 64 characters")
    check_environment(config.Env)
    for label, value in (config.Labels or {}).items():
        _check_text("Labels", label)
        _check_text("Labels", value)
    if config.StopTimeout is not None and not -1 <= config.StopTimeout <= 2**31:
        raise InvalidParameter(f"invalid StopTimeout: {config.StopTimeout}")
    if config.Healthcheck is not None:
        _check_health(config.Healthcheck)


def check_environment(entries: Iterable[str] | None) -> None:
    """Raise InvalidParameter for an entry without a name."""
    for entry in entries or ():
        _check_text("Env", entry)
        if not entry.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {entry}")


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


def check_host(host: HostConfig, facts: HostFacts, runtimes: Mapping[str, object]) -> list[str]:
    """Check the host configuration; return warnings about what this host cannot do.

    Raises InvalidParameter.
    """
    warnings: list[str] = []
    _check_bounds(host)
    _check_memory(host, facts, warnings)
    _check_cpu(host, facts, warnings)
    capabilities.check(host.CapAdd or (), host.CapDrop or ())
    security = read_security_options(host.SecurityOpt)
    if security.seccomp not in ("", "unconfined", "builtin"):
        custom_profile(security.seccomp, frozenset())
    if security.apparmor and security.apparmor != "unconfined" and not facts.apparmor:
        raise InvalidParameter("apparmor is not enabled on this host: remove --security-opt apparmor=…")
    for ulimit in host.Ulimits or ():
        if not known_ulimit(ulimit.Name):
            raise InvalidParameter(f"invalid ulimit type: {ulimit.Name}")
        if min(ulimit.Soft, ulimit.Hard) < -1 or max(ulimit.Soft, ulimit.Hard) > _LARGEST:
            raise InvalidParameter(f"invalid ulimit value for {ulimit.Name}: {ulimit.Soft}:{ulimit.Hard}")
        if ulimit.Hard != -1 and (ulimit.Soft == -1 or ulimit.Soft > ulimit.Hard):
            raise InvalidParameter(
                f"ulimit soft limit must be less than or equal to hard limit: {ulimit.Soft} > {ulimit.Hard}"
            )
        ceiling = facts.limits.get(ulimit.Name, -1)
        if not facts.may_raise_limits and ceiling >= 0 and (ulimit.Hard == -1 or ulimit.Hard > ceiling):
            warnings.append(f"ulimit {ulimit.Name} is lowered to this engine's own hard limit of {ceiling}.")
    if host.OomScoreAdj < 0 and not facts.may_raise_limits:
        warnings.append("A negative oom-score-adj needs CAP_SYS_RESOURCE, which this engine lacks. It is not applied.")
    _check_restart(host)
    _check_log(host)
    _check_devices(host)
    for key, value in (host.Sysctls or {}).items():
        _check_sysctl(host, key, value)
    if host.Runtime and host.Runtime not in runtimes:
        raise InvalidParameter(f"unknown or invalid runtime name: {host.Runtime}")
    if host.Isolation not in ("", "default"):
        raise InvalidParameter(f'invalid isolation "{host.Isolation}" on linux')
    if host.DeviceRequests:
        raise InvalidParameter(
            'could not select device driver "" with capabilities: '
            + str([request.Capabilities or [] for request in host.DeviceRequests])
        )
    _check_namespaces(host)
    for option in host.StorageOpt or {}:
        raise InvalidParameter(f"--storage-opt {option} is not supported by the overlay2 storage driver on this host")
    for group in host.GroupAdd or ():
        _check_text("GroupAdd", group)
    return warnings


def _check_bounds(host: HostConfig) -> None:
    for name in [
        "Memory",
        "MemorySwap",
        "MemoryReservation",
        "NanoCpus",
        "CpuShares",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "ShmSize",
        "BlkioWeight",
        "OomScoreAdj",
    ]:
        value = getattr(host, name)
        if not -_LARGEST <= value <= _LARGEST:
            raise InvalidParameter(f"invalid {name}: {value} is out of range")
    if not -1000 <= host.OomScoreAdj <= 1000:
        raise InvalidParameter(f"Invalid value {host.OomScoreAdj}, range for oom score adj is [-1000, 1000]")
    if host.ShmSize < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if host.PidsLimit is not None and abs(host.PidsLimit) > _LARGEST:
        raise InvalidParameter(f"invalid PidsLimit: {host.PidsLimit}")
    if host.BlkioWeight and not 10 <= host.BlkioWeight <= 1000:
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    if host.ConsoleSize is not None and (
        len(host.ConsoleSize) != 2 or not all(0 <= size <= 65535 for size in host.ConsoleSize)
    ):
        raise InvalidParameter("ConsoleSize must be [height, width], each at most 65535")


def _check_memory(host: HostConfig, facts: HostFacts, warnings: list[str]) -> None:
    if host.Memory < 0 or 0 < host.Memory < _MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if host.MemorySwap < -1:
        raise InvalidParameter("Invalid value for memory swap, it must be -1 or more")
    if host.MemorySwap > 0 and host.Memory == 0:
        raise InvalidParameter("You should always set the Memory limit when using Memoryswap limit, see usage")
    if host.MemorySwap > 0 and host.MemorySwap < host.Memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if host.MemoryReservation < 0 or 0 < host.MemoryReservation < _MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < host.Memory < host.MemoryReservation:
        raise InvalidParameter("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.MemorySwappiness is not None and not -1 <= host.MemorySwappiness <= 100:
        raise InvalidParameter(f"Invalid value: {host.MemorySwappiness}, valid memory swappiness range is 0-100")
    if host.Memory and not facts.swap_accounting and host.MemorySwap != -1:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
        host.MemorySwap = -1
    if host.MemorySwappiness is not None and host.MemorySwappiness >= 0 and facts.cgroup_version == 2:
        warnings.append("Your kernel does not support memory swappiness capabilities. Memory swappiness discarded.")
        host.MemorySwappiness = None


def _check_cpu(host: HostConfig, facts: HostFacts, warnings: list[str]) -> None:
    if host.NanoCpus < 0 or host.NanoCpus > facts.cpus * 1_000_000_000:
        raise InvalidParameter(
            f"range of CPUs is from 0.01 to {facts.cpus}.00, as there are only {facts.cpus} CPUs available"
        )
    if host.NanoCpus and (host.CpuPeriod or host.CpuQuota):
        other = "CPU Period" if host.CpuPeriod else "CPU Quota"
        raise InvalidParameter(f"Conflicting options: Nano CPUs and {other} cannot both be set.")
    if host.CpuShares < 0:
        raise InvalidParameter(f"invalid CPU shares ({host.CpuShares}): value must be a positive integer")
    if host.CpuPeriod and not 1000 <= host.CpuPeriod <= 1_000_000:
        raise InvalidParameter("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if host.CpuQuota and not (host.CpuQuota == -1 or host.CpuQuota >= 1000):
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.CpuRealtimePeriod or host.CpuRealtimeRuntime:
        warnings.append("Your kernel does not support CPU real-time scheduling in cgroups. The options are discarded.")
        host.CpuRealtimePeriod = host.CpuRealtimeRuntime = 0
    for name, value in (("CpusetCpus", host.CpusetCpus), ("CpusetMems", host.CpusetMems)):
        if value and _CPU_LIST.match(value) is None:
            raise InvalidParameter(f"Invalid value {value} for {name.lower().replace('set', 'set ')}")
    highest = max((int(number) for number in re.findall(r"[0-9]+", host.CpusetCpus)), default=0)
    if host.CpusetCpus and highest >= facts.cpus:
        raise InvalidParameter(
            f"Requested CPUs are not available - requested {host.CpusetCpus}, available: 0-{facts.cpus - 1}"
        )


def _check_restart(host: HostConfig) -> None:
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
    if host.AutoRemove and policy.Name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def _check_log(host: HostConfig) -> None:
    if host.LogConfig.Type and host.LogConfig.Type not in LOG_DRIVERS:
        raise InvalidParameter(f"logger: no log driver named '{host.LogConfig.Type}' is registered")


def _check_devices(host: HostConfig) -> None:
    device_rules(host, device_nodes(host) if host.Devices else [])
    for name in [
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
    ]:
        for device in getattr(host, name) or ():
            numbers_of(device.Path)
            if not 0 <= getattr(device, "Rate", 0) <= _LARGEST:
                raise InvalidParameter(f"invalid rate for {device.Path}")


def _check_sysctl(host: HostConfig, key: str, value: str) -> None:
    _check_text("Sysctls", value)
    if _SYSCTL.match(key) is None:
        raise InvalidParameter(f"sysctl '{key}' is not allowed")
    if key in _NAMESPACED_SYSCTLS or key.startswith("fs.mqueue."):
        if host.IpcMode == "host":
            raise InvalidParameter(f"sysctl '{key}' is not allowed as ipc mode is host")
        return
    if key.startswith("net."):
        if host.NetworkMode == "host":
            raise InvalidParameter(f"sysctl '{key}' is not allowed in the host network namespace")
        return
    raise InvalidParameter(f"sysctl '{key}' is not in a separate kernel namespace")


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
    parts = host.CgroupParent.split("/")
    if ".." in parts or "\0" in host.CgroupParent or any(len(part) > 200 for part in parts):
        raise InvalidParameter(f"invalid cgroup parent: {host.CgroupParent}")


def _check_words(name: str, words: Iterable[str] | None) -> None:
    for word in words or ():
        _check_text(name, word)


def _check_text(name: str, text: str) -> None:
    if "\0" in text:
        raise InvalidParameter(f"invalid {name}: it contains a NUL byte")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"invalid {name}: it is no valid UTF-8") from None
