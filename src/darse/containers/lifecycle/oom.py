"""Out of memory: told at once, also when it is a child that the kernel killed and the container goes on.

With cgroup version 2 the kernel counts the processes it killed in the container's `memory.events`, and says when that
changes. With version 1 only the end of a wait tells (an eventfd of `memory.oom_control`), which is conmon's: it creates
a file. The engine records it and takes the file away, so that the next time is seen as well. A file that is still there
when the container ends, or when an engine takes over, has not been recorded yet: `Lifecycle._exited` records it with
the end.

conmon 2.1 creates the file with version 2, too, but has been seen to miss a child that was killed.
"""

from __future__ import annotations

import functools
from pathlib import Path

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.linux.fs.inotify import Subscription


class OutOfMemory:
    """A listener of containers' lives."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._subscriptions: dict[str, list[Subscription]] = {}

    def started(self, container: Container) -> None:
        """Watch conmon's directory, and the kernel's counter where there is one."""
        dependencies = self._dependencies
        bundle = dependencies.files.of(container.id).bundle
        counter = dependencies.cgroups.memory_events(dependencies.cgroup_path(container))
        # After a take-over: what is on record has been told.
        container.oom_kills = _kills(counter) if container.state.oom_killed else 0
        subscriptions = self._subscriptions[container.id] = []
        try:
            for path in (bundle.directory, *([counter] if counter is not None else [])):
                subscriptions.append(dependencies.inotify.subscribe(path, lambda: self._look(container, counter)))
        except OSError as error:
            # Its end will still show it; `darse doctor` knows the limit.
            dependencies.log.warning("cannot watch container %s for OOM kills: %s", container.id[:12], error)
        self._look(container, counter)

    def _look(self, container: Container, counter: Path | None) -> None:
        dependencies, file = self._dependencies, self._dependencies.files.of(container.id).bundle.oom_file
        if not container.state.alive:
            return
        kills = _kills(counter)
        if kills > container.oom_kills or (counter is None and file.exists()):
            container.oom_kills = kills
            container.state.oom_killed = True
            dependencies.pending_writes.write(container.id, functools.partial(self._save, container))
        if counter is None or container.oom_kills:
            file.unlink(missing_ok=True)

    def _save(self, container: Container) -> None:
        with self._dependencies.database.transaction():
            self._dependencies.store.save_state(container)
            self._dependencies.publish(container, "oom")

    def ended(self, container: Container) -> None:
        """Stop watching."""
        container.oom_kills = 0
        for subscription in self._subscriptions.pop(container.id, ()):
            subscription.close()

    def removed(self, container: Container) -> None:
        """Nothing is left to do: it had ended before."""


def _kills(counter: Path | None) -> int:
    """How many processes of a cgroup the kernel's OOM killer has killed; 0 when it cannot tell."""
    try:
        lines = counter.read_text().splitlines() if counter is not None else []
    except FileNotFoundError:
        return 0  # the container has just ended
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
