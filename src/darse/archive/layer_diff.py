"""Packs an overlay's upper directory, the current root, as a layer of the OCI image specification (layer.md).

overlayfs's whiteouts and opaque directories become `.wh.NAME` and `.wh..wh..opq`. What overlayfs keeps in attributes
for itself is left out, as are sockets, which are nothing without their server. Entries are in the order of their names,
times are whole seconds, and names of owners are left out: the same tree always gives the same archive.

A file that shrinks while it is read is filled up with zeros, and one that grows is cut, as GNU tar does.
"""

from __future__ import annotations

import errno
import os
import stat

from darse.archive.errors import ArchiveRefused, shown
from darse.archive.headers import Headers, padded
from darse.archive.stream import write_all
from darse.archive.tar import BLOCK, BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK, Segments
from darse.linux.fs.contained import ENTER, LEAVE, Walk

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from darse.archive.id_mapping import Owners

_CAPABILITY = b"security.capability"
_OPAQUE_XATTR = "trusted.overlay.opaque"
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_PIECE = 256 * 1024
# Holes that save less are written as zeros: not every reader knows sparse files.
_WORTH = 64 * 1024
_PATH_MAX = 4096
# Names of one directory in memory, and directories open at once.
_NAMES = 256 * 1024
_HELD = 128
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Packer:
    """Writes one archive."""

    def __init__(self, target: int, skip: frozenset[bytes], owners: Owners | None = None) -> None:
        """Paths in `skip` (absolute) and what is below them are left out; `owners` are mapped on the way."""
        self._target = target
        self._skip = skip
        self._owners = owners
        self._headers = Headers()
        self._links: dict[tuple[int, int], bytes] = {}
        self._gathered: list[bytes] = []
        self._gathered_size = 0

    def run(self) -> None:
        """Pack everything. Raises ArchiveRefused for a tree that no archive holds, and OSError."""
        top = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        directory = b"/"
        walk = Walk(top, wide_ordered=True, batch=_NAMES, held=_HELD)
        for kind, _, name, status in walk:
            if kind == LEAVE:
                directory = directory[: directory.rindex(b"/", 0, -1) + 1]
                continue
            path = directory + os.fsencode(name)
            taken = path not in self._skip and self._entry(path, status)
            if kind == ENTER:
                directory = path + b"/"
                if not taken:
                    walk.skip()
        os.close(top)
        self._emit(bytes(2 * BLOCK))
        self._flush()

    def _entry(self, path: bytes, status: os.stat_result) -> bool:
        """Write an entry; whether it is a directory. What has gone meanwhile is left out."""
        if len(path) >= _PATH_MAX:
            raise ArchiveRefused(f"{shown(path)} is nested too deeply: paths have at most {_PATH_MAX - 1} bytes")
        try:
            xattrs = _xattrs(path)
        except FileNotFoundError:
            return False
        mode = status.st_mode
        parent, _, name = path.rpartition(b"/")
        if name.startswith(b".wh."):
            raise ArchiveRefused(f"{shown(path)} cannot be in a layer: names that begin with .wh. mean what is gone")
        if stat.S_ISSOCK(mode):
            return False
        if stat.S_ISCHR(mode) and status.st_rdev == 0:
            self._marker(parent + b"/.wh." + name, status)
            return False
        if stat.S_ISDIR(mode):
            self._header(path + b"/", DIRECTORY, status, xattrs)
            if _xattr(path, _OPAQUE_XATTR) == b"y":
                self._marker(path + b"/.wh..wh..opq", status)
            return True
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self._header(path, LINK, status, None, link=first[1:])
                return False
        if stat.S_ISREG(mode):
            self._file(path, status, xattrs)
        elif stat.S_ISLNK(mode):
            self._header(path, SYMLINK, status, xattrs, link=os.readlink(path))
        elif stat.S_ISFIFO(mode):
            self._header(path, FIFO, status, xattrs)
        else:
            device = os.major(status.st_rdev), os.minor(status.st_rdev)
            self._header(path, CHARACTER if stat.S_ISCHR(mode) else BLOCK_DEVICE, status, xattrs, device=device)
        return False

    def _marker(self, path: bytes, status: os.stat_result) -> None:
        self._emit(self._headers.entry(path[1:], REGULAR, mode=0, seconds=status.st_mtime_ns // 1_000_000_000))

    def _header(
        self,
        path: bytes,
        kind: bytes,
        status: os.stat_result,
        xattrs: dict[bytes, bytes] | None,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        more: dict[bytes, bytes] | None = None,
    ) -> None:
        uid, gid = status.st_uid, status.st_gid
        if self._owners is not None:
            uid, gid = self._owners.user(uid), self._owners.group(gid)
            if xattrs and _CAPABILITY in xattrs:
                xattrs = {**xattrs, _CAPABILITY: self._owners.capability(xattrs[_CAPABILITY])}
        self._emit(
            self._headers.entry(
                path[1:],
                kind,
                mode=stat.S_IMODE(status.st_mode),
                uid=uid,
                gid=gid,
                size=size,
                seconds=status.st_mtime_ns // 1_000_000_000,
                link=link,
                device=device,
                xattrs=xattrs,
                more=more,
            )
        )

    def _file(self, path: bytes, status: os.stat_result, xattrs: dict[bytes, bytes]) -> None:
        try:
            file = os.open(path, _OPEN)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return  # gone, or another thing by now
            raise
        try:
            opened = os.fstat(file)
            if not stat.S_ISREG(opened.st_mode):
                return
            size = opened.st_size
            data = _data(file, size) if size - opened.st_blocks * 512 >= _WORTH else None
            if data is None:
                self._header(path, REGULAR, opened, xattrs, size=size)
                self._content(file, [(0, size)])
                self._emit(bytes(-size % BLOCK))
            else:
                self._sparse(path, file, opened, xattrs, data)
        finally:
            os.close(file)

    def _sparse(
        self, path: bytes, file: int, status: os.stat_result, xattrs: dict[bytes, bytes], data: Segments
    ) -> None:
        """GNU's format 1.0: the map is before the data."""
        lines = [len(data), *(number for segment in data for number in segment)]
        sparse_map = padded(b"".join(b"%d\n" % line for line in lines))
        size = len(sparse_map) + sum(count for _, count in data)
        parent, _, name = path.rpartition(b"/")
        more = {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": path[1:],
            b"GNU.sparse.realsize": b"%d" % status.st_size,
        }
        self._header(parent + b"/GNUSparseFile.0/" + name, REGULAR, status, xattrs, size=size, more=more)
        self._emit(sparse_map)
        self._content(file, data)
        self._emit(bytes(-size % BLOCK))

    def _content(self, file: int, segments: Segments) -> None:
        for start, count in segments:
            offset, end = start, start + count
            while offset < end:
                piece = os.pread(file, min(_PIECE, end - offset), offset) or bytes(min(_PIECE, end - offset))
                offset += len(piece)
                self._emit(piece)

    def _emit(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_size += len(data)
        if self._gathered_size >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            write_all(self._target, b"".join(self._gathered))
            self._gathered, self._gathered_size = [], 0


def _xattrs(path: bytes) -> dict[bytes, bytes]:
    """The attributes that belong to an image: capabilities, ACLs, the users'; not labels of this host."""
    found = {}
    for name in _names_of_xattrs(path):
        wanted = name == "security.capability" or name in _ACLS or name.startswith("user.")
        # A pax record ends its key at the first equals sign.
        if wanted and not name.startswith("user.overlay.") and "=" not in name:
            value = _xattr(path, name)
            if value is not None:
                found[os.fsencode(name)] = value
    return found


def _names_of_xattrs(path: bytes) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _xattr(path: bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _data(file: int, size: int) -> Segments:
    return list(data_segments(file, size))


def data_segments(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, as offsets and lengths in bytes; the rest are holes."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a hole up to the end
                raise
            return
        offset = min(size, os.lseek(file, start, os.SEEK_HOLE))
        if start >= offset:
            return
        yield start, offset - start
