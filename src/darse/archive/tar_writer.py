"""Packing a tree: walked by descriptors, no link followed, written to a descriptor.

Directories are opened relative to their parents, so whatever is renamed meanwhile, the walk stays below what it once
opened. Small files are gathered in a buffer, large ones go by sendfile(2), which on a pipe copies nothing. A file that
becomes shorter while it is read is filled with zeros, as GNU tar does; `shortened` counts them.
"""

from __future__ import annotations

import errno
import os
import stat

from darse.archive.errors import ArchiveRefused, shown
from darse.archive.headers import Headers
from darse.archive.tar import BLOCK, BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from darse.linux.fs.contained import ENTER, LEAVE, Walk

TYPE_CHECKING = False  # not typing's, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Callable

_BUFFER = 256 * 1024
# Files of at least this many bytes go by sendfile(2), in pieces that a signal may come between.
_LARGE = 64 * 1024
_PIECE = 8 * 1024 * 1024
# What tar's readers can make of a path (limits.h); a container can nest deeper by renaming.
_PATH_MAX = 4096
# Names of one directory in memory, and directories open at once.
_NAMES = 256 * 1024
_HELD = 512
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
# Gone since its name was read, or become something else: as if it had never been there.
_VANISHED = frozenset((errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ESTALE))
# Attributes that say how one overlay is made, or that only one host's security module understands.
_NOT_ARCHIVED = ("trusted.", "security.selinux", "security.ima", "security.evm", "system.nfs4")


class TreePacker:
    """Writes entries to a descriptor."""

    def __init__(self, output: int, *, skip_contents: Callable[[int, os.stat_result], bool] | None = None) -> None:
        """`skip_contents(directory, status)` tells of directories whose contents are left out."""
        self._output = output
        self._buffer = bytearray()
        self._headers = Headers()
        self._skip = skip_contents
        self._links: dict[tuple[int, int], bytes] = {}
        self.shortened = 0

    def add(self, parent: int, base: str, name: bytes, *, follow: bool = False) -> None:
        """Add what `base` is in the directory `parent`, with all that is in it, under `name`.

        Raises OSError when it cannot be read, and ArchiveRefused for a tree that is nested too deeply.
        """
        status = os.stat(base, dir_fd=parent, follow_symlinks=follow)
        if not stat.S_ISDIR(status.st_mode):
            self._other(parent, base, name, status)
            return
        flags = _OPEN_DIRECTORY & ~os.O_NOFOLLOW if follow else _OPEN_DIRECTORY
        self._tree(os.open(base, flags, dir_fd=parent), name)

    def add_contents(self, directory: int) -> None:
        """Add what is in a directory, under the names it has there."""
        self._tree(os.open(".", _OPEN_DIRECTORY, dir_fd=directory), b"")

    def finish(self) -> None:
        """Write the archive's end."""
        self._buffer += bytes(2 * BLOCK)
        self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        view = memoryview(self._buffer)
        while view:
            view = view[os.write(self._output, view) :]
        self._buffer = bytearray()

    def _tree(self, top: int, name: bytes) -> None:
        """Pack a directory, which is closed at the end, and all below."""
        try:
            path = name if not name or name.endswith(b"/") else name + b"/"
            if not self._directory(top, path, os.fstat(top)):
                return
            walk = Walk(top, wide_ordered=True, batch=_NAMES, held=_HELD)
            for kind, directory, child, status in walk:
                if kind == LEAVE:
                    path = path[: path.rstrip(b"/").rfind(b"/") + 1]
                    continue
                inner = path + os.fsencode(child)
                if len(inner) >= _PATH_MAX:
                    raise ArchiveRefused(
                        f"{shown(inner)} is nested too deeply: paths have at most {_PATH_MAX - 1} bytes"
                    )
                if kind == ENTER:
                    path = inner + b"/"
                    if not self._directory(directory, path, status):
                        walk.skip()
                    continue
                try:
                    self._other(directory, child, inner, status)
                except OSError as error:
                    if error.errno not in _VANISHED:
                        raise
        finally:
            os.close(top)

    def _directory(self, directory: int, name: bytes, status: os.stat_result) -> bool:
        """Add a directory itself, if it has a name; whether what is in it is to be added."""
        if name:
            self._header(name, DIRECTORY, status, xattrs=_xattrs(directory))
        return self._skip is None or not self._skip(directory, status)

    def _other(self, parent: int, base: str, name: bytes, status: os.stat_result) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket means nothing without the process that listens
        if kind == REGULAR:
            self._regular(parent, base, name)
            return
        first = self._first_name(name, status)
        if first is not None:
            self._header(name, LINK, status, link=first)
        elif kind == SYMLINK:
            self._header(name, kind, status, link=os.fsencode(os.readlink(base, dir_fd=parent)))
        else:
            self._header(name, kind, status)

    def _first_name(self, name: bytes, status: os.stat_result) -> bytes | None:
        """Under which name a file with several is in the archive already."""
        if status.st_nlink < 2:
            return None
        first = self._links.setdefault((status.st_dev, status.st_ino), name)
        return first if first != name else None

    def _header(
        self,
        name: bytes,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: dict[bytes, bytes] | None = None,
    ) -> None:
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in (CHARACTER, BLOCK_DEVICE) else (0, 0)
        header = self._headers.entry(
            name,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=size,
            seconds=status.st_mtime_ns // 1_000_000_000,
            link=link,
            device=device,
            xattrs=xattrs,
        )
        self._put(header)

    def _regular(self, parent: int, base: str, name: bytes) -> None:
        file = os.open(base, _OPEN_FILE, dir_fd=parent)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return  # replaced since it was looked at
            first = self._first_name(name, status)
            if first is not None:
                self._header(name, LINK, status, link=first)
                return
            size = status.st_size
            self._header(name, REGULAR, status, size=size, xattrs=_xattrs(file))
            if size >= _LARGE:
                self.flush()
                self._send(file, size)
            elif size:
                content = os.read(file, size)
                while len(content) < size and (more := os.read(file, size - len(content))):
                    content += more
                if len(content) < size:
                    self._fill(size - len(content), content)
                else:
                    self._buffer += content
            self._buffer += bytes(-size % BLOCK)
        finally:
            os.close(file)

    def _send(self, file: int, size: int) -> None:
        offset = 0
        while offset < size:
            sent = os.sendfile(self._output, file, offset, min(size - offset, _PIECE))
            if not sent:
                self._fill(size - offset)
                return
            offset += sent

    def _fill(self, missing: int, content: bytes = b"") -> None:
        self.shortened += 1
        self._buffer += content
        while missing:
            piece = min(missing, _BUFFER)
            self._put(b"\0" * piece)
            missing -= piece

    def _put(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            self.flush()


def _xattrs(descriptor: int) -> dict[bytes, bytes] | None:
    try:
        names = os.listxattr(descriptor)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return None
    found = {}
    for name in names:
        if name.startswith(_NOT_ARCHIVED) or "=" in name:  # which is where a pax record's name ends
            continue
        try:
            found[os.fsencode(name)] = os.getxattr(descriptor, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
                raise
    return found or None
