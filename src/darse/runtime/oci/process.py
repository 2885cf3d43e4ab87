"""The processes of a container as the OCI runtime spec describes them: its first one, and those of execs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from darse.core.errors import InvalidParameter, SystemFault
from darse.runtime.oci import capabilities
from darse.runtime.oci.mounts import INIT_PATH
from darse.runtime.oci.security import SecurityOptions, read_security_options
from darse.runtime.oci.user import ResolvedUser
from darse.runtime.sysinfo import SysInfo
from darse.wire.containers import ContainerConfig
from darse.wire.execs import ExecConfig
from darse.wire.host_config import HostConfig

DEFAULT_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INFINITY: Final = 2**64 - 1

Limits = Mapping[str, tuple[int, int]]


def container_process(
    config: ContainerConfig,
    host: HostConfig,
    user: ResolvedUser,
    facts: SysInfo,
    *,
    granted: list[str],
    security: SecurityOptions,
    hostname: str,
    with_init: bool,
    no_new_privileges: bool,
    default_ulimits: Limits | None,
    link_variables: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the spec's `process`. `granted` are the capabilities. Raises InvalidParameter without a command."""
    arguments = [*(config.Entrypoint or ()), *(config.Cmd or ())]
    if not arguments:
        raise InvalidParameter("no command specified")
    if with_init:
        arguments = [INIT_PATH, "--", *arguments]
    process = _process(config.Tty, arguments, user, granted, host.ConsoleSize)
    process["env"] = environment(config, user, hostname=hostname, links=link_variables)
    process["cwd"] = config.WorkingDir or "/"
    _confine(
        process,
        host,
        facts,
        security,
        default_ulimits,
        no_new_privileges=no_new_privileges,
        privileged=host.Privileged,
    )
    return process


def exec_process(
    exec_config: ExecConfig,
    config: ContainerConfig,
    host: HostConfig,
    user: ResolvedUser,
    *,
    facts: SysInfo,
    hostname: str,
    no_new_privileges: bool = False,
    default_ulimits: Limits | None = None,
    link_variables: Sequence[str] = (),
) -> dict[str, Any]:
    """Return process.json of an exec: the container's limits and environment, and what the exec adds."""
    if not exec_config.Cmd:
        raise SystemFault("an exec without a command was stored")
    granted = capabilities.effective(
        host.CapAdd or (),
        host.CapDrop or (),
        facts.capabilities,
        privileged=host.Privileged or exec_config.Privileged,
    )
    process = _process(exec_config.Tty, exec_config.Cmd, user, granted, exec_config.ConsoleSize)
    process["env"] = environment(
        config,
        user,
        hostname=hostname,
        extra=exec_config.Env or (),
        terminal=exec_config.Tty,
        links=link_variables,
    )
    process["cwd"] = exec_config.WorkingDir or config.WorkingDir or "/"
    _confine(
        process,
        host,
        facts,
        read_security_options(host.SecurityOpt),
        default_ulimits,
        no_new_privileges=no_new_privileges,
        privileged=host.Privileged or exec_config.Privileged,
    )
    return process


def _process(
    terminal: bool, arguments: list[str], user: ResolvedUser, granted: list[str], console: Sequence[int] | None
) -> dict[str, Any]:
    # The process's own group is among the supplementary ones, as initgroups(3) has it (CVE-2022-36109).
    groups = [user.gid, *(gid for gid in user.additional_gids if gid != user.gid)]
    process: dict[str, Any] = {
        "terminal": terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": groups},
        "args": arguments,
        "capabilities": capability_sets(granted, user),
    }
    if terminal and console and len(console) == 2 and all(console):
        process["consoleSize"] = {"height": console[0], "width": console[1]}
    return process


def _confine(
    process: dict[str, Any],
    host: HostConfig,
    facts: SysInfo,
    security: SecurityOptions,
    default_ulimits: Limits | None,
    *,
    no_new_privileges: bool,
    privileged: bool,
) -> None:
    own = security.no_new_privileges
    process["noNewPrivileges"] = no_new_privileges if own is None else own
    # Lower than the engine may go, the write would fail the whole start.
    process["oomScoreAdj"] = max(host.OomScoreAdj, facts.lowest_oom_score)
    process["rlimits"] = rlimits(host, facts, default_ulimits)
    if profile := apparmor_profile(security, facts, privileged=privileged):
        process["apparmorProfile"] = profile


def apparmor_profile(security: SecurityOptions, facts: SysInfo, *, privileged: bool) -> str:
    """The AppArmor profile of a process; empty where the host has no AppArmor."""
    if not facts.apparmor:
        return ""
    return security.apparmor or ("unconfined" if privileged else facts.apparmor_profile)


def capability_sets(granted: list[str], user: ResolvedUser) -> dict[str, list[str]]:
    """The kernel's five sets. Others than root keep the bounding set alone, as after an execve(2)."""
    # Inheritable stays empty: a file capability in the image must not revive a dropped one (CVE-2022-24769).
    sets = {"bounding": granted, "permitted": granted, "effective": granted}
    return sets if user.uid == 0 else {"bounding": granted}


def environment(
    config: ContainerConfig,
    user: ResolvedUser,
    *,
    hostname: str,
    extra: Sequence[str] = (),
    terminal: bool | None = None,
    links: Sequence[str] = (),
) -> list[str]:
    """The process's environment: docker's defaults, that of `links`, the container's, `extra`; a bare name unsets."""
    entries = {"PATH": DEFAULT_PATH, "HOSTNAME": f"HOSTNAME={hostname}"}
    if config.Tty if terminal is None else terminal:
        entries["TERM"] = "TERM=xterm"
    for entry in [*links, *(config.Env or ()), *extra]:
        name, equals, _ = entry.partition("=")
        if equals:
            entries[name] = entry
        else:
            entries.pop(name, None)
    if entries.get("HOME", "HOME=") == "HOME=":  # runc takes an empty one for none
        entries["HOME"] = f"HOME={user.home}"
    return list(entries.values())


def rlimits(host: HostConfig, facts: SysInfo, defaults: Limits | None) -> list[dict[str, Any]]:
    """The spec's `rlimits`: the container's over the engine's defaults, no higher than the engine can set them."""
    limits = dict(defaults or {})
    for ulimit in host.Ulimits or ():
        limits[ulimit.Name] = (ulimit.Soft, ulimit.Hard)
    return [
        {
            "type": f"RLIMIT_{name.upper()}",
            "soft": _INFINITY if (lowered := lower(soft, facts.ceiling(name))) < 0 else lowered,
            "hard": _INFINITY if (lowered := lower(hard, facts.ceiling(name))) < 0 else lowered,
        }
        for name, (soft, hard) in limits.items()
    ]


def lower(limit: int, ceiling: int) -> int:
    """The lower of two limits, of which a negative one is none."""
    if limit < 0 or ceiling < 0:
        return max(limit, ceiling)
    return min(limit, ceiling)
