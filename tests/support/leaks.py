"""What an engine has left behind on the host: mounts, processes, cgroups, links, firewall tables, files.

Everything an engine makes carries its roots or its instance (a hash of its exec root), so that engines which run at
the same time, of parallel tests or of other people, do not blame each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.engine import Engine

_CGROUPS = Path("/sys/fs/cgroup")
_LINKS = Path("/sys/class/net")


def instance_of(exec_root: Path) -> str:
    """The name of the engine in what it makes; the same rule as in darse.core.config."""
    return hashlib.sha256(str(exec_root).encode()).hexdigest()[:8]


def find_leaks(root: Path) -> list[str]:
    """Everything left of the engine whose roots are `root`/d and `root`/x, one line each; empty when it is clean.

    Call it after the last container was removed and the engine was stopped.
    """
    instance = instance_of(root / "x")
    return [
        *_processes(root),
        *_mounts(root),
        *_cgroups(instance),
        *_links(instance),
        *_tables(instance),
        *_files(root),
    ]


def find_orphans(engine: Engine) -> list[str]:
    """What belongs to no container that the engine knows, while it runs: after a crash and a new start, nothing may.

    Directories and monitors must belong to a container, control groups and links to a running one, mapped ports to a
    published one. Call it when no exec runs.
    """
    containers = engine.api("GET", "/containers/json?all=1").json()
    known = {container["Id"] for container in containers}
    running = {container["Id"] for container in containers if container["State"] in ("running", "paused")}
    volumes = {volume["Name"] for volume in engine.api("GET", "/volumes").json()["Volumes"] or []}
    root, instance = engine.root, instance_of(engine.exec_root)
    found = []
    for parent in ("d/containers", "d/snapshots"):
        found += [f"directory {path}" for path in _children(root / parent) if path.name not in known]
    for parent in ("x/bundles", "x/exits", "x/runtime-crun", "x/runtime-runc"):
        found += [f"{path}" for path in _children(root / parent) if path.name.partition(".")[0] not in known]
    for parent in ("d/trash", "d/images/ingest"):
        found += [f"{path}" for path in _children(root / parent)]
    found += [f"handover {path}" for path in _children(root / "x/tty")]
    for path in _children(root / "x/execs"):
        # A finished exec stays for inspection, until its container is removed.
        record = _read(path / "exec.json")
        if not any(container in record for container in known):
            found.append(f"{path} with {record!r}")
    found += [f"volume {path}" for path in _children(root / "d" / "volumes") if path.name not in {*volumes, ".trash"}]
    for cgroup in _cgroup_directories(instance):
        for child in _children(cgroup):
            if child.is_dir() and not any(container in child.name for container in running):
                found.append(f"cgroup {child}")
    for pid, line in _process_lines():
        if str(root) in line and "conmon" in line and not any(container in line for container in running):
            found.append(f"process {pid}: {line[:300]}")
    found += _surplus_links(engine, running, instance)
    found += _surplus_ports(containers, instance)
    return found


# Namespaces that the engine prepares ahead of need, see darse.networks.pool.
_POOL = 4


def _surplus_links(engine: Engine, running: set[str], instance: str) -> list[str]:
    members = engine.api("GET", "/networks/bridge").json()["Containers"]
    found = [f"address {member['IPv4Address']} of {name}" for name, member in members.items() if name not in running]
    ports = [path.name for path in _children(_LINKS / f"dz{instance}" / "brif")]
    if len(ports) > len(members) + _POOL:
        found.append(f"{len(ports)} links on the bridge, for {len(members)} containers and a pool of {_POOL}")
    return found


def _surplus_ports(containers: list[dict[str, Any]], instance: str) -> list[str]:
    published = {
        (port["Type"], port["PublicPort"])
        for container in containers
        for port in container["Ports"]
        if port.get("PublicPort")
    }
    found = []
    for protocol in ("tcp", "udp"):
        command = ["nft", "-j", "list", "map", "ip", f"darse_{instance}", f"{protocol}_any"]
        listed = subprocess.run(command, capture_output=True, check=False)
        if listed.returncode != 0:
            continue
        for entry in json.loads(listed.stdout)["nftables"]:
            for element in entry.get("map", {}).get("elem", []):
                if (protocol, element[0]) not in published:
                    found.append(f"mapped port {element[0]}/{protocol}")
    return found


def processes_of(root: Path) -> Iterator[tuple[int, str]]:
    """The pids and command lines of an engine's processes: itself, its helpers, and those inside containers."""
    for pid, line in _process_lines():
        # Inside, nothing speaks of the engine but the container's root mount. (Another engine's containers have copies
        # of all of the host's mounts, but not that one.)
        if pid != os.getpid() and (str(root) in line or f"upperdir={root}/" in _read(Path(f"/proc/{pid}/mountinfo"))):
            yield pid, line


def _processes(root: Path) -> Iterator[str]:
    for pid, line in processes_of(root):
        yield f"process {pid}: {line[:300]}"


def _process_lines() -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            line = _read(Path(f"/proc/{entry}/cmdline")).replace("\0", " ")
            if line:
                yield int(entry), line


def _mounts(root: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(root) in line and line.split()[4] != str(root / "x"):
            yield f"mount {line}"


def cgroups_of(exec_root: Path) -> list[Path]:
    """The parents of an engine's containers' control groups: one per hierarchy."""
    return _cgroup_directories(instance_of(exec_root))


def _cgroup_directories(instance: str) -> list[Path]:
    parents = [_CGROUPS, *(path for path in _children(_CGROUPS) if path.is_dir())]
    return [parent / f"darse_{instance}" for parent in parents if (parent / f"darse_{instance}").is_dir()]


def _cgroups(instance: str) -> Iterator[str]:
    for directory in _cgroup_directories(instance):
        yield f"cgroup {directory} with {[path.name for path in _children(directory) if path.is_dir()]}"


def _links(instance: str) -> Iterator[str]:
    for link in _children(_LINKS):
        if instance in link.name:
            yield f"link {link.name} with ports {[port.name for port in _children(link / 'brif')]}"


def _tables(instance: str) -> Iterator[str]:
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    for line in tables.stdout.splitlines():
        if instance in line:
            yield f"firewall {line}"


def _files(root: Path) -> Iterator[str]:
    trash = root / "d/volumes/.trash"
    for directory in ("d/containers", "d/snapshots", "d/trash", "d/volumes", "x/bundles", "x/execs", "x/exits", trash):
        for child in _children(root / directory):
            if child != trash:
                yield f"file {child}"
    yield from (f"orphan {orphan}" for kind in _children(root / "d/orphans") for orphan in _children(kind))
    for runtime in (root / "x").glob("runtime-*"):
        for child in _children(runtime):
            yield f"runtime state {child}"
    for socket in [*(root / "x").glob("*.sock"), *_children(root / "x/tty")]:
        yield f"socket {socket}"


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    except OSError:
        # A process that ends while it is read: EINVAL from mountinfo.
        return ""
