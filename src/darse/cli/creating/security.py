"""What a container may do: capabilities, security options, kernel parameters, namespaces of others."""

from __future__ import annotations

from darse.cli.command_line.flags import Options
from darse.cli.creating.values import pairs
from darse.cli.errors import CliError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.host_config import HostConfigDocument

_SYSCTLS = frozenset(
    f"kernel.{name}" for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)


def isolation(options: Options) -> HostConfigDocument:
    """The members of HostConfig. Raises CliError."""
    added, dropped = _capabilities(options)
    members: HostConfigDocument = {
        "CapAdd": added or None,
        "CapDrop": dropped or None,
        "CgroupnsMode": _mode(options.cgroupns, "cgroupns", "CGROUP", ("host", "private")),
        "IpcMode": options.ipc,
        "PidMode": _mode(options.pid, "pid", "PID", ("host",), joins=True),
        "Privileged": options.privileged,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": [security_option(text) for text in options.security_opt if text != "systempaths=unconfined"]
        or None,
        "Sysctls": _sysctls(options.sysctl) or None,
        "UTSMode": _mode(options.uts, "uts", "UTS", ("host",)),
        "UsernsMode": _mode(options.userns, "userns", "USER", ("host",)),
    }
    if "systempaths=unconfined" in options.security_opt:
        members |= {"MaskedPaths": [], "ReadonlyPaths": []}
    return members


def _mode(text: str, flag: str, kind: str, words: tuple[str, ...], *, joins: bool = False) -> str:
    joined = joins and text.startswith("container:") and text != "container:"
    if text and text not in words and not joined:
        raise CliError(f"--{flag}: invalid {kind} mode", 125)
    return text


def _capabilities(options: Options) -> tuple[list[str], list[str]]:
    """`--cap-add` and `--cap-drop` by their full names."""
    added, dropped = ({_capability(name) for name in names} for names in (options.cap_add, options.cap_drop))
    if "ALL" in added:
        added = {"ALL"}
    dropped = {"ALL"} if "ALL" in dropped else dropped
    return sorted(added), sorted(dropped)


def _capability(name: str) -> str:
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _sysctls(entries: list[str]) -> dict[str, str]:
    for text in entries:
        name, equals, _ = text.partition("=")
        if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
            raise InvalidArgument(text, "sysctl", f"sysctl '{text}' is not allowed")
    return pairs(entries)


def security_option(text: str) -> str:
    """One `--security-opt` as the API has it: a seccomp profile as its text. Raises CliError."""
    key, equals, value = text.partition("=")
    if not equals and key != "no-new-privileges":
        key, colon, value = text.partition(":")
        if not colon:
            raise CliError(f'Invalid --security-opt: "{text}"', 125)
    if key != "seccomp" or value in ("unconfined", "builtin"):
        return text
    import json

    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={json.dumps(json.load(file), separators=(',', ':'))}"
    except OSError as error:
        reason = f"open {value}: {(error.strerror or '').lower()}"
        raise CliError(f"opening seccomp profile ({value}) failed: {reason}", 125) from error
    except ValueError as error:
        raise CliError(f"compacting json for seccomp profile ({value}) failed: {error}", 125) from error
