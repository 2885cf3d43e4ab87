"""What a client's list of its context says that the tree of the list before does not have: a job for the worker.

Both lists are read side by side, in their order, a piece at a time: memory grows with what has changed, not with the
context.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO

from darse.archive.tree_changes import CHANGE, DIRECTORY, FILE, HARD_LINK, NODE, REMOVE, SYMLINK
from darse.build.context_list import UNKNOWN_TIME, CheckedEntry, InvalidList, ListCheck, Record, encode, order, records

#: What is known of the content of an entry: the inode of its file, and the SHA-256; zeros where nothing is.
CONTENT = struct.Struct("=Q32s")
_NOTHING_KNOWN = bytes(CONTENT.size)
_PIECE = 1 << 20


class ListChanges:
    """What is to be done."""

    def __init__(self) -> None:
        self.missing: list[int] = []
        """Numbers of the files whose contents are to be asked for."""
        self.missing_bytes = 0
        self.entries = 0
        self.size = 0
        """Bytes of all files."""
        self.changes = 0
        """How many changes the job has."""


def compare(before: BinaryIO | None, known: bytes, now: BinaryIO, job: BinaryIO, contents: BinaryIO) -> ListChanges:
    """Write the job that makes the tree of one list from that of another, or from nothing. Blocks.

    before, now: the lists. known: a CONTENT for each entry of `before`; what is still so goes to `contents`. Raises
    InvalidList for `now`.
    """
    comparison = _Comparison(before, known, job)
    for number, record in enumerate(records(_pieces(now))):
        contents.write(comparison.add(number, record))
    comparison.end()
    return comparison.found


def with_unknown(old: BinaryIO, numbers: frozenset[int], new: BinaryIO) -> None:
    """Copy a list; entries of these numbers get a time that no client's list has. Blocks."""
    for number, (path, mode, size, time, identity, link) in enumerate(records(_pieces(old))):
        kept = UNKNOWN_TIME if number in numbers else time
        new.write(b"\0".join((path, mode, size, kept, identity, link, b"")))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _is_directory(record: Record) -> bool:
    return len(record[1]) == 5 and record[1].startswith(b"4")


class _Directory:
    """One of the new tree, on the way to the entry that is looked at."""

    __slots__ = ("entry", "is_written")

    def __init__(self, entry: Record, *, is_written: bool) -> None:
        self.entry = entry
        self.is_written = is_written


class _Before:
    """The entries of the tree before, one after the other."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._records = enumerate(records(_pieces(file))) if file is not None else iter(())
        self._removed = b""
        self.number = -1
        self.record: Record | None = None
        self.key = b""
        self.advance()

    def advance(self) -> None:
        """Go to the next one that is not below a directory that was removed."""
        for number, record in self._records:
            if self._removed and record[0].startswith(self._removed):
                continue
            self.number, self.record, self.key = number, record, order(record[0])
            return
        self.record = None

    def remove(self) -> None:
        """What is below this one is gone with it."""
        if self.record is not None and _is_directory(self.record):
            self._removed = self.record[0] + b"/"


class _Comparison:
    def __init__(self, before: BinaryIO | None, known: bytes, job: BinaryIO) -> None:
        self.found = ListChanges()
        self._before = _Before(before)
        self._is_first = before is None
        self._known = known
        self._job = job
        self._check = ListCheck()
        self._directories: list[_Directory | None] = [None]
        # Paths of files that are made anew: their hard links must be, too.
        self._anew: set[bytes] = set()

    def add(self, number: int, record: Record) -> bytes:
        """Look at the next entry of the new list; return what is known of its content. Raises InvalidList."""
        path = record[0]
        self._remove_before(order(path))
        key = self._check.check(path)
        del self._directories[len(self._check.above) :]
        self.found.entries += 1
        old = self._before
        if old.record is not None and old.key == key:
            number_before, record_before = old.number, old.record
            if record_before == record and record[5] not in self._anew:
                old.advance()
                return self._keep(number_before, record)
            entry = CheckedEntry(record)
            if not (entry.is_directory and _is_directory(record_before)):
                old.remove()
                self._write(REMOVE, 0, 0, 0, path)
            old.advance()
        else:
            entry = CheckedEntry(record)
        self._make(number, record, entry)
        return _NOTHING_KNOWN

    def end(self) -> None:
        """The new list is over."""
        self._remove_before(None)

    def _keep(self, number: int, record: Record) -> bytes:
        if _is_directory(record):
            self._go_into(record, is_written=False)
            return _NOTHING_KNOWN
        if not record[5]:
            self.found.size += int(record[2])
        return self._known[number * CONTENT.size : (number + 1) * CONTENT.size] or _NOTHING_KNOWN

    def _go_into(self, record: Record, *, is_written: bool) -> None:
        self._check.above.append(record[0])
        self._directories.append(_Directory(record, is_written=is_written))

    def _make(self, number: int, record: Record, entry: CheckedEntry) -> None:
        if encode(entry.path, entry.mode, entry.size, entry.time, entry.identity, entry.link) != b"\0".join(
            (*record, b"")
        ):
            raise InvalidList("it has a number that is not written as such")
        self._touch(len(self._directories) - 1)
        kind = stat.S_IFMT(entry.mode)
        if entry.is_directory:
            self._write(DIRECTORY, number, entry.mode, entry.time, entry.path)
            self._go_into(record, is_written=True)
        elif kind == stat.S_IFLNK:
            if not entry.link:
                raise InvalidList("it has a symbolic link to nothing")
            self._write(SYMLINK, number, entry.mode, entry.time, entry.path, entry.link)
        elif kind != stat.S_IFREG:
            self._check_device(entry)
            self._write(NODE, number, entry.mode, entry.time, entry.path, entry.link)
        elif entry.is_link:
            self._write(HARD_LINK, number, entry.mode, entry.time, entry.path, entry.link)
        else:
            self._write(FILE, number, entry.mode, entry.time, entry.path)
            self.found.missing.append(number)
            self.found.missing_bytes += entry.size
            self.found.size += entry.size
            if not self._is_first:
                self._anew.add(entry.path)

    @staticmethod
    def _check_device(entry: CheckedEntry) -> None:
        major, colon, minor = entry.link.partition(b":")
        if not colon and not entry.link:
            return
        if not (major.isdigit() and minor.isdigit() and int(major) < 1 << 12 and int(minor) < 1 << 20):
            raise InvalidList("it has a device without a number")

    def _remove_before(self, key: bytes | None) -> None:
        """Remove what the tree before has and the new one has not, up to a path of the new one, or to the end."""
        old = self._before
        while old.record is not None and (key is None or old.key < key):
            path = old.record[0]
            self._write(REMOVE, 0, 0, 0, path)
            above = path.rpartition(b"/")[0]
            if above in self._check.above:
                self._touch(self._check.above.index(above))
            old.remove()
            old.advance()

    def _touch(self, depth: int) -> None:
        """A directory's content changes: its time is to be set again."""
        directory = self._directories[depth]
        if directory is not None and not directory.is_written:
            entry = CheckedEntry(directory.entry)
            self._write(DIRECTORY, 0, entry.mode, entry.time, entry.path)
            directory.is_written = True

    def _write(self, kind: int, number: int, mode: int, time: int, path: bytes, link: bytes = b"") -> None:
        self._job.write(CHANGE.pack(kind, number, mode, time, len(path), len(link)) + path + link)
        self.found.changes += 1
