"""seccomp: profiles in docker's format turned into the runtime's, for the capabilities that a container has.

The default profile is the file that containers-common maintains, made as strict as docker's: podman's lets every
container make namespaces, mount and use the kernel's key rings, because it runs containers in user namespaces; ours
run in the host's, where those calls are the kernel's largest attack surface (CVE-2022-0185, CVE-2022-0492,
CVE-2016-0728). They need CAP_SYS_ADMIN here, as they do in docker's profile. What docker's grants and that file
does not yet, we add. `tests/unit/runtime/test_docker_seccomp.py` holds the outcome against docker's, call by call.

Names that the host's libseccomp is too old for are passed over by the runtimes: such calls fail with ENOSYS, as on an
older kernel, and libraries fall back.

It is read once, and what it comes down to for a set of capabilities is kept encoded: nearly every container has the
default set. See seccomp(2) and the `seccomp` object of the OCI runtime spec.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from darse.core.errors import InvalidParameter, Unavailable
from darse.runtime.sysinfo import release_numbers

DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
_GO_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "x86",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_SECCOMP_ARCHITECTURES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "i686": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
    "s390x": "SCMP_ARCH_S390X",
}
_ENOSYS, _EPERM = 38, 1

# Calls that containers-common's profile grants to all, or that we add, by the capability of which docker's wants one.
_GATES: Final = {
    **dict.fromkeys(
        (
            "fsconfig fsmount fsopen fspick lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr "
            "move_mount open_tree quotactl_fd setdomainname sethostname setns umount umount2 unshare"
        ).split(),
        frozenset({"CAP_SYS_ADMIN"}),
    ),
    "syslog": frozenset({"CAP_SYS_ADMIN", "CAP_SYSLOG"}),
    "reboot": frozenset({"CAP_SYS_BOOT"}),
    "pidfd_getfd": frozenset({"CAP_SYS_PTRACE"}),
    # They tell and change on which nodes others' memory lies.
    **dict.fromkeys("get_mempolicy mbind set_mempolicy set_mempolicy_home_node".split(), frozenset({"CAP_SYS_NICE"})),
}
# Given to nobody: key rings are not namespaced, pivot_root(2) is for runtimes, io_uring escapes the filter; the others
# are old calls of 32-bit machines, and of kernels before 2.6, that docker's profile does not know.
_NEVER: Final = frozenset(
    (
        "add_key keyctl request_key pivot_root io_uring_setup io_uring_enter io_uring_register "
        "query_module readdir sigaction signal sigpending sigsuspend syscall timerfd"
    ).split()
)
# Further than the file's: what docker gives to all. vmsplice(2) and io_pgetevents(2) are refused there by name.
_COMMON: Final = tuple(
    (
        "cachestat fchmodat2 futex_requeue futex_wait futex_waitv futex_wake getxattrat io_pgetevents "
        "io_pgetevents_time64 listmount listxattrat map_shadow_stack mseal removexattrat riscv_hwprobe setxattrat "
        "statmount uretprobe vmsplice"
    ).split()
)
# And what it gives with these capabilities alone.
_EXTRA: Final = {
    "CAP_BPF": ("bpf",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_SYS_ADMIN": ("lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "quotactl_fd"),
    "CAP_SYS_NICE": ("set_mempolicy_home_node",),
}
# clone(2)'s flags for new namespaces: mount, cgroup, UTS, IPC, user, pid, network.
_CLONE_NEW: Final = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# Families of sockets that no container gets, of those up to the last that docker's profile knows. AF_ALG (38) reaches
# the kernel's ciphers (CVE-2026-31431); AF_VSOCK (40) the hypervisor, whatever the network namespace (moby#44562); the
# others have gone from the kernel: DECnet, Econet, ATM SVC, IrDA, WANPIPE, ISDN, CAIF.
_NO_FAMILIES: Final = (12, 19, 20, 23, 25, 34, 37, 38, 40)
_LAST_FAMILY: Final = 45

_Action = Literal[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]
_Operator = Literal[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]
_Flag = Literal[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]
_Errno = Annotated[int, Meta(ge=0, le=4095)]
_Word = Annotated[int, Meta(ge=0)]
_Name = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}$")]
_Architecture = Annotated[str, Meta(pattern=r"^SCMP_ARCH_[A-Z0-9_]{1,32}$")]


class _Argument(msgspec.Struct):
    """A comparison of one of a call's arguments."""

    index: Annotated[int, Meta(ge=0, le=5)]
    value: _Word
    op: _Operator
    valueTwo: _Word = 0


class _Filter(msgspec.Struct):
    """For which containers a rule holds, or does not."""

    caps: list[str] | None = None
    arches: list[str] | None = None
    minKernel: str | None = None

    def excludes(self, capabilities: frozenset[str], architecture: str) -> bool:
        """Whether one of the conditions holds."""
        return (
            architecture in (self.arches or ())
            or not capabilities.isdisjoint(self.caps or ())
            or bool(self.minKernel and _kernel_version() >= release_numbers(self.minKernel))
        )

    def includes(self, capabilities: frozenset[str], architecture: str) -> bool:
        """Whether all of the conditions hold."""
        return (
            (not self.arches or architecture in self.arches)
            and capabilities.issuperset(self.caps or ())
            and not (self.minKernel and _kernel_version() < release_numbers(self.minKernel))
        )


class _Rule(msgspec.Struct):
    """What to do about some calls."""

    action: _Action
    names: list[_Name] | None = None
    name: _Name | None = None
    args: list[_Argument] | None = None
    errnoRet: _Errno | None = None
    includes: _Filter | None = None
    excludes: _Filter | None = None

    def applies(self, capabilities: frozenset[str], architecture: str) -> bool:
        """Whether the rule is for a container with these capabilities on this machine."""
        return (self.includes is None or self.includes.includes(capabilities, architecture)) and not (
            self.excludes is not None and self.excludes.excludes(capabilities, architecture)
        )


class _ArchitectureMap(msgspec.Struct):
    architecture: _Architecture
    subArchitectures: list[_Architecture] | None = None


class _Profile(msgspec.Struct):
    """A profile in docker's format."""

    defaultAction: _Action
    defaultErrnoRet: _Errno | None = None
    architectures: list[_Architecture] | None = None
    archMap: list[_ArchitectureMap] | None = None
    syscalls: list[_Rule] | None = None
    flags: list[_Flag] | None = None
    listenerPath: str | None = None
    listenerMetadata: str | None = None


@functools.cache
def _default_profile_file() -> _Profile:
    try:
        return msgspec.json.decode(DEFAULT_PROFILE.read_bytes(), type=_Profile)
    except FileNotFoundError:
        raise Unavailable(
            f"the default seccomp profile {DEFAULT_PROFILE} is missing: install golang-github-containers-common"
        ) from None


@functools.lru_cache(maxsize=16)
def default_profile(capabilities: frozenset[str], *, socketcall: bool = False) -> msgspec.Raw:
    """The default profile for a container with `capabilities`, encoded. Raises Unavailable when it is missing.

    With `socketcall`, programs of 32-bit x86 may use sockets by socketcall(2), of any family.
    """
    resolved = _resolved(_default_profile_file(), capabilities)
    resolved["syscalls"] = _as_strict_as_docker(resolved["syscalls"], capabilities, socketcall=socketcall)
    return msgspec.Raw(msgspec.json.encode(resolved))


@functools.lru_cache(maxsize=16)
def custom_profile(text: str, capabilities: frozenset[str]) -> msgspec.Raw:
    """A profile from outside, in docker's format. Raises InvalidParameter."""
    try:
        profile = msgspec.json.decode(text, type=_Profile)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from error
    if profile.architectures and profile.archMap:
        raise InvalidParameter(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or "
            "'archMap'"
        )
    for rule in profile.syscalls or ():
        if rule.name and rule.names:
            raise InvalidParameter(
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
            )
        if rule.action == "SCMP_ACT_NOTIFY" and not profile.listenerPath:
            raise InvalidParameter("the seccomp profile notifies of system calls, and names no listenerPath")
    return msgspec.Raw(msgspec.json.encode(_resolved(profile, capabilities)))


def _resolved(profile: _Profile, capabilities: frozenset[str]) -> dict[str, Any]:
    machine = platform.machine()
    architecture = _GO_ARCHITECTURES.get(machine, machine)
    architectures: list[str] = list(profile.architectures or ())
    for entry in profile.archMap or ():
        if entry.architecture == _SECCOMP_ARCHITECTURES.get(machine):
            architectures = [entry.architecture, *(entry.subArchitectures or ())]
    resolved: dict[str, Any] = {"defaultAction": profile.defaultAction, "architectures": architectures}
    for name in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if (value := getattr(profile, name)) is not None:
            resolved[name] = value
    resolved["syscalls"] = [
        _rule(rule)
        for rule in profile.syscalls or ()
        if (rule.names or rule.name) and rule.applies(capabilities, architecture)
    ]
    return resolved


def _rule(rule: _Rule) -> dict[str, Any]:
    resolved: dict[str, Any] = {"names": rule.names or [rule.name], "action": rule.action}
    if rule.errnoRet is not None:
        resolved["errnoRet"] = rule.errnoRet
    if rule.args:
        resolved["args"] = msgspec.to_builtins(rule.args)
    return resolved


def _as_strict_as_docker(
    rules: list[dict[str, Any]], capabilities: frozenset[str], *, socketcall: bool
) -> list[dict[str, Any]]:
    """Withhold and grant what docker's profile does; refused calls fail with EPERM, as scripts and libraries expect."""
    granted = {name for capability, names in _EXTRA.items() if capability in capabilities for name in names}
    granted.update(_COMMON)
    withheld = _NEVER | {name for name, gate in _GATES.items() if capabilities.isdisjoint(gate)}
    dropped = withheld | granted | {"socket", "socketcall"}
    if "CAP_SYS_ADMIN" not in capabilities:
        dropped |= {"clone", "clone3"}
    # First, because libseccomp takes each rule about socket(2), whatever its arguments, for one about socketcall(2),
    # too; a rule about the whole call that is there before outweighs these.
    result = [_socketcall(allowed=socketcall or platform.machine() != "x86_64")]
    for rule in rules:
        names = [name for name in rule["names"] if name not in dropped]
        if names:
            result.append({**rule, "names": names})
    result.append({"names": sorted(withheld), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM})
    result.append({"names": sorted(granted), "action": "SCMP_ACT_ALLOW"})
    result += _sockets()
    if "CAP_SYS_ADMIN" not in capabilities:
        result += _no_namespaces()
    return result


def _socketcall(*, allowed: bool) -> dict[str, Any]:
    """socketcall(2) takes the family behind a pointer, where no filter sees it. Elsewhere than on x86 it is a way to
    sockets that programs need; on x86 those do that are as old as its 32-bit images.
    """
    if allowed:
        return {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"}
    return {"names": ["socketcall"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM}


def _sockets() -> list[dict[str, Any]]:
    """Sockets of the families that docker's profile lists.

    The list says what is allowed: libseccomp compares all 64 bits of an argument, of which the kernel takes 32, so that
    a family that is "not 40" could be 40 all the same.
    """
    first = min(_NO_FAMILIES)
    allowed = (family for family in range(first, _LAST_FAMILY + 1) if family not in _NO_FAMILIES)
    return [
        _compared("socket", "SCMP_ACT_ALLOW", 0, first, "SCMP_CMP_LT"),
        *(_compared("socket", "SCMP_ACT_ALLOW", 0, family, "SCMP_CMP_EQ") for family in allowed),
        *(_refused("socket", 0, family, "SCMP_CMP_EQ") for family in _NO_FAMILIES),
        _refused("socket", 0, _LAST_FAMILY, "SCMP_CMP_GT"),
    ]


def _no_namespaces() -> list[dict[str, Any]]:
    """clone(2) without its flags for new namespaces."""
    # On s390 the flags are the second argument.
    flags = 1 if platform.machine().startswith("s390") else 0
    return [
        _compared("clone", "SCMP_ACT_ALLOW", flags, sum(_CLONE_NEW), "SCMP_CMP_MASKED_EQ", 0),
        *(_refused("clone", flags, bit, "SCMP_CMP_MASKED_EQ", bit) for bit in _CLONE_NEW),
        # The filter cannot look into clone3(2)'s structure; with ENOSYS the C library falls back to clone(2).
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
    ]


def _refused(name: str, index: int, value: int, operator: str, second: int = 0) -> dict[str, Any]:
    return {**_compared(name, "SCMP_ACT_ERRNO", index, value, operator, second), "errnoRet": _EPERM}


def _compared(name: str, action: str, index: int, value: int, operator: str, second: int = 0) -> dict[str, Any]:
    argument = {"index": index, "value": value, "valueTwo": second, "op": operator}
    return {"names": [name], "action": action, "args": [argument]}


@functools.cache
def _kernel_version() -> tuple[int, ...]:
    return release_numbers(platform.release())
