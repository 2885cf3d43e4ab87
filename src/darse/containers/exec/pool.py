"""Execs that wait for their process: conmon runs, and the runtime has read all but what it is to run.

An exec is brought that far at its creation, for a client asks for its start a moment later. And when one has ended, a
*spare* of the same shape is made ready for the next one in its container: execs come in rows, and two thirds of an
exec's time pass before the runtime needs to know its process.

One that waits costs two megabytes, so few of them wait, and not for long. With the engine they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from pathlib import Path
from typing import NamedTuple

import msgspec

from darse.containers.model import Container
from darse.core import executors
from darse.linux.fs.contained import discard_tree
from darse.runtime.monitor.conmon import MonitorDirectory, StdioPlan
from darse.runtime.monitor.launch import ExecLaunch
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.oci import OCIRuntime

# What is stored of an exec, in its bundle's directory.
RECORD = "exec.json"
_MOST = 8
_SECONDS = 5.0


class ExecKey(NamedTuple):
    """What an exec that waits is bound to: the container, as it runs now, and how its stdio goes."""

    container_id: str
    container_pid: int
    stdio: StdioPlan
    attach: bool


class _Waiting(msgspec.Struct):
    shape: ExecKey
    launch: asyncio.Task[ExecLaunch]
    spare: bool
    expiry: asyncio.TimerHandle


def monitor_directory_of(directory: Path, exec_id: str, container_id: str) -> MonitorDirectory:
    """Where the conmon of an exec has its files."""
    return MonitorDirectory(directory / exec_id, directory / exec_id / "exit", container_id)


class ExecPool:
    """The execs that wait, by id. Call from the event loop."""

    def __init__(self, directory: Path, null: NullDevice) -> None:
        self._directory = directory
        self._null = null
        self._waiting: dict[str, _Waiting] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def begin(self, exec_id: str, shape: ExecKey, runtime: OCIRuntime, *, spare: bool = False) -> None:
        """Make an exec ready, unless too many wait already. A spare is left out when its container has one."""
        if self._closed or len(self._waiting) >= _MOST:
            return
        if spare and self._spare(shape.container_id) is not None:
            return
        bundle = monitor_directory_of(self._directory, exec_id, shape.container_id)
        if spare:
            bundle.exits.mkdir(mode=0o700, parents=True)
        start = functools.partial(ExecLaunch, runtime, bundle, shape.stdio, attach=shape.attach, null=self._null)
        launch = asyncio.create_task(executors.launch.run(start))
        self._waiting[exec_id] = _Waiting(shape, launch, spare, self._expiry(exec_id))

    def adopt(self, shape: ExecKey) -> str | None:
        """The id of a spare that fits; it is no spare any more. None when there is none."""
        exec_id = self._spare(shape.container_id)
        if exec_id is None or self._waiting[exec_id].shape != shape:
            return None
        waiting = self._waiting[exec_id]
        waiting.spare = False
        waiting.expiry.cancel()
        waiting.expiry = self._expiry(exec_id)
        return exec_id

    async def take(self, exec_id: str, shape: ExecKey) -> ExecLaunch | None:
        """The exec that is to run now; None when it does not wait, or not as it should."""
        waiting = self._waiting.get(exec_id)
        if waiting is not None and waiting.shape == shape:
            await asyncio.wait((waiting.launch,))
            if self._waiting.get(exec_id) is waiting and _ready(waiting.launch):
                del self._waiting[exec_id]
                waiting.expiry.cancel()
                return waiting.launch.result()
        self.give_up(exec_id)
        if exec_id in self._ending:
            await asyncio.wait((self._ending[exec_id],))
        return None

    def give_up(self, exec_id: str) -> None:
        """End one that waits, if it does; its id may be run without."""
        waiting = self._waiting.pop(exec_id, None)
        if waiting is None:
            return
        waiting.expiry.cancel()
        bundle = monitor_directory_of(self._directory, exec_id, waiting.shape.container_id)
        end = asyncio.create_task(_end(waiting, bundle))
        self._ending[exec_id] = end
        end.add_done_callback(lambda _: self._ending.pop(exec_id))

    def started(self, container: Container) -> None:
        """Nothing is made ready before the first exec."""

    def ended(self, container: Container) -> None:
        """End those that wait for a container."""
        for exec_id in [one for one, waiting in self._waiting.items() if waiting.shape.container_id == container.id]:
            self.give_up(exec_id)

    def removed(self, container: Container) -> None:
        """Nothing is left to do: it had ended before."""

    async def close(self) -> None:
        """End all that wait, and begin no more."""
        self._closed = True
        for exec_id in list(self._waiting):
            self.give_up(exec_id)
        await asyncio.gather(*self._ending.values())

    def _expiry(self, exec_id: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(_SECONDS, self.give_up, exec_id)

    def _spare(self, container_id: str) -> str | None:
        for exec_id, waiting in self._waiting.items():
            if waiting.spare and waiting.shape.container_id == container_id:
                return exec_id
        return None


def _ready(launch: asyncio.Task[ExecLaunch]) -> bool:
    return launch.exception() is None and not launch.result().failed


async def _end(waiting: _Waiting, bundle: MonitorDirectory) -> None:
    await asyncio.wait((waiting.launch,))
    if waiting.launch.exception() is None:
        await executors.launch.run(waiting.launch.result().abandon)
    await executors.storage.run(clear, bundle)


def clear(bundle: MonitorDirectory) -> None:
    """Remove what a conmon has left: all of a spare, all but the record of what a client has created."""
    if not (bundle.directory / RECORD).exists():
        discard_tree(bundle.directory)
        return
    for directory in (bundle.exits, bundle.directory):
        # The record goes, and all the rest, when its container is removed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            for path in directory.iterdir():
                if path != bundle.exits and path.name != RECORD:
                    path.unlink(missing_ok=True)
