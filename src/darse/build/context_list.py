"""The list of what is in a context: what a client says of its files, so that only those that changed are sent.

A list is a run of records, one for each entry, in the order of a walk that sees a directory before what is in it and
names in the order of their bytes (fsutil's order). The context's own directory is no entry. A record is six fields,
each with a NUL behind it:

    path        relative, with `/` between its components, none of them `.` or `..`; every directory above is an entry
    mode        st_mode in octal: the kind and the permissions
    size        bytes of a regular file, 0 of everything else
    time        st_mtime in nanoseconds
    identity    what changes with the file and says nothing else: inode and st_ctime of those who can tell; or empty
    link        a symbolic link's target; the path of an earlier entry that a hard link is the same file as; the number
                of a device, `8:1`; or empty

Two lists with the same records are the same tree, for who believes their writer.

This module is the command's, too: it imports nothing.
"""

from __future__ import annotations

import stat

from darse.quoting import quoted_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_ENTRIES = 1_000_000
"""A list with more is refused; clients send an archive then."""
MOST_BYTES = 256 << 20
"""Of a list."""
FIELDS = 6
#: A time that no record of a client's has: the engine's, for a file that is to be asked for again.
UNKNOWN_TIME = b"-"
_LONGEST_PATH, _LONGEST_NAME, _LONGEST_LINK = 4095, 255, 4095
_MOST_TIME = 1 << 63
_KINDS = frozenset(
    (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO),
)

Record = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
"""The fields of an entry as they come."""


class InvalidList(Exception):
    """A list that is none, or one that no tree has."""


def encode(path: bytes, mode: int, size: int, time_ns: int, identity: bytes = b"", link: bytes = b"") -> bytes:
    """The record of an entry."""
    return b"%s\0%o\0%d\0%d\0%s\0%s\0" % (path, mode, size, time_ns, identity, link)


def records(pieces: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of a list that comes in pieces of any length. Raises InvalidList where it ends within one."""
    rest = b""
    for piece in pieces:
        fields = (rest + piece).split(b"\0")
        whole = (len(fields) - 1) // FIELDS * FIELDS
        rest = b"\0".join(fields[whole:])
        one = iter(fields[:whole])
        yield from zip(one, one, one, one, one, one, strict=True)
        if len(rest) > _LONGEST_PATH + _LONGEST_LINK + 1024:
            raise InvalidList("it has an entry that is too long")
    if rest:
        raise InvalidList("it ends within an entry")


def order(path: bytes) -> bytes:
    """What paths are sorted by."""
    return path.replace(b"/", b"\0")


class CheckedEntry:
    """The fields of a record that has been checked, as numbers."""

    __slots__ = ("identity", "is_directory", "is_link", "link", "mode", "path", "size", "time")

    def __init__(self, record: Record) -> None:
        """Raises InvalidList."""
        self.path, mode, size, time, self.identity, self.link = record
        try:
            self.mode, self.size, self.time = int(mode, 8), int(size), int(time)
        except ValueError:
            raise InvalidList(f"{quoted_path(self.path)} has a mode, size or time that is no number") from None
        kind = stat.S_IFMT(self.mode)
        if kind not in _KINDS or self.mode > 0o177777:
            raise InvalidList(f"{quoted_path(self.path)} has a mode that no file of a context has: {self.mode:o}")
        if not (0 <= self.size < _MOST_TIME and -_MOST_TIME < self.time < _MOST_TIME):
            raise InvalidList(f"{quoted_path(self.path)} has a size or time that no file has")
        if len(self.link) > _LONGEST_LINK or len(self.identity) > _LONGEST_NAME:
            raise InvalidList(f"{quoted_path(self.path)} has a link or identity that is too long")
        self.is_directory = kind == stat.S_IFDIR
        self.is_link = kind == stat.S_IFREG and bool(self.link)


class ListCheck:
    """Checks paths of a list, one after the other: that they are in order, and each in a directory of the list."""

    def __init__(self) -> None:
        self._last = b""
        self._count = 0
        #: The directories above the entry that was checked last, the context's own first; `add` puts more on it.
        self.above: list[bytes] = [b""]

    def check(self, path: bytes) -> bytes:
        """Check the next path; return what it is sorted by. `above` ends with its directory then. Raises InvalidList.

        When the entry is a directory, the caller adds it to `above`.
        """
        self._count += 1
        if self._count > MOST_ENTRIES:
            raise InvalidList(f"it has more than {MOST_ENTRIES} entries")
        key = order(path)
        if key <= self._last:
            what = "is there twice" if key == self._last else "is not in order"
            raise InvalidList(f"{quoted_path(path)} {what}")
        self._last = key
        directory, slash, name = path.rpartition(b"/")
        if not name or name in (b".", b"..") or len(name) > _LONGEST_NAME or len(path) > _LONGEST_PATH:
            raise InvalidList(f"{quoted_path(path)} is no path of a context")
        above = self.above
        while above[-1] != directory:
            above.pop()
            if not above:
                raise InvalidList(f"{quoted_path(path)} is in no directory of the list")
        if slash and not directory:
            raise InvalidList(f"{quoted_path(path)} is no path of a context")
        return key
