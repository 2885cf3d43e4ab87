"""Packs an overlay's upper directory, the current root, as a layer of the OCI image specification (layer.md).

overlayfs's whiteouts and opaque directories become `.wh.NAME` and `.wh..wh..opq`. What overlayfs keeps in attributes
for itself is left out, as are sockets, which are nothing without their server. Entries are in the order of their names,
times are whole seconds, and names of owners are left out: the same tree always gives the same archive.
"""

from __future__ import annotations

import os
import stat

from darse.archive.errors import ArchiveRefused
from darse.archive.tar_writer import PATH_MAX, VANISHED, TarWriter, xattr
from darse.linux.fs.contained import ENTER, LEAVE, Walk
from darse.quoting import quoted_path

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.archive.id_mapping import Owners

_OPAQUE_XATTR = "trusted.overlay.opaque"
_ARCHIVED = frozenset(("security.capability", "system.posix_acl_access", "system.posix_acl_default"))
# Names of one directory in memory, and directories open at once.
_NAMES = 256 * 1024
_HELD = 128


class LayerPacker:
    """Writes one layer."""

    def __init__(
        self,
        target: int,
        skip: frozenset[bytes] = frozenset(),
        owners: Owners | None = None,
        *,
        writer: TarWriter | None = None,
        root: bytes = b"",
        newest: int | None = None,
    ) -> None:
        """Paths in `skip` (absolute) and what is below them are left out; `owners` are mapped on the way.

        writer: takes the entries in the place of `target`. root: the directory, where it is not the process's root;
        nobody else may change it. newest: seconds since the epoch; later times become this one.
        """
        self._tar = writer or TarWriter(target, is_archived=is_archived, owners=owners, sparse=True, newest=newest)
        self._skip = skip
        self._root = root

    def run(self) -> None:
        """Pack everything. Raises ArchiveRefused for a tree that no archive holds, and OSError."""
        top = os.open(self._root or b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        path = b"/"
        walk = Walk(top, wide_ordered=True, batch=_NAMES, held=_HELD)
        for kind, directory, name, status in walk:
            if kind == LEAVE:
                path = path[: path.rindex(b"/", 0, -1) + 1]
                continue
            inner = path + os.fsencode(name)
            if kind == ENTER:
                path = inner + b"/"
            if inner not in self._skip:
                self._check(inner)
                if kind == ENTER:
                    self._directory(directory, path, status)
                else:
                    self._file(directory, name, inner, status)
            elif kind == ENTER:
                walk.skip()
        os.close(top)
        self._tar.finish()

    @staticmethod
    def _check(path: bytes) -> None:
        """Raise ArchiveRefused for what no layer can have."""
        if len(path) >= PATH_MAX:
            raise ArchiveRefused(f"{quoted_path(path)} is nested too deeply: paths have at most {PATH_MAX - 1} bytes")
        if path[path.rindex(b"/") + 1 :].startswith(b".wh."):
            raise ArchiveRefused(
                f"{quoted_path(path)} cannot be in a layer: names that begin with .wh. mean what is gone"
            )

    def _directory(self, directory: int, path: bytes, status: os.stat_result) -> None:
        self._tar.directory(directory, path[1:], status)
        if xattr(directory, _OPAQUE_XATTR) == b"y":
            self._marker(path + b".wh..wh..opq", status)

    def _file(self, directory: int, name: str, path: bytes, status: os.stat_result) -> None:
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            self._marker(path[: path.rindex(b"/") + 1] + b".wh." + os.fsencode(name), status)
            return
        try:
            self._tar.file(directory, name, path[1:], status, xattrs=lambda: self._tar.xattrs(self._root + path))
        except OSError as error:
            if error.errno not in VANISHED:
                raise

    def _marker(self, path: bytes, status: os.stat_result) -> None:
        self._tar.empty(path[1:], status.st_mtime_ns // 1_000_000_000)


def is_archived(name: str) -> bool:
    """Whether an attribute belongs to an image: capabilities, ACLs, the users'; not labels of this host."""
    return name in _ARCHIVED or (name.startswith("user.") and not name.startswith("user.overlay."))
