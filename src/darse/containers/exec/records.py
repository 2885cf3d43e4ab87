"""What is kept of an exec: its record, a file that an engine which takes over reads, and what runs of it, in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from darse.containers.exec.pool import RECORD
from darse.containers.streams.console import ConsoleHub
from darse.core.documents import DocumentCodec
from darse.linux.fs.files import NotRegular, read_regular, write_atomically
from darse.runtime.monitor import HeldProcess
from darse.runtime.monitor.conmon import MonitorDirectory
from darse.wire.execs import ExecConfig


class ExecRecord(msgspec.Struct):
    """What is stored of an exec."""

    id: str
    container_id: str
    config: ExecConfig
    started: bool = False
    pid: int = 0
    exit_code: int | None = None
    # A health check's: no client knows of it.
    probe: bool = False


_DOCUMENTS = DocumentCodec(ExecRecord)


class Exec(msgspec.Struct):
    """An exec in memory."""

    record: ExecRecord
    bundle: MonitorDirectory
    hub: ConsoleHub
    monitor: HeldProcess | None = None
    watcher: asyncio.Task[None] | None = None
    # When it goes, if nobody has started it by then.
    expiry: asyncio.TimerHandle | None = None
    launch: asyncio.Task[None] | None = None
    # Whether its process runs, or has been tried to.
    begun: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    # Whether the run of the container that it was made in has ended.
    over: bool = False

    @property
    def starting(self) -> bool:
        """Whether its process is about to run."""
        return self.launch is not None and not self.launch.done()

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.record.started and self.record.exit_code is None

    def save(self) -> None:
        """Write the record for an engine that comes after this one."""
        write_atomically(self.bundle.directory / RECORD, _DOCUMENTS.encode(self.record), durable=False)


def read_record(directory: Path) -> ExecRecord | None:
    """The record in an exec's directory; None when there is none, or a damaged one. Raises NewerDocument."""
    try:
        return _DOCUMENTS.decode(read_regular(directory / RECORD))
    except (FileNotFoundError, NotADirectoryError, NotRegular, msgspec.MsgspecError):
        return None
