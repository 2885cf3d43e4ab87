"""Drivers that are plugins: docker's log plugin protocol (docs/extend/plugins_logging).

The plugin is asked to read a fifo (`LogDriver.StartLogging`), gets entries there, and is asked to stop when all of them
were read. What it has read has arrived: how much it has not the kernel says (FIONREAD), also when the plugin has ended.
So one that is started anew gets the rest, and nothing twice. What it had read and not kept when it ended is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from darse.containers.logs.entries import encode
from darse.containers.logs.shipping.messages import Clock, Message
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import Receiver, RemoteDriver
from darse.core.errors import EngineError, InvalidParameter, NotFound
from darse.linux.fifos import FifoWriter, make_fifo
from darse.plugins import PluginClient, PluginRefused

KIND = "LogDriver"
# Seconds for a plugin to open the fifo that it has to read.
_OPEN_SECONDS = 10.0


class _Nothing(msgspec.Struct):
    pass


class _Capability(msgspec.Struct):
    ReadLogs: bool = False


class _Capabilities(msgspec.Struct):
    Cap: _Capability | None = None
    Err: str = ""


def about(origin: Origin) -> dict[str, Any]:
    """What a plugin gets about a container: moby's logger.Info."""
    return {
        "Config": origin.options,
        "ContainerID": origin.id,
        "ContainerName": f"/{origin.name}",
        "ContainerEntrypoint": origin.entrypoint,
        "ContainerArgs": origin.arguments,
        "ContainerImageID": origin.image_id,
        "ContainerImageName": origin.image_name,
        "ContainerCreated": origin.created,
        "ContainerEnv": origin.environment,
        "ContainerLabels": origin.labels,
        "LogPath": "",
        "DaemonName": "docker",
    }


async def check_plugin(plugins: PluginClient, name: str) -> None:
    """Raise InvalidParameter, in docker's words, when no plugin of this name is a log driver."""
    try:
        await plugins.activate(name, KIND)
    except NotFound as error:
        reason = f"logger: no log driver named '{name}' is registered: {error}"
        raise InvalidParameter(reason) from error


async def can_read(plugins: PluginClient, name: str) -> bool:
    """Whether a plugin gives logs back. Raises NotFound and PluginError."""
    try:
        found = (await plugins.call(name, KIND, "Capabilities", {}, _Capabilities)).Cap
    except PluginRefused:
        return False  # plugins may have no such method
    return found is not None and found.ReadLogs


class PluginReceiver:
    """One fifo that a plugin reads."""

    def __init__(self, origin: Origin, plugins: PluginClient, directory: Path) -> None:
        """`directory` is where fifos are, at the same path for the plugin as for the engine."""
        self._origin = origin
        self._plugins = plugins
        self._path = directory / origin.id
        self._fifo: FifoWriter | None = None
        self._clock = Clock()
        # Where each message that was not read yet ends, in bytes since the beginning.
        self._ends: deque[int] = deque()
        self._written = self._read = 0

    async def connect(self, wake: Callable[[], None]) -> None:
        """Have the plugin read a new fifo. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # Of the fifo before, which this or another engine has made: the plugin may read it still.
            with contextlib.suppress(PluginRefused):
                if self._path.exists():
                    await self._call("StopLogging", {"File": str(self._path)})
            make_fifo(self._path)
            await self._call("StartLogging", {"File": str(self._path), "Info": about(self._origin)})
        except EngineError as error:
            raise OSError(str(error)) from error
        self._fifo = await self._open()
        wake()

    async def _call(self, method: str, arguments: dict[str, Any]) -> None:
        await self._plugins.call(self._origin.driver, KIND, method, arguments, _Nothing)

    async def _open(self) -> FifoWriter:
        """Open the fifo when the plugin has. There is no event for an open: it is polled."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + _OPEN_SECONDS, 0.005
        while True:
            try:
                return FifoWriter(self._path)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                if loop.time() + pause > deadline:
                    raise OSError(f"plugin {self._origin.driver} does not open {self._path}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    @property
    def delivered(self) -> int:
        """How many messages the plugin has read."""
        if self._fifo is not None:
            with contextlib.suppress(OSError):
                position = self._written - self._fifo.unread
                while self._ends and self._ends[0] <= position:
                    self._ends.popleft()
                    self._read += 1
        return self._read

    @property
    def settled(self) -> int:
        """The same: nobody else can read them again."""
        return self.delivered

    async def send(self, messages: Sequence[Message]) -> None:
        """Write messages; waits while the plugin is slow. Raises OSError."""
        assert self._fifo is not None
        for message in messages:
            data = encode(message, self._clock)
            self._ends.append((self._ends[-1] if self._ends else self._written) + len(data))
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        assert self._fifo is not None
        # In pieces that the pipe takes whole: what was written is known when a wait for room is broken off.
        view = memoryview(data)
        while view:
            piece = view[: 1 << 16]
            await self._fifo.write(bytes(piece))
            self._written += len(piece)
            view = view[len(piece) :]

    def check(self) -> None:
        """Raise OSError when the plugin has closed the fifo."""
        if self._fifo is not None:
            self._fifo.check()

    async def finish(self) -> None:
        """Everything was read: the plugin need not wait for more. Raises OSError."""
        self._let_go()
        try:
            with contextlib.suppress(PluginRefused):
                await self._call("StopLogging", {"File": str(self._path)})
        except EngineError as error:
            raise OSError(str(error)) from error
        self._path.unlink(missing_ok=True)

    def _let_go(self) -> None:
        if self._fifo is not None:
            self._read = self.delivered
            self._fifo.close()
            self._fifo = None

    def close(self) -> None:
        """Close the fifo; any number of times. Its file stays: the next engine tells the plugin to let it go."""
        self._let_go()


def plugin_driver(plugins: PluginClient, directory: Path) -> RemoteDriver:
    """The driver that every plugin is. Its options are the plugin's own."""

    def receiver(origin: Origin) -> Receiver:
        return PluginReceiver(origin, plugins, directory)

    def check(_: Mapping[str, str]) -> None:
        """The plugin refuses what it does not know when it is asked to begin."""

    return RemoteDriver(frozenset(), check, receiver)


def log_directory(exec_root: Path) -> Path:
    """Where fifos of log plugins are; managed plugins see it at the same path."""
    return Path(os.path.realpath(exec_root)) / "logging"
