"""Space and inodes put aside, so that an engine on a full disk starts, stops and removes things.

Each root has a directory `reserve`: one file with blocks, some without. They are given up when the disk is full, which
is when a start or a removal needs them, and made again when there is space. The database has a reserve of its own
besides, which nobody can take meanwhile: the file of its write-ahead log has blocks behind its end. SQLite begins that
file again after each checkpoint, so changes go on when there is not one byte left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from darse.core.errors import EngineError
from darse.core.state import State
from darse.linux.fs.files import open_own, open_regular, preallocate

# SQLite checkpoints at 1,000 pages of 4 KiB; this is half as much again.
WAL_BYTES = 6 << 20
# What a start on a full data root needs: the write-ahead log, its index, and room for tables that grow.
DATA_BYTES = 8 << 20
# What it needs in the exec root, where files of containers' ends are written, too.
EXEC_BYTES = 256 << 10
_PAGE = 4096
# Free pages of the database, of 4 KiB: with them a checkpoint needs no space, either.
_PAGES = 256
_INODES = 64
_LOW_BYTES = 1 << 20
_LEAST_BYTES = 64 << 10
_log = logging.getLogger("darse.engine")


class Reserve:
    """The reserve of one root. Nothing of it raises OSError: a host without space for it has none."""

    def __init__(self, root: Path, size: int) -> None:
        """`size` is in bytes; nothing is made yet."""
        self._directory = root / "reserve"
        self._blocks = self._directory / "blocks"
        self._size = size

    def tend(self) -> None:
        """Give it up when the disk is full; make it again when there is space for twice as much."""
        try:
            found = os.statvfs(self._directory.parent)
        except OSError:
            return
        free = found.f_bavail * found.f_frsize
        inodes = found.f_favail if found.f_files else _INODES * 4  # some file systems have no number of them
        if self._is_full(free, inodes):
            self.release()
        elif free > 2 * self._size and inodes > 2 * _INODES:
            self._make()

    def keep(self) -> None:
        """Make it, of the last space if need be: the engine ends, and the next one is to start."""
        self._make(least=_LEAST_BYTES)

    def release(self) -> None:
        """Give it up."""
        given = False
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                given |= entry.name == self._blocks.name
                os.unlink(entry.path)
        if given:
            _log.warning("%s is full: the reserve of %d MiB is given up", self._directory.parent, self._size >> 20)

    def _is_full(self, free: int, inodes: int) -> bool:
        if inodes < _INODES:
            return True
        if free >= min(_LOW_BYTES, self._size):
            return False
        # What is kept for root (see tune2fs(8), -m) is not counted: whether there is any, only taking some tells.
        try:
            with open(self._blocks, "ab", opener=open_own) as file:
                size = os.fstat(file.fileno()).st_size
                os.posix_fallocate(file.fileno(), size, 64 << 10)
                os.ftruncate(file.fileno(), size)
        except OSError:
            return True
        return False

    def _make(self, least: int | None = None) -> None:
        """Make what is missing of it; `least` bytes are better than none."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            if not self._blocks.is_file() or self._blocks.stat().st_size < self._size:
                with open(self._blocks, "ab", opener=open_own) as file:
                    _allocate(file.fileno(), self._size, self._size if least is None else least)
            for number in range(_INODES):
                path = self._directory / f"inode-{number}"
                if not path.exists():
                    path.touch(mode=0o600)
        except OSError as error:
            _log.debug("no reserve in %s: %s", self._directory, error.strerror)


def _allocate(descriptor: int, size: int, least: int) -> None:
    """Give a file blocks for `size` bytes, or for half of that and so on, down to `least`. Raises OSError."""
    while True:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            size //= 2
            if size < least:
                raise
        else:
            return


def preallocate_log(database: Path) -> None:
    """Give the write-ahead log of a database that is open blocks behind its end. Does nothing where it has them."""
    log = database.with_name(f"{database.name}-wal")
    try:
        has, found = log.stat().st_blocks * 512, os.statvfs(log)
        # Not all that there is: a start makes some directories, too.
        size = min(WAL_BYTES, has + found.f_bavail * found.f_frsize - _LOW_BYTES)
        if has < size:
            with open(log, "ab", opener=open_regular) as file:
                preallocate(file.fileno(), size)
    except OSError as error:
        _log.debug("no blocks for %s: %s", log, error.strerror)


def preallocate_index(database: Path) -> None:
    """Give the index of the write-ahead log, which SQLite maps into memory, all of its blocks.

    SQLite writes one byte of each 4 KiB. On a file system of smaller blocks the rest are holes, and to touch one when
    the disk is full is SIGBUS. Another program does it: to close the file here would drop SQLite's locks (fcntl(2)).
    """
    index = database.with_name(f"{database.name}-shm")
    program = shutil.which("fallocate")
    with suppress(OSError, subprocess.SubprocessError):
        if program is not None and os.statvfs(index).f_bsize < _PAGE:
            size = str(index.stat().st_size)
            subprocess.run([program, "--length", size, index], check=False, capture_output=True, timeout=10)


class Reserves:
    """Those of an engine: tended when it starts, when the disk turns out to be full, and every now and then."""

    _SECONDS = 10.0

    def __init__(self, data_root: Path, exec_root: Path, database: Path) -> None:
        self._path = database
        self._database: State | None = None
        self._reserves = (Reserve(data_root, DATA_BYTES), Reserve(exec_root, EXEC_BYTES))
        self._timer: asyncio.TimerHandle | None = None

    def tend(self) -> None:
        """See `Reserve.tend`; and see to the database's."""
        preallocate_log(self._path)
        for reserve in self._reserves:
            reserve.tend()
        # What was given up is for the log first.
        preallocate_log(self._path)
        if self._database is not None:
            try:
                self._database.keep_pages(_PAGES)
            except EngineError as error:
                _log.debug("no pages for the database: %s", error)

    def serve(self, database: State) -> None:
        """See to the pages of the database, which is open, and to what it lacks when the disk is full."""
        self._database = database
        database.rely_on(self)

    def open(self) -> None:
        """Tend from now on."""
        preallocate_index(self._path)
        self._tend_on()

    def _tend_on(self) -> None:
        self.tend()
        self._timer = asyncio.get_running_loop().call_later(self._SECONDS, self._tend_on)

    def close(self) -> None:
        """Tend no more."""
        if self._timer is not None:
            self._timer.cancel()

    def keep(self) -> None:
        """See `Reserve.keep`; the database is closed."""
        for reserve in self._reserves:
            reserve.keep()
