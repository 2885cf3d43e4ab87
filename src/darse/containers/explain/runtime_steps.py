"""What the OCI runtime was asked for, as steps of `darse explain`: read from the spec when somebody wants to know.

The runtime makes namespaces, the control group, mounts, devices, and limits what the process may do. No step of ours
can be timed there, so these have no time of their own; the files that the runtime writes cut its time into parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from darse.core.trace import NETNS, Step
from darse.runtime.cgroups import update
from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.monitor.launch import CREATES

# Namespaces whose flag of unshare(1) and nsenter(1) is not their name in the spec.
_FLAGS = {"network": "--net"}
# What is over when a file of the runtime's is written for the last time, in order.
_PARTS = (
    ("config.json", "conmon gets ready, and the runtime reads the spec"),
    ("seccomp.bpf", "the runtime compiles the seccomp filter"),
)
_LAST_PART = "the runtime ends, and conmon reports the process"
# The time of a file is that of the last clock tick before it was written; ticks are at most this apart (CONFIG_HZ=100).
_TICK_NS = 10_000_000


def in_parts(steps: list[Step], state: Path, pid_file: Path) -> list[Step]:
    """The steps with the one in which the runtime creates the process cut where the files say what it did.

    state: the runtime's directory of the container (crun's); pid_file: written when the process is there. Files that
    are not there, or were not written in this step, cut nothing.
    """
    ends = [(_written(state / name), summary) for name, summary in _PARTS]
    ends.append((_written(pid_file), CREATES))
    found = []
    for step in steps:
        found += _cut(step, ends) if step.summary == CREATES and not step.failed else [step]
    return found


def _cut(step: Step, ends: list[tuple[int, str]]) -> list[Step]:
    last = step.begin_ns + step.duration_ns
    parts, begin = [], step.begin_ns
    for written, summary in [*ends, (last, _LAST_PART)]:
        if step.begin_ns - _TICK_NS < written <= last:
            # Of two ends between the same ticks the later one has a part without a time.
            end = max(written, begin)
            parts.append(Step(step.kind, summary, step.command if summary == CREATES else (), begin, end - begin))
            begin = end
    return parts if any(part.summary == CREATES for part in parts) else [step]


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class ControlGroup(NamedTuple):
    """A container's control group: the host's hierarchies, and its path in each."""

    cgroups: Cgroups
    path: str


def with_asked(steps: list[Step], spec: dict[str, Any], group: ControlGroup) -> list[Step]:
    """The steps with what the runtime was asked for behind the one in which it worked."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if step.summary == CREATES:
            found += (Step(kind, summary, command, step.begin_ns, 0) for kind, summary, command in asked(spec, group))
    return found


def asked(spec: dict[str, Any], group: ControlGroup) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Kind, summary and shell command of each thing that a spec (OCI runtime specification) asks for."""
    linux, process = spec.get("linux") or {}, spec.get("process") or {}
    root = str((spec.get("root") or {}).get("path") or "rootfs")
    program = tuple(process.get("args") or ())
    yield from _namespaces(linux.get("namespaces") or (), program)
    yield from _control_group(linux, group)
    for mount in spec.get("mounts") or ():
        yield _mount(mount, root)
    for device in linux.get("devices") or ():
        words = ("mknod", "-m", f"{device.get('fileMode') or 0o666:o}", f"{root}{device['path']}", device["type"])
        numbers = (str(device.get("major", 0)), str(device.get("minor", 0)))
        yield "file", f"device {device['path']}", (*words, *numbers)
    yield from _confinement(linux, process, program)
    yield from _covered(linux, root)


def _mount(mount: dict[str, Any], root: str) -> tuple[str, str, tuple[str, ...]]:
    options = mount.get("options") or []
    kind, place = mount.get("type") or "bind", mount["destination"]
    bound = kind == "bind" or "bind" in options or "rbind" in options
    words = ("mount", *(() if bound else ("-t", kind)), *(("-o", ",".join(options)) if options else ()))
    source = () if "remount" in options else (mount.get("source") or "none",)
    return "mount", f"{'bind' if bound else kind} at {place}", (*words, *source, f"{root}{place}")


def _namespaces(namespaces: Any, program: tuple[str, ...]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    new = [one["type"] for one in namespaces if not one.get("path")]
    if new:
        flags = [_FLAGS.get(kind, f"--{kind}") for kind in new]
        yield "namespace", f"new namespaces: {', '.join(new)}", ("unshare", "--fork", *flags, *program)
    for one in namespaces:
        if one.get("path"):
            # A namespace that only a descriptor of the engine holds has the name that its own steps give it.
            path = f"/run/netns/{NETNS}" if "/fd/" in one["path"] and one["type"] == "network" else one["path"]
            flag = f"{_FLAGS.get(one['type'], '--' + one['type'])}={path}"
            yield "namespace", f"the {one['type']} namespace is entered", ("nsenter", flag, *program)


def _control_group(linux: dict[str, Any], group: ControlGroup) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    cgroups, path = group
    if path:
        directories = cgroups.directories(path)
        yield "cgroup", f"control group {path}", ("mkdir", "-p", *map(str, directories)) if directories else ()
    for controller, limits in (linux.get("resources") or {}).items():
        if controller == "devices":
            yield "cgroup", f"devices: {len(limits)} rules", _in_a_row(_device_rules(limits, group))
        elif isinstance(limits, dict):
            given = ", ".join(f"{name} {one}" for name, one in limits.items() if one not in (None, []))
            if given:
                writes = update.limits(cgroups, path, {controller: limits})
                yield "cgroup", f"{controller}: {given}", _in_a_row(_echo(text, file) for file, text in writes)


def _device_rules(rules: Iterable[dict[str, Any]], group: ControlGroup) -> Iterator[tuple[str, ...]]:
    """Writes to the files of version 1; version 2 has none, and the runtime attaches a BPF program."""
    tree = next((tree for tree in group.cgroups.hierarchies if "devices" in tree.controllers), None)
    if tree is None:
        return
    for rule in rules:
        numbers = ":".join(str(one) if (one := rule.get(name)) is not None else "*" for name in ("major", "minor"))
        file = tree.path / group.path.lstrip("/") / ("devices.allow" if rule.get("allow") else "devices.deny")
        yield _echo(f"{rule.get('type') or 'a'} {numbers} {rule.get('access') or 'rwm'}", file)


def _echo(text: str, file: Path) -> tuple[str, ...]:
    return ("sh", "-c", f"echo '{text}' > {file}" if "*" in text else f"echo {text} > {file}")


def _in_a_row(commands: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """One after the other, as `explain` splits them again."""
    words: list[str] = []
    for command in commands:
        words += [";", *command] if words else command
    return tuple(words)


def _covered(linux: dict[str, Any], root: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What of /proc and /sys is hidden or read-only; paths that the kernel does not have are passed over."""
    hidden, fixed = (list(linux.get(kind) or ()) for kind in ("maskedPaths", "readonlyPaths"))
    commands: list[tuple[str, ...]] = []
    for path in filter(os.path.exists, hidden):
        if os.path.isdir(path):
            commands.append(("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", f"{root}{path}"))
        else:
            commands.append(("mount", "--bind", "/dev/null", f"{root}{path}"))
    for path in filter(os.path.exists, fixed):
        commands.append(("mount", "--rbind", f"{root}{path}", f"{root}{path}"))
        commands.append(("mount", "-o", "remount,bind,ro", f"{root}{path}"))
    if hidden or fixed:
        yield "mount", f"{len(hidden)} paths are hidden, {len(fixed)} are read-only", _in_a_row(commands)


def _confinement(
    linux: dict[str, Any], process: dict[str, Any], program: tuple[str, ...]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    bounding = (process.get("capabilities") or {}).get("bounding") or []
    names = [name.removeprefix("CAP_").lower() for name in bounding]
    kept = ",".join(["-all", *(f"+{name}" for name in names)])
    words = ("setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", *program)
    yield "process", f"capabilities: {len(names)} are kept", words
    seccomp = linux.get("seccomp")
    if seccomp:
        calls = sum(len(rule.get("names") or ()) for rule in seccomp.get("syscalls") or ())
        yield "process", f"seccomp: {seccomp.get('defaultAction')} for all but {calls} system calls in rules", ()
    else:
        yield "process", "seccomp: no filter", ()
    if profile := process.get("apparmorProfile"):
        yield "process", f"AppArmor profile {profile}", ("aa-exec", "-p", profile, *program)
    if process.get("noNewPrivileges"):
        yield "process", "no new privileges", ("setpriv", "--no-new-privs", *program)
    user = process.get("user") or {}
    yield (
        "process",
        f"user {user.get('uid', 0)}, group {user.get('gid', 0)}",
        (*("setpriv", f"--reuid={user.get('uid', 0)}", f"--regid={user.get('gid', 0)}", "--clear-groups", *program),),
    )
