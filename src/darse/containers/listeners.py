"""Those who want to know when containers' processes begin and end: health checks, log rotation and the like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from darse.containers.model import Container

_log = logging.getLogger("darse.containers")


class LifecycleListener(Protocol):
    """Told of each container's life, on the event loop, after it is on record. Must not block."""

    def started(self, container: Container) -> None:
        """Its process runs; also said of what runs already when an engine takes over."""

    def ended(self, container: Container) -> None:
        """Its process has ended; the state says how, and whether another follows."""

    def removed(self, container: Container) -> None:
        """It is gone; its files are about to go."""


class LifecycleListeners:
    """All listeners. One that fails is logged, and keeps no container from its life."""

    def __init__(self) -> None:
        self._listeners: list[LifecycleListener] = []

    def add(self, listener: LifecycleListener) -> None:
        """Call `listener` too from now on."""
        self._listeners.append(listener)

    def started(self, container: Container) -> None:
        """A container runs."""
        for listener in self._listeners:
            self._call(listener.started, container)

    def ended(self, container: Container) -> None:
        """A container has ended."""
        for listener in self._listeners:
            self._call(listener.ended, container)

    def removed(self, container: Container) -> None:
        """A container is gone."""
        for listener in self._listeners:
            self._call(listener.removed, container)

    @staticmethod
    def _call(hear: Callable[[Container], None], container: Container) -> None:
        try:
            hear(container)
        except Exception:
            _log.exception("a listener of container %s failed", container.id[:12])
