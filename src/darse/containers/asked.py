"""What the OCI runtime was asked for, as steps of `darse explain`: read from the spec when somebody wants to know.

The runtime makes namespaces, the control group, mounts, devices, and limits what the process may do. No step of ours
could be timed there, so these have no time of their own; the time is that of the step in which the runtime works.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from darse.linux.trace import Step

# The last step before the process runs: what it was asked for stands behind it.
CREATES = "the runtime creates the process"
# Namespaces whose flag of unshare(1) and nsenter(1) is not their name in the spec.
_FLAGS = {"network": "--net"}


def with_asked(steps: list[Step], spec: dict[str, Any]) -> list[Step]:
    """The steps with what the runtime was asked for behind the one in which it worked."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if step.summary == CREATES:
            found += (Step(kind, summary, command, step.begin_ns, 0) for kind, summary, command in asked(spec))
    return found


def asked(spec: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Kind, summary and shell command of each thing that a spec (OCI runtime specification) asks for."""
    linux, process = spec.get("linux") or {}, spec.get("process") or {}
    yield from _namespaces(linux.get("namespaces") or ())
    yield from _control_group(linux)
    for mount in spec.get("mounts") or ():
        options = ",".join(mount.get("options") or ())
        kind, place = mount.get("type") or "bind", mount["destination"]
        words = ("mount", "-t", kind, *(("-o", options) if options else ()))
        yield "mount", f"{kind} at {place}", (*words, mount.get("source") or "none", f"rootfs{place}")
    for device in linux.get("devices") or ():
        words = ("mknod", "-m", f"{device.get('fileMode') or 0o666:o}", f"rootfs{device['path']}", device["type"])
        numbers = (str(device.get("major", 0)), str(device.get("minor", 0)))
        yield "file", f"device {device['path']}", (*words, *numbers)
    yield from _confinement(linux, process)


def _namespaces(namespaces: Any) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    new = [one["type"] for one in namespaces if not one.get("path")]
    if new:
        flags = [_FLAGS.get(kind, f"--{kind}") for kind in new]
        yield "namespace", f"new namespaces: {', '.join(new)}", ("unshare", "--fork", *flags, "PROGRAM")
    for one in namespaces:
        if one.get("path"):
            flag = f"{_FLAGS.get(one['type'], '--' + one['type'])}={one['path']}"
            yield "namespace", f"the {one['type']} namespace is entered", ("nsenter", flag, "PROGRAM")


def _control_group(linux: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    path = str(linux.get("cgroupsPath") or "")
    if path:
        yield "cgroup", f"control group {path}", ("mkdir", "-p", f"/sys/fs/cgroup/{path.strip('/')}")
    for controller, limits in (linux.get("resources") or {}).items():
        if controller == "devices":
            yield "cgroup", f"devices: {len(limits)} rules", ()
        elif isinstance(limits, dict):
            given = ", ".join(f"{name} {one}" for name, one in limits.items() if one not in (None, []))
            if given:
                yield "cgroup", f"{controller}: {given}", ()


def _confinement(linux: dict[str, Any], process: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    bounding = (process.get("capabilities") or {}).get("bounding") or []
    names = [name.removeprefix("CAP_").lower() for name in bounding]
    kept = ",".join(["-all", *(f"+{name}" for name in names)])
    words = ("setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", "PROGRAM")
    yield "process", f"capabilities: {len(names)} are kept", words
    seccomp = linux.get("seccomp")
    if seccomp:
        calls = sum(len(rule.get("names") or ()) for rule in seccomp.get("syscalls") or ())
        yield "process", f"seccomp: {seccomp.get('defaultAction')} for all but {calls} system calls in rules", ()
    else:
        yield "process", "seccomp: no filter", ()
    if profile := process.get("apparmorProfile"):
        yield "process", f"AppArmor profile {profile}", ("aa-exec", "-p", profile, "PROGRAM")
    if process.get("noNewPrivileges"):
        yield "process", "no new privileges", ("setpriv", "--no-new-privs", "PROGRAM")
    user = process.get("user") or {}
    yield (
        "process",
        f"user {user.get('uid', 0)}, group {user.get('gid', 0)}",
        (*("setpriv", f"--reuid={user.get('uid', 0)}", f"--regid={user.get('gid', 0)}", "--clear-groups", "PROGRAM"),),
    )
    hidden, fixed = linux.get("maskedPaths") or (), linux.get("readonlyPaths") or ()
    if hidden or fixed:
        yield "mount", f"{len(hidden)} paths are hidden, {len(fixed)} are read-only", ()
