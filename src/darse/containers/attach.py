"""Attaching to the streams of containers, reading their logs, and the size of their terminals.

A stream or a log comes as batches of `(stream, bytes)`; the API makes the frames. Nobody here keeps a copy: an
attachment shares the hub of its container (`darse.containers.streams`), and a log is read from its files, or from the
plugin that has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote_plus

from darse.containers.dependencies import Dependencies
from darse.containers.logs import LogOptions, LogStream
from darse.containers.logs.attributes import attributes
from darse.containers.logs.driver_names import is_plugin
from darse.containers.logs.drivers import is_readable
from darse.containers.logs.files import LogFiles
from darse.containers.logs.plugin_reader import PluginLogStream
from darse.containers.logs.shipping.origin import origin_of
from darse.containers.logs.shipping.plugin import can_read
from darse.containers.model import Container, Status, refuse_restarting
from darse.containers.streams.console import Attachment
from darse.containers.streams.hubs import ConsoleHubs
from darse.containers.streams.options import AttachOptions, detach_keys
from darse.containers.streams.output import STDERR, STDOUT, Batch
from darse.core.errors import Conflict, InvalidParameter
from darse.runtime.monitor import conmon

AnyLogStream = LogStream | PluginLogStream


class AttachService:
    """Attachments, log readers and terminals."""

    def __init__(self, dependencies: Dependencies, hubs: ConsoleHubs) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store
        self._hubs = hubs

    def attach(self, reference: str, options: AttachOptions) -> Attachment:
        """Connect to a container's streams, from now on or from its start.

        Raises NotFound, InvalidParameter for detach keys, Conflict when it is paused or restarting, and OSError.
        """
        container = self._store.get(reference)
        if container.state.status is Status.PAUSED:
            raise Conflict(f"container {reference} is paused, unpause the container before attach")
        refuse_restarting(container)
        config = container.record.config
        keys = detach_keys(options.detach_keys)
        outputs = {STDOUT} if options.stdout or (config.Tty and options.stderr) else set()
        if options.stderr:
            outputs.add(STDERR)
        hub = self._hubs.of(container)
        attachment = Attachment(
            hub,
            terminal=config.Tty,
            stdin=options.stdin and options.stream and config.OpenStdin,
            outputs=frozenset(outputs),
            detach_keys=keys if config.Tty else None,
            history=self._history(container, options) if options.logs else None,
        )
        if options.stream:
            hub.add(attachment, running=container.state.alive)
        else:
            attachment.finish()
        self._dependencies.publish(container, "attach")
        return attachment

    def _history(self, container: Container, options: AttachOptions) -> AsyncIterator[Batch]:
        log = LogOptions(stdout=options.stdout, stderr=options.stderr)
        return self._log_stream(container, log).output()

    async def read_log(self, reference: str, options: LogOptions) -> AnyLogStream:
        """Read a container's log. Raises NotFound, InvalidParameter, PluginError, and Conflict when it keeps none."""
        container = self._store.get(reference)
        if not (options.stdout or options.stderr):
            raise InvalidParameter("Bad parameters: you must choose at least one stream")
        config = container.record.host.LogConfig
        stream: AnyLogStream
        if is_readable(config):
            stream = self._log_stream(container, options)
        elif is_plugin(config.Type) and await can_read(self._dependencies.plugins, config.Type):
            terminal = container.record.config.Tty
            details = _details(container)
            origin = origin_of(container)
            stream = PluginLogStream(self._dependencies.plugins, origin, options, terminal=terminal, details=details)
        else:
            raise Conflict("configured logging driver does not support reading")
        if options.follow:
            followers = self._dependencies.followers.setdefault(container.id, set())
            followers.add(stream)
        return stream

    def close_log(self, stream: AnyLogStream, reference: str) -> None:
        """The reader of a log is done."""
        container = self._store.find(reference)
        for container_id in [container.id] if container else list(self._dependencies.followers):
            followers = self._dependencies.followers.get(container_id)
            if followers is not None:
                followers.discard(stream)
                if not followers:
                    del self._dependencies.followers[container_id]

    def _log_stream(self, container: Container, options: LogOptions) -> LogStream:
        return LogStream(
            LogFiles(self._dependencies.files.of(container.id).log),
            self._dependencies.inotify,
            options,
            terminal=container.record.config.Tty,
            details=_details(container),
            running=lambda: container.state.alive,
        )

    def resize_terminal(self, reference: str, height: int, width: int) -> None:
        """Set the size of a container's terminal. Raises Conflict when it does not run."""
        container = self._store.get(reference)
        if not container.state.alive:
            raise Conflict(f"container {container.id} is not running")
        conmon.resize(self._dependencies.files.of(container.id).bundle, height, width)
        self._dependencies.publish(container, "resize", height=height, width=width)


def _details(container: Container) -> str:
    """What `--details` puts before each line."""
    event_attributes = attributes(container)
    return ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(event_attributes.items()))
