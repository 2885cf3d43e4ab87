"""`stats`: what containers use, once or every second while somebody looks.

One ticker serves all streams: each second it reads the host's counters once and each watched container once, however
many clients watch it. A container that nobody watches costs nothing. A stream goes on while its container does not run,
and ends with its removal, as docker's clients expect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.core.tasks import begin_lasting
from darse.runtime.cgroups.stats import CgroupUsage, HostCPU, HostCPUReader, UsageReader

_INTERVAL = 1.0
# The host's counters have steps of 10 ms: over less than this, a rate of the two would be noise.
_SHORTEST_NS = 500_000_000
# How many containers are read before others may have the event loop: some 2 ms.
_BATCH = 8


class StatsSample(msgspec.Struct, frozen=True):
    """What a container uses. Rates are the difference between `usage` and `before`."""

    id: str
    #: Without the slash of the API.
    name: str
    #: None when the container does not run.
    usage: CgroupUsage | None
    #: The sample that came before `usage`; None for the first.
    before: CgroupUsage | None


class _Watch:
    """A watched container: its reader while it runs, and the streams that wait for samples."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.streams: set[asyncio.Queue[CgroupUsage | None]] = set()
        self.removed = False
        self._reader: UsageReader | None = None
        self._reads_pid = 0

    def sample(self, dependencies: Dependencies, host: HostCPU) -> CgroupUsage | None:
        """Read now; None when the container does not run."""
        state = self.container.state
        if not state.alive or state.pid != self._reads_pid:
            self.close()
        if not state.alive:
            return None
        try:
            if self._reader is None:
                self._reader = open_usage(dependencies, self.container)
                self._reads_pid = state.pid
            return self._reader.read(host)
        except OSError:
            self.close()  # it has just ended
            return None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class Stats:
    """Samples containers. An observer of their lives."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._watches: dict[str, _Watch] = {}
        self._ticker: asyncio.Task[None] | None = None

    async def once(self, container: Container, *, one_shot: bool) -> StatsSample:
        """One sample, with one of a second before, for rates; `one_shot` answers at once and without."""
        host = HostCPUReader()
        watch = _Watch(container)
        try:
            before = None
            if not one_shot and container.state.alive:
                before = watch.sample(self._dependencies, host.read())
                await asyncio.sleep(_INTERVAL)
            return _sample(container, watch.sample(self._dependencies, host.read()), before)
        finally:
            watch.close()
            host.close()

    async def stream(self, container: Container) -> AsyncGenerator[StatsSample]:
        """Yield samples: one at once, then one each second until the container is removed."""
        watch = self._watches.setdefault(container.id, _Watch(container))
        queue: asyncio.Queue[CgroupUsage | None] = asyncio.Queue(1)
        watch.streams.add(queue)
        if self._ticker is None or self._ticker.done():
            self._ticker = begin_lasting(self._tick(), "samples of containers")
        try:
            host = HostCPUReader()
            try:
                before = watch.sample(self._dependencies, host.read())
            finally:
                host.close()
            yield _sample(container, before, None)
            while not watch.removed:
                usage = await queue.get()
                if watch.removed:
                    break
                if usage and before and usage.taken_ns - before.taken_ns < _SHORTEST_NS:
                    continue
                yield _sample(container, usage, before)
                before = usage
        finally:
            watch.streams.discard(queue)
            if not watch.streams:
                watch.close()
                if self._watches.get(container.id) is watch:
                    del self._watches[container.id]

    async def _tick(self) -> None:
        """Sample what is watched, once a second, until nothing is."""
        host_reader = HostCPUReader()
        try:
            loop = asyncio.get_running_loop()
            due = loop.time()
            while self._watches:
                due = max(due + _INTERVAL, loop.time())
                await asyncio.sleep(due - loop.time())
                host = host_reader.read()
                for number, watch in enumerate(list(self._watches.values())):
                    if number and number % _BATCH == 0:
                        await asyncio.sleep(0)
                        host = host_reader.read()
                    usage = watch.sample(self._dependencies, host)
                    for queue in watch.streams:
                        # Who has not taken the last one yet is slow, and misses this one.
                        if queue.empty():
                            queue.put_nowait(usage)
        finally:
            host_reader.close()

    def started(self, container: Container) -> None:
        """The next sample notices."""

    def ended(self, container: Container) -> None:
        """The next sample notices."""

    def removed(self, container: Container) -> None:
        """End the streams."""
        watch = self._watches.pop(container.id, None)
        if watch is None:
            return
        watch.removed = True
        watch.close()
        for queue in watch.streams:
            if queue.empty():
                queue.put_nowait(None)

    async def close(self) -> None:
        """Stop sampling."""
        ticker = self._ticker
        if ticker is not None:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
        for watch in self._watches.values():
            watch.close()


def open_usage(dependencies: Dependencies, container: Container) -> UsageReader:
    """The files of a running container. Raises OSError when it has ended."""
    return UsageReader(
        dependencies.cgroups, dependencies.cgroup_path(container), container.state.pid, dependencies.facts.memory
    )


def _sample(container: Container, usage: CgroupUsage | None, before: CgroupUsage | None) -> StatsSample:
    return StatsSample(container.id, container.name, usage, before)
