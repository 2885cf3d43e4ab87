"""mount(2) and mount namespaces.

A container's root is mounted in a mount namespace of its own, made for the container's conmon: the kernel drops
the mount when the last process in there is gone, so no crash of the engine can leak it, and the host's mount table
(which every later container's namespace copies) does not grow with the number of containers.

See mount(2), mount_namespaces(7), unshare(2), setns(2), Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import ParamSpec, TypeVar

from darse.core import trace
from darse.core.errors import SystemFault
from darse.core.executors import Executor
from darse.core.tasks import Outlasting
from darse.linux.libc import CLONE_FS, CLONE_NEWNS, call
from darse.linux.proc.fsuid import file_system_identity

P = ParamSpec("P")
T = TypeVar("T")

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MNT_DETACH = 2
# An overlay has 500 lower directories at most (OVL_MAX_STACK), and mount(2) says EINVAL of more: these, and one that is
# still written to and looked at.
MOST_LAYERS = 499
_FLAG_NAMES = {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "relatime": MS_RELATIME}

# With index=off a root that is mounted again before the kernel has dropped the last mount is no error. The others may
# be on by default, and leave in the upper directory things that mean something on these lower ones only: a renamed
# directory that points to where it was, a changed owner without the file's content.
_SELF_CONTAINED = "index=off,redirect_dir=nofollow,metacopy=off"
# mount(2) takes one page of options; the kernel counts the final NUL.
_OPTIONS_PAGE = 4095
# After so many seconds an operation may be stuck in a mount that does not answer, and others run beside it.
_STUCK_SECONDS = 5.0
_CLOSE_SECONDS = 30.0


def mount(source: str, target: str, fstype: str, flags: int, options: str = "") -> None:
    """mount(2). Raises OSError."""
    call(
        "mount",
        source.encode() or None,
        target.encode(),
        fstype.encode() or None,
        flags,
        options.encode() or None,
        operand=target,
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError."""
    with trace.step("mount", f"unmount {target}", "umount", target):
        call("umount2", target.encode(), flags, operand=target)


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly at `path` in this mount namespace, and is what one finds there.

    A mount below a directory over which another one was mounted later is still in the table, but nobody gets there: the
    identity of the mount that `path` leads to (mnt_id of proc(5)) tells them apart. What is mounted is not asked: it
    may be a file server that does not answer. Nothing is mounted at a symbolic link.
    """
    resolved = str(path.parent.resolve() / path.name)
    try:
        descriptor = os.open(resolved, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            identity = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(descriptor)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        fields = (line.split(" ", 5) for line in table)
        return any(one[0] == identity and _unescape(one[4]) == resolved for one in fields)


def mount_points() -> set[str]:
    """Where something is mounted in this mount namespace. No file system is asked, so it never blocks."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return {_unescape(line.split(" ", 5)[4]) for line in table}


def private_bind(path: Path) -> None:
    """Make `path` a mount point of its own that neither sends nor receives mount events."""
    if not is_mount_point(path):
        with trace.step("mount", f"bind {path} on itself", "mount", "--bind", str(path), str(path)):
            mount(str(path), str(path), "", MS_BIND)
    with trace.step("mount", f"make {path} private", "mount", "--make-private", str(path)):
        mount("", str(path), "", MS_PRIVATE)


def shared_bind(path: Path) -> None:
    """Make `path` a mount point of its own whose mounts appear wherever else it is mounted, and the other way round."""
    if not is_mount_point(path):
        with trace.step("mount", f"bind {path} on itself", "mount", "--bind", str(path), str(path)):
            mount(str(path), str(path), "", MS_BIND)
    with trace.step("mount", f"make {path} shared", "mount", "--make-shared", str(path)):
        mount("", str(path), "", MS_SHARED)


def bind_read_only(source: Path, target: Path) -> None:
    """Show a file at another place, where nobody can write to it; what was mounted there before goes."""
    if is_mount_point(target):
        unmount(str(target), MNT_DETACH)
    target.touch()
    with trace.step("mount", f"read-only bind of {source}", "mount", "--bind", "-o", "ro", str(source), str(target)):
        mount(str(source), str(target), "", MS_BIND)
        mount("", str(target), "", MS_REMOUNT | MS_BIND | MS_RDONLY)
        mount("", str(target), "", MS_PRIVATE)


def change_file_system(target: Path, add: frozenset[str], remove: frozenset[str]) -> bool:
    """Switch options of the file system mounted at `target`, keeping the others; False when nothing changes.

    Raises OSError when the kernel does not know an option.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        fields = next(line.split(" ") for line in table if _unescape(line.split(" ")[4]) == str(target))
    dash = fields.index("-")
    flags = sum(flag for name, flag in _FLAG_NAMES.items() if name in fields[5].split(","))
    options = [word for word in fields[dash + 3].strip().split(",") if word not in ("rw", "ro")]
    changed = [word for word in options if word not in remove] + sorted(add - set(options))
    if changed == options:
        return False
    text = ",".join(changed)
    with trace.step("mount", f"options of {target}: {text}", "mount", "-o", f"remount,{text}", str(target)):
        mount("", str(target), "", MS_REMOUNT | flags, text)
    return True


def mount_overlay(
    lower: Sequence[str],
    upper: str,
    work: str,
    target: str,
    owner: tuple[int, int] | None = None,
    *,
    volatile: bool = False,
) -> None:
    """Mount an overlay of `lower` (topmost first) with `upper` and `work` at `target`.

    On id-mapped mounts `owner` are the user and group that are root there. A `volatile` one syncs nothing to the disk,
    whoever asks: for what is made again when the machine goes down.

    Colons and commas are separators of the option string, so paths that contain them, and lists longer than the
    page that mount(2) copies, are passed as links of O_PATH descriptors, from within /proc/self/fd: for a thread that
    shares its working directory with no other. Raises OSError, and SystemFault for a directory that is missing.
    """
    with _short_names([*lower, upper, work]) as names:
        *lower_names, upper_name, work_name = names
        more = f"{_SELF_CONTAINED},volatile" if volatile and _has_volatile() else _SELF_CONTAINED
        options = f"lowerdir={':'.join(lower_names)},upperdir={upper_name},workdir={work_name},{more}"
        # With the paths themselves, also where they are passed as descriptors.
        shown = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work},{more}"
        with (
            trace.step(
                "mount",
                f"overlay of {len(lower)} layers",
                "mount",
                "-t",
                "overlay",
                "overlay",
                "-o",
                shown,
                target,
            ),
            file_system_identity(*owner) if owner is not None else nullcontext(),
        ):
            try:
                mount("overlay", target, "overlay", 0, options)
            except FileNotFoundError as error:
                for directory in (*lower, upper, work):
                    if not os.path.isdir(directory):
                        raise SystemFault(
                            f"{directory} is missing: `darse system check` says what to do about it"
                        ) from error
                raise


@functools.cache
def _has_volatile() -> bool:
    """Whether the kernel knows the option: since Linux 5.10."""
    major, minor, *_ = os.uname().release.split(".")
    return (int(major), int(minor)) >= (5, 10)


def mount_layers(layers: Sequence[str], target: str) -> None:
    """Mount an overlay of two or more directories, topmost first, that nobody can write to; see `mount_overlay`."""
    with _short_names(layers) as names:
        options = f"lowerdir={':'.join(names)},{_SELF_CONTAINED}"
        shown = f"lowerdir={':'.join(layers)},{_SELF_CONTAINED}"
        command = ("mount", "-t", "overlay", "-r", "overlay", "-o", shown, target)
        with trace.step("mount", f"read-only overlay of {len(layers)} layers", *command):
            mount("overlay", target, "overlay", MS_RDONLY, options)


@contextmanager
def _short_names(paths: Sequence[str]) -> Iterator[list[str]]:
    plain = sum(len(path.encode()) + 1 for path in paths) + 128 < _OPTIONS_PAGE
    if plain and not any(character in path for path in paths for character in ":,\\"):
        yield list(paths)
        return
    with ExitStack() as opened:
        here, *descriptors = (_held_open(path, opened) for path in (".", *paths))
        os.chdir("/proc/self/fd")
        opened.callback(os.fchdir, here)
        yield [str(descriptor) for descriptor in descriptors]


def _held_open(path: str, opened: ExitStack) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor


def _unescape(field: str) -> str:
    """Undo the octal escapes of /proc/self/mountinfo."""
    if "\\" not in field:
        return field
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


class NamespaceThreads:
    """Threads that may leave the process's mount namespace.

    A thread that does not share its file-system attributes (CLONE_FS) with the others can unshare and set its
    mount namespace alone; children it spawns start in that namespace. `private_mounts()` is for code that runs
    in such a thread.
    """

    def __init__(self, size: int) -> None:
        """`size` is the number of operations that can be under way at once."""
        self._local = threading.local()
        self._executor = Executor("mount-namespace", size, stuck_after=_STUCK_SECONDS, surroundings=self._thread)

    @contextmanager
    def _thread(self) -> Iterator[None]:
        call("unshare", CLONE_FS)
        self._local.home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield
        finally:
            os.close(self._local.home)

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run `function` in one of the threads, within the caller's context (its trace)."""
        return await self._executor.run(function, *arguments, **options)

    def begin(self, function: Callable[[], T], stop: Callable[[], object] | None = None) -> Outlasting[T]:
        """Have `function` called as by `run`; see `Executor.begin`."""
        return self._executor.begin(function, stop)

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in one of the threads, within the caller's context. Blocks; not for one of the threads."""
        return self._executor.call(function)

    @contextmanager
    def private_mounts(self) -> Iterator[None]:
        """Be in a new copy of the host's mount namespace for the duration of the block."""
        home: int = self._local.home
        with trace.step("namespace", "new mount namespace", "unshare", "--mount", "--propagation", "unchanged"):
            call("unshare", CLONE_NEWNS)
        try:
            yield
        finally:
            call("setns", home, CLONE_NEWNS)

    def close(self) -> None:
        """Wait for what runs, unless it is stuck."""
        self._executor.wait(_CLOSE_SECONDS)
