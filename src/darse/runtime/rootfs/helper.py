"""Work on a container's files, done by a process that sees nothing else: see `darse.runtime.rootfs.helper_main`.

A `RootfsView` is where it looks: the mount namespace of a running container, or one that is made for this, with the
container's overlay and volumes mounted (`mount_view`). Both are descriptors; with the last one such a namespace goes,
whatever ends the engine.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import marshal
import os
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from darse.archive.process import OnConnection, search_path
from darse.archive.request_body import TO_THE_END
from darse.core.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound, SystemFault
from darse.linux.descriptors import DescriptorClosed, FileDescriptor
from darse.linux.fs.mount_trees import bind_descriptor
from darse.linux.fs.mounts import (
    MS_BIND,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    NamespaceThreads,
    mount,
    mount_layers,
    mount_overlay,
)
from darse.linux.fs.openat2 import make_directories, open_beneath, open_in_root
from darse.linux.pipes import PipeEnd, read_when_ready
from darse.linux.proc.process import Process
from darse.runtime.monitor.launch import RootMount
from darse.runtime.oci.mounts import BindMount
from darse.runtime.rootfs.helper_main import JOB_LIMIT, MESSAGES, NAMESPACE, ROOT, USERS

# The archive is not to blame for these.
_HOST_FAULTS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE))


class RootfsView:
    """A mount namespace; the root in it where that is not the namespace's own; its users where they are not ours."""

    def __init__(self, namespace: int, root: int | None = None, users: int | None = None) -> None:
        self.namespace = namespace
        self.root = root
        self.users = users

    def close(self) -> None:
        """Let go of it."""
        for descriptor in (self.namespace, self.root, self.users):
            if descriptor is not None:
                os.close(descriptor)


def view_of_process(pid: int) -> RootfsView:
    """What a process of the container sees. Raises OSError when it has ended."""
    users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        os.close(users)
        raise
    if os.path.sameopenfile(users, _own_users()):
        os.close(users)
        return RootfsView(namespace)
    return RootfsView(namespace, users=users)


@functools.cache
def _own_users() -> int:
    return os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def mount_view(
    threads: NamespaceThreads, root: RootMount, target: Path, mounts: Sequence[BindMount], *, read_only: bool
) -> RootfsView:
    """Mount a container's files for a look from outside, as they are when it runs. Blocks: run it in `threads`.

    `target` is any directory of the host's; it is hidden in the new namespace only. Raises OSError, and
    InvalidParameter for a volume's subpath that is not there.
    """
    with threads.private_mounts(), contextlib.ExitStack() as opened:
        # Unmounts on the host still come through, mounts made here go nowhere.
        mount("", "/", "", MS_SLAVE | MS_REC)
        # In this namespace, where they are to be bound, and before the root hides what is in `target`.
        sources = []
        if any(one.layers for one in mounts):
            mount("tmpfs", str(target), "tmpfs", 0, "mode=700")
        for number, one in enumerate(mounts):
            overlay = target / str(number)
            if one.layers:
                overlay.mkdir()
                mount_layers(one.layers, str(overlay))
            sources.append(_open_source(one, str(overlay)))
            opened.callback(os.close, sources[-1])
        mount_overlay(root.lower, root.upper, root.work, str(target))
        root_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for source, one in zip(sources, mounts, strict=True):
                _mount(root_fd, source, one)
            if read_only:
                mount("", str(target), "", MS_REMOUNT | MS_BIND | MS_RDONLY)
            return RootfsView(os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), root_fd)
        except BaseException:
            os.close(root_fd)
            raise


def _open_source(one: BindMount, overlay: str) -> int:
    """Open what a mount shows; `overlay` is where the layers of an image are mounted."""
    source = os.open(overlay if one.layers else one.source, os.O_PATH | os.O_CLOEXEC)
    if not one.subpath:
        return source
    try:
        return open_beneath(source, one.subpath, os.O_PATH)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidParameter(f"cannot access path {one.source}/{one.subpath}: {reason}") from error
    finally:
        os.close(source)


def _mount(root_fd: int, source: int, one: BindMount) -> None:
    """Bind a source where the container has it; names in the container's root lead nowhere else."""
    is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
    try:
        place = open_in_root(root_fd, one.destination, os.O_PATH)
    except FileNotFoundError:
        # As the runtime would at a start.
        if is_directory:
            place = make_directories(root_fd, one.destination)
        else:
            parent, _, name = one.destination.rpartition("/")
            directory = make_directories(root_fd, parent)
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directory))
            finally:
                os.close(directory)
            place = open_in_root(root_fd, one.destination, os.O_PATH)
    try:
        bind_descriptor(source, f"/proc/thread-self/fd/{place}")
    finally:
        os.close(place)
    if not one.writable or "ro" in one.restrictions:
        # What is on top now is the bind.
        place = open_in_root(root_fd, one.destination, os.O_PATH)
        try:
            mount("", f"/proc/thread-self/fd/{place}", "", MS_REMOUNT | MS_BIND | MS_RDONLY)
        finally:
            os.close(place)


class PathStat(msgspec.Struct, frozen=True):
    """What stat told of a path: `mode` as in stat(2), `target` where a link leads in the end."""

    name: str
    size: int
    mode: int
    mtime_ns: int
    target: str


class HelperRequest(msgspec.Struct, kw_only=True):
    """What to do: `stat`, `list`, `pack`, `unpack`, or `export`, of `path`, which is absolute and normal.

    `follow` also when the path itself is a link; `name` is the archive's for it; `keep_kinds` and `owner` are
    `Unpacker`'s; `alone` leaves out what is mounted on the root.
    """

    operation: str
    path: str = "/"
    follow: bool = False
    name: str = ""
    keep_kinds: bool = False
    owner: tuple[int, int] | None = None
    alone: bool = False


class RootfsHelper:
    """One worker; close it in any case."""

    def __init__(self, view: RootfsView, job: HelperRequest, on_connection: OnConnection | None = None) -> None:
        """Start it. The view stays the caller's.

        With `on_connection` it reads the archive itself; nobody else may read from that connection meanwhile.
        """
        self._path = job.path
        self.reads_itself = on_connection is not None
        unpacks = job.operation == "unpack"
        self._pipe = PipeEnd(reads=not unpacks)
        messages, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        messages.setblocking(False)
        self._messages = FileDescriptor(messages.detach())
        self._process: Process | None = None
        self._ended = False
        with theirs:
            descriptors = {
                0 if unpacks else 1: self._pipe.theirs if on_connection is None else on_connection.connection,
                MESSAGES: theirs.fileno(),
                NAMESPACE: view.namespace,
            }
            if view.root is not None:
                descriptors[ROOT] = view.root
            if view.users is not None:
                descriptors[USERS] = view.users
            try:
                more = {
                    "has_root": view.root is not None,
                    "has_users": view.users is not None,
                    "start": b"" if on_connection is None else on_connection.start,
                    "length": TO_THE_END if on_connection is None else on_connection.length,
                }
                os.write(self._messages.number, marshal.dumps(msgspec.structs.asdict(job) | more))
                self._process = Process.start(_command(), {"LC_ALL": "C.UTF-8"}, descriptors)
            except BaseException:
                self._pipe.close()
                self._messages.close()
                raise
        self._pipe.close_theirs()

    def kill(self) -> None:
        """End it now; whoever reads from it hears so."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send(signal.SIGKILL)

    async def end(self) -> None:
        """End it because the container is removed, and return when it has let go of the container's files.

        Whoever reads from it or writes to it hears Conflict.
        """
        self._ended = True
        self.kill()
        if self._process is not None:
            with contextlib.suppress(DescriptorClosed):  # who works with it has reaped it meanwhile
                await self._process.wait()

    async def found(self) -> PathStat | None:
        """What stat told; None for work that has no such answer. Raises what the worker's refusal means."""
        words = await self._message()
        if words[0] != "stat":
            raise self._failure(words)
        if len(words) == 1:
            return None
        _, name, size, mode, mtime_ns, target = words
        return PathStat(name, int(size), int(mode), int(mtime_ns), target)

    async def done(self) -> int:
        """Wait for the end; return the number that it tells. Raises what the worker's failure means."""
        words = await self._message()
        if words[0] != "done":
            raise self._failure(words)
        return int(words[1])

    async def listed(self) -> list[PathStat]:
        """What `list` finds in a directory. Raises what the worker's failure means."""
        data = bytearray()
        while piece := await self._pipe.read():
            data += piece
        words = [word.decode(errors="replace") for word in bytes(data).split(b"\0")[:-1]]
        await self.done()
        fields = zip(*(words[place::5] for place in range(5)), strict=True)
        return [
            PathStat(name, int(size), int(mode), int(moment), target) for name, size, mode, moment, target in fields
        ]

    async def read(self) -> bytes:
        """The next of the archive; nothing at its end. Raises DescriptorClosed."""
        return await self._pipe.read()

    async def write(self, data: bytes) -> None:
        """More of the archive. Raises BrokenPipeError when the worker takes no more of it."""
        await self._pipe.write(data)

    def end_input(self) -> None:
        """The archive is complete."""
        self._pipe.close()

    async def close(self) -> None:
        """End it if it still runs, and reap it."""
        self._pipe.close()
        self._messages.close()
        if self._process is not None:
            process, self._process = self._process, None
            try:
                with contextlib.suppress(ProcessLookupError):
                    process.send(signal.SIGKILL)
                await process.wait()
            finally:
                process.reap()
                process.close()

    async def _message(self) -> list[str]:
        try:
            data = await read_when_ready(self._messages, JOB_LIMIT)
        except ConnectionResetError:
            data = b""  # it has not even read its job
        if not data:
            if self._ended:
                raise Conflict("the container was removed while its files were read or written")
            raise SystemFault("the process that works on the container's files ended early")
        return [os.fsdecode(word) for word in data.split(b"\0")]

    def _failure(self, words: list[str]) -> EngineError:
        kind, *texts = words
        text = texts[0] if texts else ""
        if kind == "not-found":
            return NotFound(self._path)
        if kind == "read-only":
            return Forbidden(text)
        if kind == "archive":
            return InvalidParameter(f"Error processing tar file: {text}")
        if kind == "fault":
            return SystemFault(f"the process that works on the container's files failed: {text}")
        if kind != "system":
            return InvalidParameter(text)
        number, reason, name = int(texts[0]), texts[1].lower(), texts[2]
        text = f"{name}: {reason}" if name else reason
        if number == errno.EROFS:
            return Forbidden(text)
        return SystemFault(text) if number in _HOST_FAULTS else InvalidParameter(text)


def _command() -> list[str]:
    """The worker's command line: without the environment's settings and without site packages' start-up files."""
    search = f"import sys; sys.path += {search_path().split(':')!r}"
    program = f"{search}; from darse.runtime.rootfs.helper_main import main; main()"
    return [sys.executable, "-I", "-S", "-c", program]
