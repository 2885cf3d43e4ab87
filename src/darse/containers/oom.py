"""Out of memory: told at once, also when it is a child that the kernel killed and the container goes on.

conmon creates a file when it hears of it from the container's cgroup. The engine records it and takes the file away,
so that the next time is seen as well; a file that is still there when the container ends, or when an engine takes
over, has not been recorded yet.
"""

from __future__ import annotations

import functools

from darse.containers.context import Context
from darse.containers.model import Container
from darse.linux.inotify import Subscription


class OutOfMemory:
    """An observer of containers' lives."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._subscriptions: dict[str, Subscription] = {}

    def started(self, container: Container) -> None:
        """Watch conmon's directory."""
        context = self._context
        look = functools.partial(self._look, container)
        try:
            directory = context.files.of(container.id).station.directory
            self._subscriptions[container.id] = context.inotify.subscribe(directory, look)
        except OSError as error:
            # Its end will still tell; `darse doctor` knows the limit.
            context.log.warning("cannot watch container %s for want of memory: %s", container.id[:12], error)
        look()

    def _look(self, container: Container) -> None:
        context, file = self._context, self._context.files.of(container.id).station.oom_file
        if not container.state.alive or not file.exists():
            return
        container.state.oom_killed = True
        with context.database.transaction():
            context.store.save_state(container)
            context.publish(container, "oom")
        file.unlink(missing_ok=True)

    def ended(self, container: Container) -> None:
        """Stop watching."""
        subscription = self._subscriptions.pop(container.id, None)
        if subscription is not None:
            subscription.close()

    def removed(self, container: Container) -> None:
        """Nothing is left to do: it had ended before."""
