"""What an engine has left behind on the host: mounts, processes, cgroups, links, firewall tables, files.

Everything an engine makes carries its roots or its instance (a hash of its exec root), so that engines which run at
the same time, of parallel tests or of other people, do not blame each other.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_LINKS = Path("/sys/class/net")


def instance_of(exec_root: Path) -> str:
    """The name of the engine in what it makes; the same rule as in darse.engine.config."""
    return hashlib.sha256(str(exec_root).encode()).hexdigest()[:8]


def find_leaks(root: Path, *, engine_pids: frozenset[int] = frozenset()) -> list[str]:
    """Everything left of the engine whose roots are `root`/d and `root`/x, one line each; empty when it is clean.

    Call it after the last container was removed and the engine was stopped; what a running engine of
    `engine_pids` has for itself (its own mount, its bridge) is then no leak, so do not count that either.
    """
    instance = instance_of(root / "x")
    return [
        *_processes(root, engine_pids),
        *_mounts(root),
        *_cgroups(instance),
        *_links(instance),
        *_tables(instance),
        *_files(root),
    ]


def container_leaks(root: Path, live: set[str]) -> list[str]:
    """What is left of containers other than `live`, while the engine runs: processes, mounts, cgroups, links, files.

    Also counts the reverse for links: more of them than running containers and the pool of prepared ones explain.
    """
    instance = instance_of(root / "x")
    found = []
    for directory in (*_children(root / "d" / "containers"), *_children(root / "d" / "snapshots")):
        if directory.name not in live:
            found.append(f"directory {directory}")
    for directory in (*_children(root / "x" / "bundles"), *_children(root / "x" / "exits")):
        if directory.name.partition(".")[0] not in live:
            found.append(f"directory {directory}")
    found += [f"directory {path}" for path in _children(root / "d" / "trash")]
    for cgroup in _cgroup_directories(instance):
        for child in _children(cgroup):
            if child.is_dir() and not any(container in child.name for container in live):
                found.append(f"cgroup {child}")
    for pid, line in _process_lines():
        if str(root) in line and "conmon" in line and not any(container in line for container in live):
            found.append(f"process {pid}: {line[:300]}")
    return found


def bridge_ports(root: Path) -> list[str]:
    """The links that are plugged into the engine's default bridge."""
    return [path.name for path in _children(_LINKS / f"dz{instance_of(root / 'x')}" / "brif")]


def _processes(root: Path, engine_pids: frozenset[int]) -> Iterator[str]:
    for pid, line in _process_lines():
        if pid in engine_pids or pid == os.getpid():
            continue
        if str(root) in line:
            yield f"process {pid}: {line[:300]}"
        elif str(root) in _read(Path(f"/proc/{pid}/mountinfo")):
            yield f"process {pid} (in a mount namespace with mounts of the engine): {line[:300]}"


def _process_lines() -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            line = _read(Path(f"/proc/{entry}/cmdline")).replace("\0", " ")
            if line:
                yield int(entry), line


def _mounts(root: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(root) in line:
            yield f"mount {line}"


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
    for directory in ("d/containers", "d/snapshots", "d/trash", "d/volumes", "x/bundles", "x/execs", "x/exits"):
        for child in _children(root / directory):
            # The index of volumes is the store's, not a volume.
            yield f"file {child}"
    for runtime in (root / "x").glob("runtime-*"):
        for child in _children(runtime):
            yield f"runtime state {child}"
    for socket in (root / "x").glob("*.sock"):
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
