"""The consoles of containers: one hub for each, from when it is first needed until the container ends."""

from __future__ import annotations

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.containers.streams.console import ConsoleHub
from darse.runtime.monitor import conmon


class ConsoleHubs:
    """The hubs, by container."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._hubs: dict[str, ConsoleHub] = {}

    def of(self, container: Container) -> ConsoleHub:
        """The hub of a container, made when first needed."""
        hub = self._hubs.get(container.id)
        if hub is None:
            bundle = self._dependencies.files.of(container.id).bundle
            config = container.record.config
            hub = ConsoleHub(
                lambda: conmon.connect(bundle),
                terminal=config.Tty,
                stdin_once=config.StdinOnce,
                keep_connected=config.OpenStdin and config.StdinOnce and not config.Tty,
                on_detach=lambda: self._dependencies.publish(container, "detach"),
            )
            self._hubs[container.id] = hub
        return hub

    def connect_waiting(self, container: Container) -> None:
        """Connect those who have attached before the start, so that they miss nothing of what the process prints."""
        hub = self._hubs.get(container.id)
        if hub is not None and hub.is_used:
            hub.connect()

    def close(self, container: Container) -> None:
        """The container has ended, or is removed: no more output comes."""
        hub = self._hubs.pop(container.id, None)
        if hub is not None:
            hub.process_exited()
