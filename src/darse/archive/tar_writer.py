"""Writing archives: `TarWriter` writes entries to a descriptor, `TreePacker` what a tree has.

Files are opened relative to their directories, and no link is followed, so whatever is renamed meanwhile, a walk stays
below what it once opened. Small files are gathered in a buffer, large ones go by sendfile(2), which on a pipe copies
nothing. A file that becomes shorter while it is read is filled with zeros, as GNU tar does; `shortened` counts them.
"""

from __future__ import annotations

import errno
import os
import stat

from darse.archive.errors import ArchiveRefused
from darse.archive.headers import END, entry_headers, padded
from darse.archive.tar import BLOCK, BLOCK_DEVICE, CHARACTER, DIRECTORY, LINK, REGULAR, SYMLINK, TYPES
from darse.linux.fs.contained import ENTER, LEAVE, Walk
from darse.linux.fs.sparse import data_segments
from darse.quoting import quoted_path

TYPE_CHECKING = False  # not typing's, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.archive.id_mapping import Owners
    from darse.archive.tar import Segments

_BUFFER = 256 * 1024
# Files of at least this many bytes go by sendfile(2), in pieces that a signal may come between.
_LARGE = 64 * 1024
_PIECE = 8 * 1024 * 1024
# Holes that save less are written as zeros.
_WORTH = 64 * 1024
# What tar's readers can make of a path (limits.h); a container can nest deeper by renaming.
PATH_MAX = 4096
# Names of one directory in memory, and directories open at once.
_NAMES = 256 * 1024
_HELD = 512
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Gone since its name was read, or become something else: for who walks a tree, as if it had never been there.
VANISHED = frozenset((errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ESTALE))
# Attributes that say how one overlay is made, or that only one host's security module understands.
_NOT_ARCHIVED = ("trusted.", "security.selinux", "security.ima", "security.evm", "system.nfs4")
_NO_ATTRIBUTE = frozenset((errno.ENODATA, errno.ENOTSUP, errno.EPERM))
_CAPABILITY = b"security.capability"


class TarWriter:
    """Writes one archive. A file with several names is in it once; its further names are hard links to the first."""

    def __init__(
        self,
        output: int,
        *,
        is_archived: Callable[[str], bool] | None = None,
        owners: Owners | None = None,
        sparse: bool = False,
        newest: int | None = None,
    ) -> None:
        """is_archived: which extended attributes are written; without it, all that mean something on other hosts.
        owners: maps owners and files' capabilities. sparse: leaves large holes out; not every reader knows such files.
        newest: seconds since the epoch; later times become this one.
        """
        self._output = output
        self._buffer = bytearray()
        self._is_archived = is_archived or _means_something_elsewhere
        self._owners = owners
        self._sparse = sparse
        self._newest = newest
        self._links: dict[tuple[int, int], bytes] = {}
        self.shortened = 0

    def directory(self, descriptor: int, name: bytes, status: os.stat_result) -> None:
        """Write an open directory, without what is in it."""
        self._header(name, DIRECTORY, status, xattrs=self.xattrs(descriptor))

    def file(
        self,
        parent: int,
        base: str,
        name: bytes,
        status: os.stat_result,
        *,
        xattrs: Callable[[], dict[bytes, bytes] | None] | None = None,
    ) -> None:
        """Write what is no directory: `base` in `parent`, as `name`. Sockets are left out.

        xattrs: the extended attributes of what cannot be opened; without it, none. Raises OSError (see `VANISHED`), and
        ArchiveRefused for an owner that is not mapped.
        """
        kind = TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket means nothing without the process that listens
        if kind == REGULAR:
            self._regular(parent, base, name)
            return
        first = self._first_name(name, status)
        if first is not None:
            self._header(name, LINK, status, link=first)
            return
        link = os.fsencode(os.readlink(base, dir_fd=parent)) if kind == SYMLINK else b""
        self._header(name, kind, status, link=link, xattrs=xattrs() if xattrs is not None else None)

    def empty(self, name: bytes, seconds: int) -> None:
        """Write a file of no bytes that nobody may read, as whiteouts are; `seconds` is its time since the epoch."""
        self._put(entry_headers(name, REGULAR, mode=0, seconds=self._time(seconds)))

    def finish(self) -> None:
        """Write the archive's end."""
        self._buffer += END
        self._flush()

    def xattrs(self, where: int | bytes) -> dict[bytes, bytes] | None:
        """The extended attributes to write, of a descriptor or path. Raises OSError when it is gone."""
        try:
            names = os.listxattr(where) if isinstance(where, int) else os.listxattr(where, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            return None
        found = {}
        for name in names:
            if "=" in name or not self._is_archived(name):  # which is where a pax record's name ends
                continue
            value = xattr(where, name)
            if value is not None:
                found[os.fsencode(name)] = value
        return found or None

    def _time(self, seconds: int) -> int:
        return seconds if self._newest is None else min(seconds, self._newest)

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
        more: dict[bytes, bytes] | None = None,
    ) -> None:
        uid, gid = status.st_uid, status.st_gid
        if self._owners is not None:
            uid, gid = self._owners.user(uid), self._owners.group(gid)
            if xattrs and _CAPABILITY in xattrs:
                xattrs = {**xattrs, _CAPABILITY: self._owners.capability(xattrs[_CAPABILITY])}
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in (CHARACTER, BLOCK_DEVICE) else (0, 0)
        self._put(
            entry_headers(
                name,
                kind,
                mode=stat.S_IMODE(status.st_mode),
                uid=uid,
                gid=gid,
                size=size,
                seconds=self._time(status.st_mtime_ns // 1_000_000_000),
                link=link,
                device=device,
                xattrs=xattrs,
                more=more,
            )
        )

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
            if self._sparse and size - status.st_blocks * 512 >= _WORTH:
                self._with_holes(file, name, status)
                return
            self._header(name, REGULAR, status, size=size, xattrs=self.xattrs(file))
            if size:
                self._begin_content(name, size, None)
            if size >= _LARGE:
                self._send(file, 0, size)
            elif size:
                content = os.read(file, size)
                while len(content) < size and (more := os.read(file, size - len(content))):
                    content += more
                self._content(content)
                if len(content) < size:
                    self._fill(size - len(content))
            self._buffer += bytes(-size % BLOCK)
        finally:
            os.close(file)

    def _with_holes(self, file: int, name: bytes, status: os.stat_result) -> None:
        """GNU's format 1.0: the map is before the data."""
        data: Segments = list(data_segments(file, status.st_size))
        lines = [len(data), *(number for segment in data for number in segment)]
        sparse_map = padded(b"".join(b"%d\n" % line for line in lines))
        size = len(sparse_map) + sum(count for _, count in data)
        parent, slash, base = name.rpartition(b"/")
        more = {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": name,
            b"GNU.sparse.realsize": b"%d" % status.st_size,
        }
        stored = parent + slash + b"GNUSparseFile.0/" + base
        self._header(stored, REGULAR, status, size=size, xattrs=self.xattrs(file), more=more)
        self._put(sparse_map)
        self._begin_content(name, size - len(sparse_map), data)
        for offset, count in data:
            self._send(file, offset, count)
        self._buffer += bytes(-size % BLOCK)

    def _begin_content(self, name: bytes, size: int, segments: Segments | None) -> None:
        """The content of a file comes next: `size` bytes, which are all of it or its segments."""

    def _content(self, data: bytes) -> None:
        """Write content of a file."""
        self._buffer += data

    def _send(self, file: int, offset: int, count: int) -> None:
        self._flush()
        end = offset + count
        while offset < end:
            sent = os.sendfile(self._output, file, offset, min(end - offset, _PIECE))
            if not sent:
                self._fill(end - offset)
                return
            offset += sent

    def _fill(self, missing: int) -> None:
        self.shortened += 1
        while missing:
            piece = min(missing, _BUFFER)
            self._put(bytes(piece))
            missing -= piece

    def _put(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        view = memoryview(self._buffer)
        while view:
            view = view[os.write(self._output, view) :]
        self._buffer = bytearray()


class TreePacker:
    """Writes trees as they are."""

    def __init__(
        self,
        output: int,
        *,
        skip_contents: Callable[[int, os.stat_result], bool] | None = None,
        owners: Owners | None = None,
        sparse: bool = False,
    ) -> None:
        """`skip_contents(directory, status)` says whether a directory's contents are left out; the others are
        `TarWriter`'s.
        """
        self._tar = TarWriter(output, owners=owners, sparse=sparse)
        self._skip = skip_contents

    @property
    def shortened(self) -> int:
        """How many files became shorter while they were read."""
        return self._tar.shortened

    def add(self, parent: int, base: str, name: bytes, *, follow: bool = False) -> None:
        """Add what `base` is in the directory `parent`, with all that is in it, under `name`.

        Raises OSError when it cannot be read, and ArchiveRefused for a tree that is nested too deeply.
        """
        status = os.stat(base, dir_fd=parent, follow_symlinks=follow)
        if not stat.S_ISDIR(status.st_mode):
            self._tar.file(parent, base, name, status)
            return
        flags = _OPEN_DIRECTORY & ~os.O_NOFOLLOW if follow else _OPEN_DIRECTORY
        self._tree(os.open(base, flags, dir_fd=parent), name)

    def add_contents(self, directory: int) -> None:
        """Add what is in a directory, under the names it has there."""
        self._tree(os.open(".", _OPEN_DIRECTORY, dir_fd=directory), b"")

    def finish(self) -> None:
        """Write the archive's end."""
        self._tar.finish()

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
                if len(inner) >= PATH_MAX:
                    raise ArchiveRefused(
                        f"{quoted_path(inner)} is nested too deeply: paths have at most {PATH_MAX - 1} bytes"
                    )
                if kind == ENTER:
                    path = inner + b"/"
                    if not self._directory(directory, path, status):
                        walk.skip()
                    continue
                try:
                    self._tar.file(directory, child, inner, status)
                except OSError as error:
                    if error.errno not in VANISHED:
                        raise
        finally:
            os.close(top)

    def _directory(self, directory: int, name: bytes, status: os.stat_result) -> bool:
        """Add a directory itself, if it has a name; whether what is in it is to be added."""
        if name:
            self._tar.directory(directory, name, status)
        return self._skip is None or not self._skip(directory, status)


def xattr(where: int | bytes, name: str) -> bytes | None:
    """An extended attribute of a descriptor or path; None when it is not there, or not for us."""
    try:
        return os.getxattr(where, name) if isinstance(where, int) else os.getxattr(where, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTE:
            raise
        return None


def _means_something_elsewhere(name: str) -> bool:
    return not name.startswith(_NOT_ARCHIVED)
