"""Copies of trees that containers wrote: contents, owners, modes, times, attributes, hard links, devices, holes.

Both trees are walked by descriptors, and no link in them is followed. Where the file system shares blocks between
files the copies do (copy_file_range(2)), so one of a gigabyte takes no room and no time. Sockets are left out.
"""

from __future__ import annotations

import errno
import os
import stat

from darse.linux.fs.contained import ENTER, ENTRY, Walk, Way
from darse.linux.fs.sparse import copy_data, share_data

# Files with several names whose first one is remembered; a further one is copied again, as is one with a longer path.
_MOST_LINKS = 200_000
_PATH_MAX = 4096
_OPAQUE = "trusted.overlay.opaque"
# Of overlays with redirect_dir or metacopy: the name below, or that the content is there still.
_REDIRECTS = frozenset(("trusted.overlay.redirect", "trusted.overlay.metacopy"))
# Gone since its name was read, or become something else: as if it had never been there.
_VANISHED = frozenset((errno.ENOENT, errno.ELOOP, errno.ENXIO))
_Links = dict[tuple[int, int], str]


class TreeCopy:
    """One copy of a tree, from an open directory into another, which is empty. Raises OSError."""

    def __init__(
        self, source: int, target: int, *, shares: bool = False, links: bool = False, overlay: bool = False
    ) -> None:
        """`shares`: both are on one file system, whose files may share blocks.

        links: nobody ever changes the files, so that each is one with the source's, where that can be linked.
        overlay: deletions are copied with the rest, and directories that hide those below go on hiding them.
        """
        self._source = source
        self._top = target
        self._copy_content = share_data if shares else copy_data
        self._may_link = links
        self._overlay = overlay
        # The first name, from the copy's top, of files that have several.
        self._links: _Links = {}
        #: How many files were copied, and their bytes.
        self.files = self.size = 0
        # Names of the directories from the top to where the copy is.
        self._names: list[str] = []

    def run(self) -> None:
        """Copy what is in a directory, then what is said of the directory itself."""
        way = Way(self._top)
        try:
            for kind, source, name, status in Walk(self._source):
                if kind == ENTRY:
                    self._entry(source, way.directory, name, status)
                elif kind == ENTER:
                    os.mkdir(name, 0o700, dir_fd=way.directory)
                    way.down(name)
                    self._names.append(name)
                else:
                    self._copy_metadata(source, way.directory)
                    way.up()
                    self._names.pop()
        finally:
            way.close()
        self._copy_metadata(self._source, self._top)

    def _copy_metadata(self, source: int, target: int) -> None:
        copy_metadata(source, target, overlay=self._overlay)

    def _entry(self, source: int, target: int, name: str, status: os.stat_result) -> None:
        if self._may_link and self._linked_to_source(source, target, name):
            return
        if status.st_nlink > 1 and self._is_linked(target, name, status):
            return
        if stat.S_ISREG(status.st_mode):
            self._copy_file(source, target, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _copy_node_metadata(status, target, name)
        elif not stat.S_ISSOCK(status.st_mode):
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
            _copy_node_metadata(status, target, name)

    def _copy_file(self, source: int, target: int, name: str) -> None:
        try:
            reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        except OSError as error:
            if error.errno not in _VANISHED:
                raise
            return
        try:
            status = os.fstat(reading)
            if not stat.S_ISREG(status.st_mode):
                return  # replaced since it was looked at
            writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
            try:
                self._copy_content(reading, writing, status)
                _give_metadata(status, reading, writing, overlay=self._overlay)
                self.files, self.size = self.files + 1, self.size + status.st_size
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _linked_to_source(self, source: int, target: int, name: str) -> bool:
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EXDEV:
                self._may_link = False  # none of them can be
            elif error.errno != errno.EMLINK:
                raise
            return False
        self.files += 1
        return True

    def _is_linked(self, target: int, name: str, status: os.stat_result) -> bool:
        """Whether it is a name of a file that was copied already, and is a name of the copy now."""
        key = (status.st_dev, status.st_ino)
        first = self._links.get(key)
        if first is not None:
            return self._link(first, target, name)
        if len(self._links) < _MOST_LINKS:
            path = "/".join((*self._names, name))
            if len(path) < _PATH_MAX // 4:  # of four bytes a character, at most
                self._links[key] = path
        return False

    def _link(self, first: str, target: int, name: str) -> bool:
        try:
            os.link(first, name, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            # More links than the file system counts: a copy will do.
            if error.errno != errno.EMLINK:
                raise
            return False
        return True


def copy_metadata(source: int, target: int, *, overlay: bool = False) -> None:
    """Give an open file or directory the owner, mode, extended attributes and times of another.

    overlay: also whether it hides what is below. Raises OSError; ENOTSUP when another file has its name or content.
    """
    _give_metadata(os.fstat(source), source, target, overlay=overlay)


def _give_metadata(status: os.stat_result, source: int, target: int, *, overlay: bool) -> None:
    # In this order: a change of owner clears the set-uid bit and file capabilities.
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if overlay and name in _REDIRECTS:
            raise OSError(errno.ENOTSUP, f"it has the attribute {name}, which only its own overlay can read")
        if not name.startswith("trusted.overlay.") or (overlay and name == _OPAQUE):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno != errno.ENOTSUP:  # the volume's file system has no such attributes
                    raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_node_metadata(status: os.stat_result, target: int, name: str) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
