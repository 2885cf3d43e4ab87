"""What a start does about data and records that do not belong together: of containers, images, networks, volumes.

The rule: what `Unfinished` notes name is removed, for the engine itself has begun to make or to remove it. What a
record names is kept. Anything else is an orphan: moved aside, or left where it is while a process uses it. Whatever is
found is said in the log, by `darse doctor` and by `darse system check`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from pathlib import Path

import msgspec

from darse.core import executors
from darse.core.errors import SystemFault
from darse.core.state import REBUILD, State
from darse.core.unfinished import Unfinished
from darse.linux.fs.files import read_regular
from darse.recovery.orphans import KEPT_DAYS, Orphan, Orphans
from darse.recovery.records import ContainerFile, file_of, irregular, read_serial, reading, serial_of

_log = logging.getLogger("darse.recovery")
_DAY = 86400.0
# Directories of the data root, and what their entries are.
_OBJECTS = (
    ("containers", "containers"),
    ("snapshots", "writable layers"),
    ("volumes", "volumes"),
    ("images/layers", "layers"),
    ("images/blobs/sha256", "documents of images"),
)


class Trouble(msgspec.Struct, frozen=True):
    """Something that was found: what it is about, what is wrong, what to do; `note` works, `problem` does not."""

    level: str
    subject: str
    found: str
    advice: str = ""


class Recovery:
    """The notes, the orphans, the copies of records, and what was found since the start."""

    def __init__(self, data_root: Path, state: State) -> None:
        self._root = data_root
        self._state = state
        self.unfinished = Unfinished(state)
        self.orphans = Orphans(data_root)
        #: Ids of containers that run, and that no record names.
        self.strays: set[str] = set()
        #: Ids of containers that run, and that the engine cannot look after: strays, and those with a damaged record.
        self.unattended: set[str] = set()
        self._found: list[Trouble] = []
        self._timer: asyncio.TimerHandle | None = None
        self._expiring: asyncio.Future[list[Orphan]] | None = None

    def open(self) -> None:
        """Remove orphans whose time is over, now and every day."""
        self._timer = asyncio.get_running_loop().call_later(_DAY, self.open)
        self._expiring = asyncio.create_task(executors.storage.run(self.orphans.expire))

    async def close(self) -> None:
        """Let go."""
        if self._timer is not None:
            self._timer.cancel()
        if self._expiring is not None:
            await self._expiring

    def recorded(self, kind: str, key: str) -> bytes | None:
        """The copy of an object's record, if there is one."""
        try:
            return read_regular(file_of(self._root, kind, key))
        except OSError:
            return None

    def containers_beside(self) -> list[ContainerFile]:
        """The copies of the records of containers that have no row: of strays, and of those that were moved aside."""
        ids = self.strays | {one.name for one in self.orphans.all() if one.kind in ("containers", "snapshots")}
        found = []
        for container_id in ids:
            copy = self.recorded("containers", container_id)
            with contextlib.suppress(msgspec.MsgspecError):
                found += [msgspec.json.decode(copy, type=ContainerFile)] if copy is not None else []
        return found

    def report(self, subject: str, found: str, advice: str, *, level: str = "problem") -> None:
        """Say in the log what was found, and remember it for those who ask."""
        _log.error("%s: %s; %s", subject, found, advice)
        self._found.append(Trouble(level, subject, found, advice))

    def set_aside(self, kind: str, path: Path, reason: str) -> None:
        """Move an orphan aside; one that cannot be moved is left, and reported."""
        try:
            self.orphans.set_aside(kind, path, reason)
        except OSError as error:
            self.report(str(path), f"{reason}, and it cannot be moved aside: {error}", "move it away")

    def troubles(self) -> list[Trouble]:
        """All that is wrong now: damaged records, what the start has found, and orphans."""
        damaged = [
            Trouble("problem", f"record {key}", f"a row of table {table} {damage.found}", damage.remedy)
            for (table, key), damage in self._state.damaged.items()
        ]
        orphans = [
            Trouble(
                "note",
                f"orphan {one.path}",
                f"{one.kind}: {one.reason}",
                f"kept for {KEPT_DAYS} days; `darse system check --rebuild` puts back what can be, and "
                "`darse system check --remove-orphans` removes all",
            )
            for one in self.orphans.all()
        ]
        return [*damaged, *self._found, *orphans]


def holdings(data_root: Path) -> str:
    """What lies in a data root, in words; empty when nothing does."""
    counts = [(len(_entries(data_root / directory)), what) for directory, what in _OBJECTS]
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def _entries(directory: Path) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def refuse_new(data_root: Path, database: Path) -> None:
    """Refuse to begin a database where there is data already. Raises SystemFault."""
    found = holdings(data_root)
    if found:
        what = "is empty" if database.exists() else "is missing"
        raise SystemFault(
            f"the database {database} {what}, and {data_root} holds {found}; nothing was changed: run `darse system "
            "check --rebuild`, which builds the database again from its backup and from what lies there, or use "
            "another --data-root"
        )


def refuse_irregular(database: Path) -> None:
    """Refuse a database one of whose files is none. Raises SystemFault."""
    found = irregular(database)
    if found is not None and not found.is_dir():
        raise SystemFault(
            f"{found} is not a regular file, and belongs to the engine's database: move it away; {REBUILD}"
        )


def refuse_older(data_root: Path, database: Path) -> None:
    """Refuse a database that is older than the data beside it, before anything opens it for writing.

    Raises SystemFault.
    """
    newest = read_serial(data_root)
    if not newest or not database.is_file():
        return
    try:
        with contextlib.closing(reading(database)) as connection:
            number = serial_of(connection)
    except sqlite3.Error:
        return  # what is wrong with it, the opening says
    if number < newest:
        raise SystemFault(
            f"the database {database} is older than the data in {data_root} (batch {number} of {newest}: its "
            "write-ahead log was lost, or an old copy was put in its place); nothing was changed: run `darse system "
            "check --rebuild`"
        )
