"""Changes a tree below the current root as the engine says, with contents that a client sends: a context's next state.

The job, on a descriptor, is the engine's: a run of changes, each a header and its path and link.

    REMOVE       what is there, with all below it; fine when it is gone
    DIRECTORY    a new one, or one that is there and gets this mode; its time is set when all is done
    SYMLINK, NODE
    FILE         one whose content comes with this number
    HARD_LINK    made when all contents have come

Contents come on another descriptor from somebody whom nobody trusts, in pieces (`darse.build.context.transfer`). Each
file is created exclusively, so nothing is ever written that was there before: other trees have the same files. In the
place of the job comes then what became of each file: number, how it ended, inode, SHA-256 of its content.

Everything belongs to whom the worker is. No link in a path is followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct

from darse.archive.errors import ArchiveRefused
from darse.archive.stream import write_all
from darse.linux.fs.contained import remove_entry
from darse.linux.fs.openat2 import open_without_links
from darse.quoting import quoted_path

TYPE_CHECKING = False  # not the one of typing, whose import is a third of a worker's start
if TYPE_CHECKING:
    from typing import Any, BinaryIO

REMOVE, DIRECTORY, SYMLINK, NODE, FILE, HARD_LINK = range(6)
#: Kind, number, mode, time in nanoseconds, lengths of the path and the link.
CHANGE = struct.Struct("=BIIqHH")
#: Number, kind of the last piece, inode, digest.
RESULT = struct.Struct("=IBQ32s")
#: Kind, number of the file, length of the data that follows.
PIECE = struct.Struct(">BII")
CONTENT, END, CHANGED, GONE, CAPABILITY = range(5)
#: Bytes of a piece's data.
LONGEST_PIECE = 1 << 20
#: Files of which some pieces have come, and not the last.
MOST_OPEN = 64
_BUFFER = 1 << 18
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _OpenFile:
    """A file of which some has come."""

    __slots__ = ("descriptor", "digest", "known", "number")

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.descriptor = descriptor
        self.digest: Any = hashlib.sha256()
        #: Whether its content is all that counts of it.
        self.known = True


class TreeChanger:
    """Applies one job."""

    def __init__(self, job: int, contents: int) -> None:
        """Both are descriptors; they stay the caller's."""
        self._job = job
        self._contents = contents
        self._root = -1
        self._parent: tuple[bytes, int] | None = None
        self._files: dict[int, tuple[bytes, int, int]] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._directories: list[tuple[bytes, int]] = []
        self._open: dict[int, _OpenFile] = {}
        self._results = bytearray()
        self.files = 0

    def run(self) -> None:
        """Do all of it in the current root. Raises ArchiveRefused for what the client is to blame for, and OSError."""
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        with open(self._job, "rb", buffering=_BUFFER, closefd=False) as job:
            while header := job.read(CHANGE.size):
                kind, number, mode, time, path, link = CHANGE.unpack(header)
                self._change(kind, number, mode, time, job.read(path), job.read(link))
        if self._files:
            with open(self._contents, "rb", buffering=_BUFFER, closefd=False) as contents:
                while self._files or self._open:
                    self._piece(contents)
        for path, original in self._links:
            self._hard_link(path, original)
        for path, time in reversed(self._directories):
            self._set_time(path, time)
        os.ftruncate(self._job, 0)
        os.lseek(self._job, 0, os.SEEK_SET)
        write_all(self._job, memoryview(self._results))

    def _change(self, kind: int, number: int, mode: int, time: int, path: bytes, link: bytes) -> None:
        if kind == FILE:
            self._files[number] = (path, mode, time)
        elif kind == HARD_LINK:
            self._links.append((path, link))
        elif kind == REMOVE:
            directory, name = self._place(path)
            remove_entry(directory, os.fsdecode(name))
        elif kind == DIRECTORY:
            self._directory(path, mode, time)
        else:
            directory, name = self._place(path)
            if kind == SYMLINK:
                os.symlink(link, name, dir_fd=directory)
            elif not self._node(directory, name, mode, link):
                return
            os.utime(name, ns=(time, time), dir_fd=directory, follow_symlinks=False)

    def _directory(self, path: bytes, mode: int, time: int) -> None:
        directory, name = self._place(path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)
        made = open_without_links(directory, os.fsdecode(name), _OPEN_DIRECTORY)
        try:
            # Also of a new one: in a directory that is set-gid it has become that, too.
            os.fchmod(made, stat.S_IMODE(mode))
        finally:
            os.close(made)
        self._directories.append((path, time))

    @staticmethod
    def _node(directory: int, name: bytes, mode: int, device: bytes) -> bool:
        """Make a fifo or a device; False where there are none to give, as in a user namespace."""
        major, _, minor = device.partition(b":")
        number = os.makedev(int(major or 0), int(minor or 0))
        try:
            os.mknod(name, stat.S_IFMT(mode) | mode & 0o777, number, dir_fd=directory)
        except PermissionError:
            if stat.S_ISFIFO(mode):
                raise
            return False
        return True

    def _piece(self, contents: BinaryIO) -> None:
        header = contents.read(PIECE.size)
        if len(header) < PIECE.size:
            raise ArchiveRefused(f"the contents of {len(self._files) + len(self._open)} files did not come")
        kind, number, length = PIECE.unpack(header)
        if length > LONGEST_PIECE or kind > CAPABILITY:
            raise ArchiveRefused("what came as contents of files is none")
        data = contents.read(length)
        if len(data) < length:
            raise ArchiveRefused("the contents of a file end before they are over")
        if kind == GONE and number not in self._open:
            if self._files.pop(number, None) is None:
                raise ArchiveRefused(f"file {number} is gone, and nobody asked for it")
            self._results += RESULT.pack(number, kind, 0, bytes(32))
            return
        file = self._open.get(number) or self._created(number)
        if kind == GONE:
            raise ArchiveRefused(f"file {number} is gone, and some of it has come")
        if kind == CONTENT:
            write_all(file.descriptor, data)
            file.digest.update(data)
        elif kind == CAPABILITY:
            # Writing would take it away, so it has to come last; a file that is not what is known is read when needed.
            file.known = False
            os.setxattr(file.descriptor, "security.capability", data)
        else:
            self._end(file, kind)

    def _created(self, number: int) -> _OpenFile:
        found = self._files.get(number)
        if found is None:
            raise ArchiveRefused(f"the content of file {number} came, and nobody asked for it")
        if len(self._open) == MOST_OPEN:
            raise ArchiveRefused(f"contents of more than {MOST_OPEN} files come at once")
        path, mode, _ = found
        directory, name = self._place(path)
        descriptor = os.open(name, _CREATE, mode & 0o777, dir_fd=directory)
        file = self._open[number] = _OpenFile(number, descriptor)
        return file

    def _end(self, file: _OpenFile, kind: int) -> None:
        _, mode, time = self._files.pop(file.number)
        if mode & 0o7000:
            os.fchmod(file.descriptor, stat.S_IMODE(mode))
        os.utime(file.descriptor, ns=(time, time))
        inode = os.fstat(file.descriptor).st_ino
        os.close(file.descriptor)
        del self._open[file.number]
        digest = file.digest.digest() if file.known else bytes(32)
        self._results += RESULT.pack(file.number, kind, inode, digest)
        self.files += 1

    def _hard_link(self, path: bytes, original: bytes) -> None:
        above, _, name = original.rpartition(b"/")
        source = self._opened(above)
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
                raise ArchiveRefused(f"{quoted_path(path)} is a hard link to what is no file: {quoted_path(original)}")
            directory, own = self._place(path)
            os.link(name, own, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            raise ArchiveRefused(
                f"{quoted_path(path)} is a hard link to what is not there: {quoted_path(original)}"
            ) from None
        finally:
            os.close(source)

    def _set_time(self, path: bytes, time: int) -> None:
        directory = self._opened(path)
        try:
            os.utime(directory, ns=(time, time))
        finally:
            os.close(directory)

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """A descriptor of the directory that a path is in, until the next call; and its name there."""
        above, _, name = path.rpartition(b"/")
        if self._parent is None or self._parent[0] != above:
            directory = self._opened(above)
            if self._parent is not None:
                os.close(self._parent[1])
            self._parent = (above, directory)
        return self._parent[1], name

    def _opened(self, path: bytes) -> int:
        return open_without_links(self._root, os.fsdecode(path) or ".", _OPEN_DIRECTORY)
