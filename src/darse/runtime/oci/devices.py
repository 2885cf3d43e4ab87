"""Devices of containers: the nodes made in /dev, and the rules of the device cgroup.

`--device` names a path of the host, which may be a directory of devices; the request's author is trusted with the
path, but not to know how large a tree is below it, so the search is bounded.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from darse.core.errors import InvalidParameter
from darse.linux.fs.contained import host_directories
from darse.runtime.oci.mounts import BindMount
from darse.wire.host_config import DeviceMapping, HostConfig

_RULE = re.compile(r"(?P<type>[acb]) (?P<major>[0-9]+|\*):(?P<minor>[0-9]+|\*) (?P<access>[rwm]{1,3})\Z")
_ACCESS = re.compile(r"[rwm]{1,3}\Z")
_MOST_ENTRIES = 4096
_LARGEST_NUMBER = 2**31 - 1
# The same as docker: mknod of anything, use of the harmless ones; the runtime adds null, zero, tty and so on.
_DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)
_NEVER_SHOWN = frozenset({"pts", "shm", "fd", "mqueue", "console", "ptmx", "core", "stdin", "stdout", "stderr"})


def device_nodes(host: HostConfig) -> list[dict[str, Any]]:
    """The nodes to make for `--device`, or every device of the host for `--privileged`. Raises InvalidParameter."""
    nodes = _host_devices() if host.Privileged else []
    present = {node["path"] for node in nodes}
    for mapping in host.Devices or ():
        nodes += [node for _, node in _mapped(mapping) if node["path"] not in present]
    return nodes


def device_binds(host: HostConfig) -> list[BindMount]:
    """The nodes of `--device` as binds of the host's, for who cannot make nodes. Raises InvalidParameter."""
    return [
        BindMount(str(source), node["path"], writable=True, propagation="rprivate", recursive=False)
        for mapping in host.Devices or ()
        for source, node in _mapped(mapping)
    ]


def _mapped(mapping: DeviceMapping) -> list[tuple[Path, dict[str, Any]]]:
    """The devices of one `--device`: each with its path on the host."""
    access = mapping.CgroupPermissions or "rwm"
    if not _ACCESS.match(access):
        raise InvalidParameter(f"invalid device mode: {access}")
    target = mapping.PathInContainer or mapping.PathOnHost
    if not mapping.PathOnHost.startswith("/") or not target.startswith("/"):
        raise InvalidParameter(f"invalid device specification: {mapping.PathOnHost}:{target}")
    source = Path(mapping.PathOnHost)
    if os.path.isdir(source):
        found = _below(source, target, access)
        if found:
            return found
    node = _node(source)
    if node is None:
        raise InvalidParameter(
            f'error gathering device information while adding custom device "{mapping.PathOnHost}": '
            + ("not a device node" if os.path.exists(source) else "no such file or directory")
        )
    return [(source, {**node, "path": target, "access": access})]


def _below(source: Path, target: str, access: str) -> list[tuple[Path, dict[str, Any]]]:
    """The devices of a directory, links not followed. Raises InvalidParameter for a large tree."""
    found = []
    seen = 0
    for where, directories, names in host_directories(str(source)):
        seen += len(directories) + len(names)
        if seen > _MOST_ENTRIES:
            raise InvalidParameter(
                f'error gathering device information while adding custom device "{source}": more than {_MOST_ENTRIES} '
                "files are below it"
            )
        for name in sorted(names):
            path = Path(where, name)
            if not path.is_symlink() and (node := _node(path)) is not None:
                inside = str(Path(target) / path.relative_to(source))
                found.append((path, {**node, "path": inside, "access": access}))
    return found


def _node(path: Path) -> dict[str, Any] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # it is not there, or cannot be a path at all
        return None
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": str(path),
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _host_devices() -> list[dict[str, Any]]:
    nodes = []
    for where, directories, names in host_directories("/dev"):
        if where == "/dev":
            directories[:] = [name for name in directories if name not in _NEVER_SHOWN]
        for name in sorted(names):
            path = Path(where, name)
            if name in _NEVER_SHOWN or path.is_symlink():
                continue
            if (node := _node(path)) is not None:
                nodes.append(node)
    return nodes


def device_rules(host: HostConfig, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of the device cgroup. Removes the nodes' `access`, which is the rules' part of a mapping.

    Raises InvalidParameter for a malformed `--device-cgroup-rule`.
    """
    if host.Privileged:
        for node in nodes:
            node.pop("access", None)
        return [{"allow": True, "access": "rwm"}]
    rules = list(_DEFAULT_RULES)
    rules += [
        {
            "allow": True,
            "type": node["type"],
            "major": node["major"],
            "minor": node["minor"],
            "access": node.pop("access", "rwm"),
        }
        for node in nodes
    ]
    for text in host.DeviceCgroupRules or ():
        match = _RULE.match(text)
        if match is None:
            raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
        rule: dict[str, Any] = {"allow": True, "type": match["type"], "access": match["access"]}
        for key in ("major", "minor"):
            if match[key] != "*":
                if len(match[key]) > 10 or int(match[key]) > _LARGEST_NUMBER:
                    raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
                rule[key] = int(match[key])
        rules.append(rule)
    return rules


def block_device(path: str) -> dict[str, int]:
    """Major and minor number of a block device. Raises InvalidParameter."""
    node = _node(Path(path)) if path.startswith("/") else None
    if node is None or node["type"] != "b":
        raise InvalidParameter(f'"{path}" is not a block device')
    return {"major": node["major"], "minor": node["minor"]}
