"""The files of a container's log.

conmon appends to `<id>.log`. Rotation renames that to `<id>.log.<n>`, `n` counting up for ever, and has conmon begin
a new one; a rotated file may be compressed to `<id>.log.<n>.gz`. So the log is the numbered files in order, then the
unnumbered one, whose number is the next. Between the two steps of a rotation, and when the engine dies there, conmon
writes to the newest numbered file and there is no unnumbered one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from darse.linux.fs.files import open_own, open_regular

_COMPRESSED = ".gz"
# Unfinished: never read, removed by the next compression.
_PARTIAL = ".gz.partial"
_LEVEL = 1


class OpenLog(msgspec.Struct):
    """One file of a log, open. `sequence` is its number; rotation and compression do not disturb its reader."""

    sequence: int
    descriptor: int

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)


class LogFiles(msgspec.Struct, frozen=True):
    """Where one container's log is."""

    current: Path

    def rotated(self) -> dict[int, Path]:
        """The numbered files, oldest first; where both forms of one exist the compressed one, which is complete."""
        found: dict[int, Path] = {}
        prefix = f"{self.current.name}."
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.current.parent)):
                number = name.removeprefix(prefix).removesuffix(_COMPRESSED)
                if name.startswith(prefix) and number.isdecimal():
                    found[int(number)] = self.current.parent / name
        return dict(sorted(found.items()))

    def newest(self) -> int:
        """The number of the unnumbered file: one more than the last rotation's."""
        return max(self.rotated(), default=0) + 1

    def oldest(self) -> int:
        """The number of the first file that is left."""
        return min(self.rotated(), default=1)

    def path(self, sequence: int) -> Path:
        """The name of a rotated file that is not compressed."""
        return self.current.with_name(f"{self.current.name}.{sequence}")

    def open(self, sequence: int) -> OpenLog | None:
        """Open a file of the log by its number, compressed or not; None when it does not exist (any more, or yet).

        Blocks for a compressed one, which is unpacked to a nameless file.
        """
        while True:
            opened = self._open_plain(self.path(sequence)) or self._open_compressed(sequence)
            if opened is not None:
                return OpenLog(sequence, opened)
            if sequence != self.newest():
                if sequence in self.rotated():
                    continue  # it was rotated or compressed just now
                return None
            opened = self._open_plain(self.current)
            if opened is None:
                return None
            if sequence == self.newest() and _is_at(opened, self.current):
                return OpenLog(sequence, opened)
            os.close(opened)

    def has_successor(self, log: OpenLog) -> bool:
        """Whether conmon writes to a later file than this one, which then grows no more."""
        newest = self.newest()
        if newest - 1 > log.sequence:
            return True
        # The newest numbered file is written to until conmon has made a new one.
        return newest - 1 == log.sequence and self.current.exists()

    def rotate(self) -> None:
        """Give the current file its number. conmon writes on to it until it is asked for a new one."""
        os.rename(self.current, self.path(self.newest()))

    def compress(self, before: int | None = None) -> None:
        """Compress the rotated files that are not, but one that conmon may still write to. Blocks.

        Those from the number `before` on stay as they are.
        """
        for leftover in self.current.parent.glob(f"{self.current.name}.*{_PARTIAL}"):
            leftover.unlink()
        newest = self.newest()
        for sequence in range(self.oldest(), newest if before is None else min(before, newest)):
            path = self.path(sequence)
            if path.exists() and (sequence < newest - 1 or self.current.exists()):
                _compress(path)

    def remove_rotated(self, sequence: int) -> None:
        """Remove a rotated file; whoever reads it reads on."""
        path = self.path(sequence)
        for one in (path, path.with_name(path.name + _COMPRESSED)):
            one.unlink(missing_ok=True)

    def empty(self, sequence: int) -> None:
        """Drop the newest rotated file, and leave an empty one in its place: numbers are never used again."""
        path = self.path(sequence)
        blank = path.with_name(path.name + _PARTIAL)
        os.close(open_own(blank, os.O_CREAT | os.O_WRONLY))
        blank.rename(path)

    @staticmethod
    def _open_plain(path: Path) -> int | None:
        try:
            return open_regular(path)
        except FileNotFoundError:
            return None

    def _open_compressed(self, sequence: int) -> int | None:
        path = self.path(sequence)
        try:
            packed = open(path.with_name(path.name + _COMPRESSED), "rb", opener=open_regular)  # noqa: SIM115 - closed below
        except FileNotFoundError:
            return None
        with packed, tempfile.TemporaryFile(dir=self.current.parent) as plain:
            with _gzip(packed, "rb") as source:
                shutil.copyfileobj(source, plain, 1024 * 1024)
            plain.flush()
            return os.dup(plain.fileno())


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _gzip(file: BinaryIO, mode: str) -> BinaryIO:
    """The plain side of a compressed file."""
    from isal import igzip  # noqa: PLC0415 - few logs are compressed; it would be part of every engine's start

    return cast("BinaryIO", igzip.IGzipFile(fileobj=file, mode=mode, compresslevel=_LEVEL))  # type: ignore[no-untyped-call]


def _compress(path: Path) -> None:
    """Replace a file by its compressed form, which takes its time; a crash leaves one of them whole."""
    finished = path.with_name(path.name + _COMPRESSED)
    if not finished.exists():
        partial = path.with_name(path.name + _PARTIAL)
        with open(path, "rb", opener=open_regular) as source, open(partial, "wb", opener=open_own) as target:
            with _gzip(target, "wb") as packed:
                shutil.copyfileobj(source, packed, 1024 * 1024)
            target.flush()
            os.fsync(target.fileno())
            status = os.fstat(source.fileno())
        os.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))
        partial.rename(finished)
    path.unlink()
