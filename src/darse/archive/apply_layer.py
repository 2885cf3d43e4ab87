"""Unpacks a layer below the current root directory, which must be the layer's own: see `darse.linux.proc.sandbox`.

Nothing is ever replaced, and every entry is made with O_EXCL or a call that is as strict, so a second entry of a name
fails whichever way it is spelled, and no entry can change where an earlier one went: the tar-split metadata names
files by path. Directories may come more than once.

Whiteouts of the OCI image specification (layer.md) become overlayfs's own (Documentation/filesystems/overlayfs.rst):
a character device 0/0 for `.wh.NAME`, and the attribute `trusted.overlay.opaque` for `.wh..wh..opq`. A name that a
layer hides and makes again hides only what is below. Overlay attributes that an archive brings itself are dropped;
they could make the kernel show other files than the layer's.
"""

from __future__ import annotations

import errno
import os
import stat

from darse.archive.entry_files import CAPABILITY, set_xattr, times, write_content
from darse.archive.errors import ArchiveRefused
from darse.archive.id_mapping import Owners
from darse.archive.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    LINK,
    REGULAR,
    SYMLINK,
    Entry,
    Reader,
)
from darse.archive.tar_split import TarSplitWriter
from darse.quoting import quoted_path

_PREFIX = b".wh."
_OPAQUE = b".wh..wh..opq"
# What aufs kept in the layers of old engines (.wh..wh.plnk, .wh..wh.orph, …): no part of the image.
_AUFS = b".wh..wh."
_OPAQUE_XATTR = "trusted.overlay.opaque"
_STEERING = (b"trusted.overlay.", b"user.overlay.")
# The archive is not to blame for these.
HOST_FAULTS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DESCRIPTORS = 200
_SPECIAL_MODES = 0o7000


class _Directory:
    """What is set on a directory when all is in it: its modes and default ACLs would apply to what is made in it."""

    __slots__ = ("gid", "mode", "times", "uid", "xattrs")

    def __init__(self, entry: Entry, uid: int, gid: int) -> None:
        self.mode, self.uid, self.gid, self.times, self.xattrs = entry.mode, uid, gid, times(entry), entry.xattrs


class LayerUnpacker:
    """Makes the entries of one layer."""

    def __init__(self, reader: Reader, tar_split: TarSplitWriter, owners: Owners | None = None) -> None:
        self._reader = reader
        self._tar_split = tar_split
        self._owners = owners
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._descriptors: dict[bytes, int] = {}
        self._directories: dict[bytes, _Directory] = {}
        self._whiteouts: set[bytes] = set()
        self.content = 0

    def run(self) -> None:
        """Unpack everything. Raises ArchiveRefused, and OSError for faults of the host."""
        entry = None
        try:
            for entry in self._reader:
                self._make(entry)
            entry = None
            self._finish_directories()
        except OSError as error:
            if error.errno in HOST_FAULTS or entry is None:
                raise
            raise ArchiveRefused(f"entry {quoted_path(entry.path)} cannot be made: {error.strerror}") from error
        except (ValueError, OverflowError) as error:
            # An owner, device or time that the kernel has no bits for; a NUL byte in a name.
            raise ArchiveRefused(f"entry {quoted_path(entry.path) if entry else ''} cannot be made: {error}") from error

    def _make(self, entry: Entry) -> None:
        path = entry.path = self._contained(entry.path)
        parent, _, name = path.rpartition(b"/")
        if path.startswith(_PREFIX) or b"/.wh." in path:
            if any(part.startswith(_AUFS) for part in path.split(b"/") if part != _OPAQUE):
                return
            if name.startswith(_PREFIX):
                self._whiteout(parent, name)
                return
        kind = entry.kind
        if kind == REGULAR:
            self._file(entry, self._parent(parent), name)
            return
        if kind in (DIRECTORY, b"D"):
            self._directory(entry, parent, name)
            return
        if kind == b"V":
            return
        if not path:
            raise ArchiveRefused("the root directory is no directory")
        directory = self._parent(parent)
        if path in self._whiteouts:
            self._replace_whiteout(path)
        if kind == LINK:
            self._link(entry, directory, name)
            return
        if kind == SYMLINK:
            self._symlink(entry, directory, name)
        else:
            self._node(entry, directory, name)
        self._attributes(entry, path, None)
        os.utime(name, ns=times(entry), dir_fd=directory, follow_symlinks=False)

    # Names

    @staticmethod
    def _contained(path: bytes) -> bytes:
        """The path below the root, without `.` and doubled slashes. Raises ArchiveRefused for `..`."""
        if path[:1] not in (b"/", b".", b"") and b"/." not in path and b"//" not in path and path[-1:] != b"/":
            return path
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise ArchiveRefused(f"path {quoted_path(path)} leaves the layer")
        return b"/".join(parts)

    def _parent(self, path: bytes) -> int:
        """A descriptor of a directory; made, mode 0755, with those above it, where the archive does not list it."""
        missing = []
        while (found := self._found(path)) is None:
            path, _, name = path.rpartition(b"/")
            missing.append(name)
        for name in reversed(missing):
            path = path + b"/" + name if path else name
            found = self._made(path, name, found)
        return found

    def _found(self, path: bytes) -> int | None:
        """A descriptor of a directory that is there."""
        if not path:
            return self._root
        try:
            return self._descriptors[path]
        except KeyError:
            pass
        try:
            found = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._kept(path, found)

    def _made(self, path: bytes, name: bytes, above: int) -> int:
        # A parent that is hidden, and listed by none: what is below of that name shows nothing of itself.
        hidden = path in self._whiteouts
        if hidden:
            self._replace_whiteout(path)
        os.mkdir(name, 0o755, dir_fd=above)
        if self._owners is not None:
            os.chown(name, self._owners.user(0), self._owners.group(0), dir_fd=above, follow_symlinks=False)
        if hidden:
            os.setxattr(path, _OPAQUE_XATTR, b"y")
        return self._kept(path, os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above))

    def _kept(self, path: bytes, descriptor: int) -> int:
        if len(self._descriptors) >= _DESCRIPTORS:
            os.close(self._descriptors.pop(next(iter(self._descriptors))))
        self._descriptors[path] = descriptor
        return descriptor

    # Kinds

    def _file(self, entry: Entry, directory: int, name: bytes) -> None:
        uid, gid, mode = entry.uid, entry.gid, entry.mode
        if self._owners is not None:
            uid, gid = self._owners.user(uid), self._owners.group(gid)
        try:
            file = os.open(name, _CREATE, mode, dir_fd=directory)
        except FileExistsError:
            if entry.path not in self._whiteouts:
                raise ArchiveRefused(f"{quoted_path(entry.path)} is there twice") from None
            self._replace_whiteout(entry.path)
            file = os.open(name, _CREATE, mode, dir_fd=directory)
        try:
            if entry.size:
                self._content(entry, file)
            elif entry.length:
                os.ftruncate(file, entry.length)
            if uid or gid:
                os.fchown(file, uid, gid)
                if mode & _SPECIAL_MODES:
                    os.fchmod(file, mode)
            elif mode & _SPECIAL_MODES and entry.size:
                # Writing to it took the set-uid bit away.
                os.fchmod(file, mode)
            if entry.xattrs:
                self._attributes_of(entry, file)
            os.utime(file, ns=times(entry))
        finally:
            os.close(file)

    def _content(self, entry: Entry, file: int) -> None:
        self._tar_split.file(entry.path, entry.size, entry.segments)
        self.content += entry.size
        write_content(self._reader, entry, file)

    def _directory(self, entry: Entry, parent: bytes, name: bytes) -> None:
        uid, gid = self._owner(entry)
        if name:
            directory = self._parent(parent)
            try:
                os.mkdir(name, 0o755, dir_fd=directory)
            except FileExistsError:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if entry.path in self._whiteouts:
                    self._replace_whiteout(entry.path)
                    os.mkdir(name, 0o755, dir_fd=directory)
                    os.setxattr(entry.path, _OPAQUE_XATTR, b"y")
                elif not stat.S_ISDIR(status.st_mode):
                    raise ArchiveRefused(f"{quoted_path(entry.path)} is there twice") from None
        self._directories[entry.path] = _Directory(entry, uid, gid)

    def _finish_directories(self) -> None:
        for path, directory in self._directories.items():
            where = b"/" + path
            if directory.uid or directory.gid or self._owners is not None or not path:
                os.chown(where, directory.uid, directory.gid, follow_symlinks=False)
            if directory.mode != 0o755 or not path:
                os.chmod(where, directory.mode)
            for key, value in (directory.xattrs or {}).items():
                self._attribute(where, key, value, DIRECTORY)
            os.utime(where, ns=directory.times)

    def _link(self, entry: Entry, directory: int, name: bytes) -> None:
        target = self._contained(entry.link)
        try:
            os.link(target, name, src_dir_fd=self._root, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            raise ArchiveRefused(f"{quoted_path(entry.path)} is there twice") from None
        except FileNotFoundError:
            raise ArchiveRefused(
                f"{quoted_path(entry.path)} is a hard link to {quoted_path(target)}, which is not in the layer"
            ) from None

    def _symlink(self, entry: Entry, directory: int, name: bytes) -> None:
        # Whatever it says, also `../../..`: it is text, which is only ever resolved below the layer's or a container's
        # root. Images with such links are about, and other engines take them.
        try:
            os.symlink(entry.link, name, dir_fd=directory)
        except FileExistsError:
            raise ArchiveRefused(f"{quoted_path(entry.path)} is there twice") from None
        self._own(entry, directory, name)

    def _node(self, entry: Entry, directory: int, name: bytes) -> None:
        kind = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}[entry.kind]
        try:
            os.mknod(name, kind | entry.mode, os.makedev(*entry.device), dir_fd=directory)
        except FileExistsError:
            raise ArchiveRefused(f"{quoted_path(entry.path)} is there twice") from None
        self._own(entry, directory, name)
        if entry.mode & _SPECIAL_MODES:
            os.chmod(name, entry.mode, dir_fd=directory)

    def _owner(self, entry: Entry) -> tuple[int, int]:
        if self._owners is None:
            return entry.uid, entry.gid
        return self._owners.user(entry.uid), self._owners.group(entry.gid)

    def _own(self, entry: Entry, directory: int, name: bytes) -> None:
        uid, gid = self._owner(entry)
        if uid or gid:
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)

    # Attributes

    def _attributes(self, entry: Entry, path: bytes, file: int | None) -> None:
        for key, value in (entry.xattrs or {}).items():
            self._attribute(b"/" + path if file is None else file, key, value, entry.kind)

    def _attribute(self, where: bytes | int, key: bytes, value: bytes, kind: bytes) -> None:
        if self._owners is not None and key == CAPABILITY:
            value = self._owners.capability(value)
        if not key.startswith(_STEERING):
            set_xattr(where, key, value, kind)

    def _attributes_of(self, entry: Entry, file: int) -> None:
        self._attributes(entry, entry.path, file)

    # Whiteouts

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        directory = self._parent(parent)
        if name == _OPAQUE:
            os.setxattr(b"/" + parent, _OPAQUE_XATTR, b"y")
            return
        hidden = name[len(_PREFIX) :]
        if hidden in (b"", b".", b".."):
            raise ArchiveRefused(f"the whiteout {quoted_path(name)} names nothing")
        path = parent + b"/" + hidden if parent else hidden
        try:
            os.mknod(hidden, stat.S_IFCHR | 0o600, 0, dir_fd=directory)
        except FileExistsError:
            # What the layer itself has of that name stays.
            status = os.stat(hidden, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.setxattr(b"/" + path, _OPAQUE_XATTR, b"y")
        else:
            self._whiteouts.add(path)

    def _replace_whiteout(self, path: bytes) -> None:
        """Let the layer's own entry of a hidden name take the place of the whiteout."""
        self._whiteouts.remove(path)
        os.unlink(path, dir_fd=self._root)
