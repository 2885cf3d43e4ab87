"""The control groups of containers: which hierarchies the host has, and a container's directory in each of them.

The OCI runtime creates a container's cgroups and sets their limits; freezing, reading and removing them is ours,
because a write to a file is a thousand times cheaper than a process.

Three layouts exist (cgroups(7)): `unified` (version 2 alone), `legacy` (version 1 alone) and `hybrid` (version 1 with
an empty version 2 tree beside it). A hybrid host whose version 2 tree still holds a controller is refused by crun
("cgroups in hybrid mode not supported"), so `prepare()` mounts what is left over there as version 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import msgspec

from darse.core import executors, trace
from darse.core.errors import SystemFault
from darse.linux.fs.contained import host_directories
from darse.linux.fs.mounts import change_file_system, mount
from darse.linux.proc.process import Process

ROOT = Path("/sys/fs/cgroup")
# Processes that were killed and their children are looked for again after this time at the latest.
_KILL_ROUND = 0.1
_KILL_SECONDS = 5.0
_LEAVE_SECONDS = 0.0005


class Hierarchy(msgspec.Struct, frozen=True):
    """One mounted cgroup tree. `controllers` is empty for version 2 and for named trees."""

    path: Path
    version: int
    controllers: frozenset[str]


def mounted_hierarchies() -> tuple[Hierarchy, ...]:
    """Read /proc/self/mounts; where a tree is mounted twice, the first mount counts."""
    found: dict[frozenset[str] | str, Hierarchy] = {}
    known = {line.split("\t")[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, fstype, options, *_ = line.split(" ")
        if fstype == "cgroup2":
            found.setdefault("unified", Hierarchy(Path(target), 2, frozenset()))
        elif fstype == "cgroup":
            words = options.split(",")
            controllers = frozenset(words) & known
            name = next((word for word in words if word.startswith("name=")), "")
            found.setdefault(controllers or name, Hierarchy(Path(target), 1, controllers))
    return tuple(found.values())


class Cgroups:
    """The host's cgroup trees, and our directories in them."""

    def __init__(self) -> None:
        """Read the host's layout."""
        self.hierarchies = mounted_hierarchies()

    @property
    def unified(self) -> bool:
        """Whether the host has version 2 alone."""
        return all(hierarchy.version == 2 for hierarchy in self.hierarchies) and bool(self.hierarchies)

    def prepare(self) -> list[str]:
        """Mount controllers that a hybrid host left on the version 2 tree; return their names.

        Raises SystemFault when there are no control groups at all.
        """
        if not self.hierarchies:
            raise SystemFault("no cgroup file system is mounted: mount one at /sys/fs/cgroup, then start darsed again")
        if self.unified:
            return []
        left_over: list[str] = []
        for hierarchy in self.hierarchies:
            if hierarchy.version == 2:
                left_over += (hierarchy.path / "cgroup.controllers").read_text().split()
        for controller in left_over:
            target = ROOT / controller
            target.mkdir(exist_ok=True)
            command = ("mount", "-t", "cgroup", "-o", controller, "cgroup", str(target))
            with trace.step("mount", f"cgroup v1 controller {controller}", *command):
                try:
                    mount("cgroup", str(target), "cgroup", 0, controller)
                except OSError as error:
                    if error.errno != errno.EBUSY:  # another engine has mounted it meanwhile
                        raise
        # Also when nothing was left over: another engine may have mounted it since these were read.
        self.hierarchies = mounted_hierarchies()
        return left_over

    def set_favordynmods(self, *, on: bool) -> bool:
        """Make moving processes between cgroups fast, or stop that; return whether anything changed.

        Each container and exec begins with such a move, and by default the kernel waits for all processors to pass a
        quiet point first: 10 ms here, half of an exec. `favordynmods` (Linux 6.0, cgroup-v2.rst) takes that wait away,
        for all trees of the host, and makes forks and exits slower by some nanoseconds.
        """
        option = frozenset({"favordynmods"})
        for tree in self.hierarchies:
            if tree.version == 2:
                try:
                    return change_file_system(tree.path, option if on else frozenset(), frozenset() if on else option)
                except OSError:
                    return False  # an older kernel
        return False

    def allow_real_time(self, path: str, *, period: int, runtime: int) -> None:
        """Give a cgroup, and those above it but the root, a budget of real-time microseconds; 0 leaves it.

        A cgroup can hand on only what it has (sched-rt-group.rst). Raises SystemFault, also on version 2, which has no
        such budgets.
        """
        tree = next((tree for tree in self.hierarchies if "cpu" in tree.controllers), None)
        if tree is None:
            raise SystemFault("daemon-scoped cpu-rt-period and cpu-rt-runtime are not implemented for cgroup v2")
        directory = tree.path
        for name in path.strip("/").split("/"):
            directory /= name
            for file, value in ((directory / "cpu.rt_period_us", period), (directory / "cpu.rt_runtime_us", runtime)):
                if not value:
                    continue
                with trace.step("cgroup", f"{file.name}: {value}", "sh", "-c", f"echo {value} > {file}"):
                    try:
                        directory.mkdir(exist_ok=True)
                        if int(file.read_text()) != value:
                            file.write_text(str(value))
                    except OSError as error:
                        raise SystemFault(f"unable to init CPU RT controller: {file}: {error.strerror}") from error

    def directories(self, path: str) -> list[Path]:
        """Return the existing directories of cgroup `path` (absolute within each tree)."""
        relative = path.lstrip("/")
        return [there for tree in self.hierarchies if (there := tree.path / relative).is_dir()]

    def freeze(self, path: str, frozen: bool) -> None:
        """Stop or continue every process of the cgroup. Raises OSError."""
        for tree in self.hierarchies:
            directory = tree.path / path.lstrip("/")
            if tree.version == 2 and self.unified:
                file, text = directory / "cgroup.freeze", "1" if frozen else "0"
            elif "freezer" in tree.controllers:
                file, text = directory / "freezer.state", "FROZEN" if frozen else "THAWED"
            else:
                continue
            with trace.step("cgroup", f"{'freeze' if frozen else 'thaw'} {path}", "sh", "-c", f"echo {text} > {file}"):
                file.write_text(text)

    def memory_events(self, path: str) -> Path | None:
        """The file that counts what befell the memory of cgroup `path`; None with version 1, which has none."""
        return self.hierarchies[0].path / path.lstrip("/") / "memory.events" if self.unified else None

    def thaw(self, path: str) -> None:
        """Let every process of the cgroup and of those below it go on; fine when nothing is frozen, or nothing there.

        A frozen process of version 1 takes no signal, SIGKILL included, before it thaws (freezer-subsystem.rst).
        """
        for tree in self.hierarchies:
            if tree.version == 2:
                name, text = "cgroup.freeze", "0"
            elif "freezer" in tree.controllers:
                name, text = "freezer.state", "THAWED"
            else:
                continue
            for where, _, files in host_directories(str(tree.path / path.lstrip("/"))):
                if name in files:
                    with contextlib.suppress(OSError):  # it goes away just now
                        Path(where, name).write_text(text)

    def processes(self, path: str) -> list[int]:
        """Return the pids in the cgroup and below it."""
        directories = self.directories(path)
        if not directories:
            return []
        return _processes_below(directories[0])

    def kill(self, path: str) -> list[int]:
        """SIGKILL every process of the cgroup, frozen ones too; return the pids of those there are. Does not wait.

        With version 2 the kernel does it, without missing those that are just forked (`cgroup.kill`, Linux 5.14).
        Blocks, for as long as there are processes to read of.
        """
        pids: set[int] = set()
        for directory in self.directories(path):
            killed = _kill_at_once(directory)
            found = _processes_below(directory)
            for pid in () if killed else found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pids.update(found)
        self.thaw(path)
        return sorted(pids)

    async def kill_in_thread(self, path: str) -> list[int]:
        """As `kill`."""
        return await executors.kernel.run(self.kill, path)

    async def kill_and_wait(self, path: str, seconds: float) -> list[int]:
        """SIGKILL every process of the cgroup, and wait until all have ended; return the pids of those that do not.

        That takes `seconds` at most.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        while pids := await self.kill_in_thread(path):
            if now() >= deadline:
                return pids
            await _wait_ends(pids, min(_KILL_ROUND, max(0.0, deadline - now())))
            # No event says when a process that has ended leaves the cgroup, some microseconds later.
            await asyncio.sleep(_LEAVE_SECONDS)
        return []

    def remove_empty(self, path: str) -> bool:
        """Remove the cgroup from every tree; False when something is in it still. Missing directories are fine."""
        empty = True
        for directory in self.directories(path):
            with trace.step("cgroup", f"remove {directory}", "rmdir", str(directory)):
                empty &= _remove_empty(directory)
        return empty

    async def remove_cgroup(self, path: str) -> None:
        """Kill what is left in the cgroup and remove it from every tree; missing directories are fine.

        Raises SystemFault when processes survive SIGKILL (in uninterruptible sleep).
        """
        if self.remove_empty(path):
            return
        left = await self.kill_and_wait(path, _KILL_SECONDS)
        if left:
            raise SystemFault(f"cgroup {path} still holds processes that do not end: {left}")
        await executors.kernel.run(self.remove_tree, path)

    def remove_tree(self, path: str) -> None:
        """Remove the cgroup and those below it from every tree. Raises OSError when processes are in them."""
        for directory in self.directories(path):
            with trace.step("cgroup", f"remove {directory} and what is below it", "rmdir", str(directory)):
                _remove_tree(directory)

    def remove_parent(self, path: str) -> None:
        """Remove the engine's own cgroup where it is empty."""
        for directory in self.directories(path):
            with contextlib.suppress(OSError):  # other containers' cgroups keep it
                directory.rmdir()


def _kill_at_once(directory: Path) -> bool:
    """Have the kernel kill a cgroup with those below it; False where it cannot: version 1, threads, older kernels."""
    try:
        # (Not made where it is not: that is no file of the kernel's.)
        descriptor = os.open(directory / "cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"1")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _processes_below(directory: Path) -> list[int]:
    pids: list[int] = []
    for where, _, files in host_directories(str(directory)):
        if "cgroup.procs" in files:
            with contextlib.suppress(OSError):  # it goes away just now
                pids += [int(line) for line in Path(where, "cgroup.procs").read_text().split()]
    return pids


def _remove_tree(directory: Path) -> None:
    for where in reversed([where for where, _, _ in host_directories(str(directory))]):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(where)


def _remove_empty(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


async def _wait_ends(pids: Iterable[int], seconds: float) -> None:
    """Wait, by their pidfds, until all these processes have ended, or `seconds` have passed."""
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    for pid in pids:
        try:
            process = Process(pid)
        except OSError:
            continue  # it has ended; or it is a thread of one that is in the list, too (version 1)
        try:
            await process.ends_within(max(0.0, deadline - now()))
        finally:
            process.close()
