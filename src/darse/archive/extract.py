"""Unpacking an archive into a directory: every name is opened relative to a descriptor, no file is written through.

What is at an entry's place already goes first, and the new file is created exclusively, so an archive can write
through no link, fifo or device, whether it brought that itself or somebody puts it there meanwhile. A directory
meets a directory: its contents stay, and it takes the entry's owner, mode and times. The rules and texts are those
of moby's archive package.

How an entry's parent directory is found is the caller's (`Parents`): in a container links lead on within its root, on
a user's own disk none that an archive may have made is followed.
"""

from __future__ import annotations

import errno
import os
import stat

from darse.archive.entry_files import CAPABILITY, set_xattr, times, write_content
from darse.archive.errors import ArchiveRefused
from darse.archive.stream import aligned, decompressed, is_compressed
from darse.archive.tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK, Blocks, Entry, Reader
from darse.linux.fs.contained import remove_entry
from darse.quoting import quoted_path

TYPE_CHECKING = False  # not the one of typing, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
# Attributes that the file system has none of, or that need more rights than we have, are left out as by docker.
_XATTR_REFUSED = frozenset((errno.ENOTSUP, errno.EPERM, errno.EINVAL))


def entries(pieces: Iterator[bytes]) -> Reader:
    """Read an archive, compressed or not, that comes in pieces of any length."""
    return Reader(Blocks(memoryview(piece) for piece in aligned(decompressed(pieces))), _ignore_header)


def _ignore_header(_header: bytes) -> None:
    """Nobody rebuilds this archive."""


def entries_in_place(pieces: Iterator[memoryview], start: bytes) -> Reader:
    """As `entries`, of pieces that are whole blocks, but for the last, and valid until the next one is asked for.

    `start` are the first bytes, which tell the compression.
    """
    if is_compressed(start):
        return entries(bytes(piece) for piece in pieces)
    return Reader(Blocks(pieces), _ignore_header)


class Parents:
    """Finds and makes the directories that entries go into. No Protocol: importing `typing` costs a worker too much."""

    def open(self, path: str) -> int:
        """Return a descriptor of a directory below the target ("" is the target itself), to be closed by the caller.

        Raises OSError when it is not there.
        """
        raise NotImplementedError

    def make(self, path: str) -> int:
        """As `open`, and make what is missing, with mode 0755."""
        raise NotImplementedError


class NoLinks(Parents):
    """Directories below an open one; no link below it is followed, whoever made it."""

    def __init__(self, top: int) -> None:
        self._top = top

    def open(self, path: str) -> int:
        return self._walk(path, make=False)

    def make(self, path: str) -> int:
        return self._walk(path, make=True)

    def _walk(self, path: str, *, make: bool) -> int:
        current = os.open(".", _OPEN_DIRECTORY, dir_fd=self._top)
        for part in path.split("/") if path else ():
            try:
                following = self._step(current, part, make=make)
            finally:
                os.close(current)
            current = following
        return current

    @staticmethod
    def _step(directory: int, name: str, *, make: bool) -> int:
        try:
            return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            if not make:
                raise
        os.mkdir(name, 0o755, dir_fd=directory)
        return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)


class Unpacker:
    """Unpacks one archive."""

    def __init__(
        self,
        parents: Parents,
        destination: str,
        *,
        keep_kinds: bool = False,
        owner: tuple[int, int] | None = None,
        own: bool = True,
        rename: Callable[[bytes], bytes] | None = None,
        has_top: bool = False,
    ) -> None:
        """`destination` is the target's name in errors. `keep_kinds`: no directory is replaced by anything else, nor
        anything else by a directory. `owner` is whose everything is to be, in place of what the archive says; without
        `own`, for those who cannot give files away, everything stays theirs. `rename` changes entries' names.
        `has_top`: what the archive says of the target itself counts; without it the target stays as it is.
        """
        self._destination = destination
        self._parents = parents
        self._keep_kinds = keep_kinds
        self._owner = owner
        self._own = own
        self._rename = rename
        self._has_top = has_top
        self._open: tuple[str, int] | None = None
        self._directories: list[tuple[str, int, tuple[int, int]]] = []
        self.size = 0
        #: The file that could not be written to its end, and was removed.
        self.removed = ""

    def unpack(self, reader: Reader) -> None:
        """Unpack everything. Raises ArchiveRefused for what the archive is to blame for, and OSError."""
        entry = None
        try:
            for entry in reader:
                self._add(reader, entry)
            for path, mode, when in reversed(self._directories):
                self._complete(path, mode, when)
        except (ValueError, OverflowError) as error:
            # An owner or a device that the kernel has no bits for; a NUL byte in a link.
            raise ArchiveRefused(f"entry {quoted_path(entry.path) if entry else ''} cannot be made: {error}") from error
        finally:
            self._close()

    def _add(self, reader: Reader, entry: Entry) -> None:
        if self._rename is not None:
            entry.path = self._rename(entry.path)
            if entry.kind == LINK:
                entry.link = self._rename(entry.link)
        path = relative(entry.path)
        if not path:
            if self._has_top and entry.kind == DIRECTORY:
                self._top(entry)
            return  # it is there
        parent_path, _, name = path.rpartition("/")
        parent = self._parent(parent_path)
        if entry.kind == DIRECTORY:
            self._directory(parent, name, path, entry)
        elif entry.kind == REGULAR:
            self._regular(reader, parent, name, path, entry)
        else:
            self._special(parent, name, path, entry)

    def _top(self, entry: Entry) -> None:
        directory = self._parents.open("")
        try:
            self._finish(directory, entry)
        finally:
            os.close(directory)
        self._directories.append(("", entry.mode, times(entry)))

    def _parent(self, path: str) -> int:
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        self._close()
        descriptor = self._parents.make(path)
        self._open = (path, descriptor)
        return descriptor

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _directory(self, parent: int, name: str, path: str, entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                if self._keep_kinds:
                    raise ArchiveRefused(
                        f'cannot overwrite non-directory "{self._full_path(path)}" with directory "{self._destination}"'
                    ) from None
                remove_entry(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        directory = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        try:
            self._finish(directory, entry)
        except BaseException:
            os.close(directory)
            raise
        self._directories.append((path, entry.mode, times(entry)))
        # What follows in the archive is most likely in it.
        self._close()
        self._open = (path, directory)

    def _regular(self, reader: Reader, parent: int, name: str, path: str, entry: Entry) -> None:
        try:
            file = os.open(name, _CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._make_way(parent, name, path)
            file = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            write_content(reader, entry, file)
            self.size += entry.length
            self._finish(file, entry)
            os.utime(file, ns=times(entry))
        except BaseException:
            # A part must not pass for the whole.
            os.unlink(name, dir_fd=parent)
            self.removed = self._full_path(path)
            raise
        finally:
            os.close(file)

    def _special(self, parent: int, name: str, path: str, entry: Entry) -> None:
        try:
            self._make(parent, name, entry)
        except PermissionError:
            if entry.kind not in (CHARACTER, BLOCK_DEVICE):
                raise
            return  # a user namespace has no devices to give; docker leaves them out, too
        except FileExistsError:
            if entry.kind == LINK and self._is_itself(parent, name, entry):
                return
            self._make_way(parent, name, path)
            self._make(parent, name, entry)
        if entry.kind == LINK:
            return
        if self._own:
            uid, gid = self._owner or (entry.uid, entry.gid)
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != SYMLINK:
            # In place of a node just made there could be a link by now; O_PATH|O_NOFOLLOW would not save fchmod(2).
            self._chmod_node(parent, name, entry)
        os.utime(name, ns=times(entry), dir_fd=parent, follow_symlinks=False)

    def _make(self, parent: int, name: str, entry: Entry) -> None:
        if entry.kind == SYMLINK:
            os.symlink(os.fsdecode(entry.link), name, dir_fd=parent)
        elif entry.kind == LINK:
            target = relative(entry.link)
            target_parent_path, _, target_name = target.rpartition("/")
            if not target_name:
                raise ArchiveRefused(f"invalid hardlink {target!r} -> {name!r}")
            target_parent = self._parents.open(target_parent_path)
            try:
                os.link(target_name, name, src_dir_fd=target_parent, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(target_parent)
        else:
            self._make_node(parent, name, entry)

    @staticmethod
    def _make_node(parent: int, name: str, entry: Entry) -> None:
        # The mode at once: umask is 0. Bits that a later change of owner clears mean nothing on nodes.
        os.mknod(name, _NODES[entry.kind] | (entry.mode & 0o777), os.makedev(*entry.device), dir_fd=parent)

    def _is_itself(self, parent: int, name: str, entry: Entry) -> bool:
        """Whether a hard link's place holds its target already: making way would remove the only one."""
        target_parent_path, _, target_name = relative(entry.link).rpartition("/")
        target_parent = self._parents.open(target_parent_path)
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
            target = os.stat(target_name, dir_fd=target_parent, follow_symlinks=False)
        finally:
            os.close(target_parent)
        return (there.st_dev, there.st_ino) == (target.st_dev, target.st_ino)

    @staticmethod
    def _chmod_node(parent: int, name: str, entry: Entry) -> None:
        if entry.mode & 0o7000 and stat.S_ISFIFO(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            node = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                os.fchmod(node, entry.mode)
            finally:
                os.close(node)

    def _make_way(self, parent: int, name: str, path: str) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if self._keep_kinds and stat.S_ISDIR(status.st_mode):
            raise ArchiveRefused(
                f'cannot overwrite directory "{self._full_path(path)}" with non-directory "{self._destination}"'
            )
        remove_entry(parent, name)

    def _full_path(self, path: str) -> str:
        return f"{self._destination.rstrip('/')}/{path}"

    def _finish(self, descriptor: int, entry: Entry) -> None:
        """Owner, mode and attributes, in this order: a change of owner clears set-uid bits and capabilities."""
        mode = entry.mode
        if self._own:
            uid, gid = self._owner or (entry.uid, entry.gid)
            os.fchown(descriptor, uid, gid)
        elif entry.kind == DIRECTORY:
            mode |= 0o700  # until everything is in it
        os.fchmod(descriptor, mode)
        for name, value in (entry.xattrs or {}).items():
            if name.startswith(b"trusted."):
                continue  # could make an overlay show other files than it has
            try:
                set_xattr(descriptor, name, value, entry.kind)
            except OSError as error:
                if error.errno not in _XATTR_REFUSED or (name == CAPABILITY and self._own):
                    raise

    def _complete(self, path: str, mode: int, when: tuple[int, int]) -> None:
        """What a directory takes when nothing more goes into it."""
        try:
            directory = self._parents.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return  # moved or replaced meanwhile: it is not ours any more
        try:
            os.utime(directory, ns=when)
            if not self._own and mode & 0o700 != 0o700:
                os.fchmod(directory, mode)
        finally:
            os.close(directory)


def relative(name: bytes) -> str:
    """An entry's path below the target; "" for the target itself. Raises ArchiveRefused for one outside of it."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise ArchiveRefused(f"{os.fsdecode(name)!r} is outside of the destination")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    if b"\0" in name:
        raise ArchiveRefused("a NUL in a name")
    return os.fsdecode(b"/".join(parts))
