"""The log of a container whose copy on the disk is switched off, read back from its plugin (`LogDriver.ReadLogs`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from darse.containers.logs.entries import EntryReader, InvalidEntry, LogEntry
from darse.containers.logs.reader import LineFormatter, LogOptions, log_time
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.plugin import KIND, about
from darse.containers.streams.output import Batch
from darse.core.times import rfc3339
from darse.plugins import PluginClient, PluginError


class PluginLogStream:
    """One reader of a log; as `LogStream`."""

    def __init__(
        self, plugins: PluginClient, origin: Origin, options: LogOptions, *, terminal: bool, details: str
    ) -> None:
        self.terminal = terminal
        self._plugins = plugins
        self._origin = origin
        self._options = options
        self._format = LineFormatter(options, details, terminal=terminal)

    async def output(self) -> AsyncIterator[Batch]:
        """Yield the log, as long as the plugin sends it. Raises NotFound and PluginError."""
        options = self._options
        config = {
            "Since": rfc3339(options.since_ns) if options.since_ns else "0001-01-01T00:00:00Z",
            "Until": rfc3339(options.until_ns) if options.until_ns else "0001-01-01T00:00:00Z",
            "Tail": -1 if options.tail is None else options.tail,
            "Follow": options.follow,
        }
        arguments = {"Info": about(self._origin), "Config": config}
        reader = EntryReader()
        async with self._plugins.stream(self._origin.driver, KIND, "ReadLogs", arguments) as pieces:
            async for piece in pieces:
                try:
                    lines = [_line(entry) for entry in reader.entries(piece)]
                except InvalidEntry as error:
                    raise PluginError(f"plugin {self._origin.driver} answers ReadLogs with {error}") from error
                if output := self._format.lines(lines):
                    yield output

    def container_ended(self) -> None:
        """The plugin knows that by itself."""

    async def close(self) -> None:
        """The client is gone; its request ends with the iteration."""


def _line(entry: LogEntry) -> bytes:
    """An entry as conmon writes it. The line may have its end with it, as docker's own drivers send it."""
    text = entry.line.removesuffix(b"\n")
    tag = b"P" if entry.partial else b"F"
    return b" ".join((log_time(entry.time_ns), entry.source or b"stdout", tag, text))
